/* SPDX-License-Identifier: Apache-2.0 */
/* The test kernel: one image, many tests of what a machine does. For C and assembly. */
#ifndef GVMM_SYSTEM_H
#define GVMM_SYSTEM_H
#include "../../lib/abi.h"

#define MAX_CPUS   8
#define STACK_SIZE 0x8000
#define USER_ALIAS 0xbfe00000 /* the user's 2 MiB as the supervisor's */
#define TRAMPOLINE 0x8000 /* real-mode entry of the other CPUs */

/* Selectors, in the order that SYSCALL and SYSEXIT want. */
#define KCS32  0x08
#define KCS    0x10
#define KDS    0x18
#define UCS32  0x23
#define UDS    0x2b
#define UCS    0x33
#define UDS64  0x3b /* SYSEXIT's */
#define SPARE  0x40 /* eight entries for tests */
#define TSS(i) (0x80 + 16 * (i))

/* struct cpu */
#define CPU_RECOVER 8
#define CPU_SELF    0
#define CPU_TSS     4096

#define CR0_MP (1ull << 1)
#define CR0_EM (1ull << 2)
#define CR0_TS (1ull << 3)
#define CR0_NE (1ull << 5)
#define CR0_WP (1ull << 16)
#define CR0_AM (1ull << 18)
#define CR0_NW (1ull << 29)
#define CR0_CD (1ull << 30)
#define CR0_PG (1ull << 31)
#define CR4_TSD (1ull << 2)
#define CR4_DE (1ull << 3)
#define CR4_PAE (1ull << 5)
#define CR4_PGE (1ull << 7)
#define CR4_OSFXSR (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_UMIP (1ull << 11)
#define CR4_LA57 (1ull << 12)
#define CR4_FSGSBASE (1ull << 16)
#define CR4_PCIDE (1ull << 17)
#define CR4_OSXSAVE (1ull << 18)
#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)
#define CR4_UINTR (1ull << 25)

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stdint.h>

enum { DE, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC, MC, XM };

struct frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3], reserved1, ist[7];
	uint64_t reserved2;
	uint16_t reserved3, io_bitmap;
	uint8_t bitmap[0x2001];
} __attribute__((packed));

struct cpu {
	struct cpu *self;
	uint64_t recover;          // RSP to which a trap that nobody handles goes; 0: it is an error
	uint64_t index;
	struct frame trap;         // the last one that went there
	uint64_t cr2;              // as the trap found it
	bool (*hook)(struct frame *); // sees every event first; true: it is done
	volatile uint64_t seen[256];
	volatile bool online;
	void (*volatile work)(uint64_t);
	volatile uint64_t work_argument;
	volatile uint64_t done;    // works that ended
	uint64_t check[8];         // where a failed check goes: longjmp
	bool x2apic;
	struct tss tss __attribute__((aligned(4096)));
};

struct test {
	const char *name;
	void (*run)(void);
	uint64_t needs;
	uint64_t reserved;
};

// What a test cannot do without.
enum {
	SMP = 1, PC = 2 /* IOAPIC, 8259, PIT, ... */, USERINT = 4, NEEDS_SMEP = 8, NEEDS_SMAP = 16, NEEDS_PCID = 32, NEEDS_LA57 = 64,
	NEEDS_X2APIC = 128, NEEDS_DEADLINE = 256, NEEDS_UMIP = 512, NEEDS_WAITPKG = 1024, NEEDS_INVPCID = 2048, NEEDS_FSGSBASE = 4096,
	NEEDS_MONITOR = 8192, NEEDS_XSAVE = 16384,
};

#define TEST(id, what) \
	static void id(void); \
	__attribute__((section(".tests"), used)) static const struct test test_##id = { #id, id, what, 0 }; \
	static void id(void)

#define USER __attribute__((section(".user.text"), noinline, noclone, optimize("O2")))
#define USERDATA __attribute__((section(".user.data")))

#define CHECK(cond) do { if (!(cond)) failed(__FILE__, __LINE__, #cond, 0, 1, false); } while (0)
#define CHECK_EQ(got, want) do { \
	uint64_t g_ = (uint64_t)(got), w_ = (uint64_t)(want); \
	if (g_ != w_) failed(__FILE__, __LINE__, #got " == " #want, g_, w_, true); } while (0)
// The trap that f(argument) ends in.
#define TRAPS(v, code, f, argument) do { \
	bool t_ = try(f, (uint64_t)(argument)); \
	if (!t_) failed(__FILE__, __LINE__, #f "(" #argument ") traps", 0, v, true); \
	if (me()->trap.vector != (v)) failed(__FILE__, __LINE__, #f "(" #argument ") raises " #v, me()->trap.vector, v, true); \
	if (me()->trap.error != (uint64_t)(code)) failed(__FILE__, __LINE__, #f "(" #argument ") error code " #code, me()->trap.error, (uint64_t)(code), true); \
	} while (0)
#define USER_TRAPS(v, code, f, argument) do { \
	bool t_ = user((void *)(f), (uint64_t)(argument)); \
	if (!t_) failed(__FILE__, __LINE__, "CPL 3: " #f "(" #argument ") traps", 0, v, true); \
	if (me()->trap.vector != (v)) failed(__FILE__, __LINE__, "CPL 3: " #f "(" #argument ") raises " #v, me()->trap.vector, v, true); \
	if (me()->trap.error != (uint64_t)(code)) failed(__FILE__, __LINE__, "CPL 3: " #f "(" #argument ") error code " #code, me()->trap.error, (uint64_t)(code), true); \
	} while (0)
#define RUNS(f, argument) do { \
	if (try(f, (uint64_t)(argument))) failed(__FILE__, __LINE__, #f "(" #argument ") runs; vector", me()->trap.vector, 0, true); } while (0)
#define USER_RUNS(f, argument) do { \
	if (user((void *)(f), (uint64_t)(argument))) failed(__FILE__, __LINE__, "CPL 3: " #f "(" #argument ") runs; vector", me()->trap.vector, 0, true); } while (0)
// Waits seconds, give or take, for what another processor or a device does.
#define WAIT_FOR(cond) do { \
	uint64_t b_ = rdtsc(); \
	while (!(cond)) { \
		__asm__ volatile("pause" : : : "memory"); \
		if (rdtsc() - b_ > 40000000000ull) failed(__FILE__, __LINE__, "waited for " #cond, 0, 1, false); \
	} } while (0)

void failed(const char *file, int line, const char *what, uint64_t got, uint64_t want, bool values) __attribute__((noreturn));
void print(const char *format, ...);
bool same(const char *a, const char *b, uint64_t n);

// entry.S
bool try(void (*f)(uint64_t), uint64_t argument);   // true: it trapped, see me()->trap
bool user(void *f, uint64_t argument);              // the same at CPL 3; f ends by returning
bool user_at(void *f, uint64_t argument, uint64_t cs, uint64_t rflags, uint64_t rsp);
int mark(uint64_t *);                                // setjmp
void jump(uint64_t *) __attribute__((noreturn));     // longjmp
void modes(uint64_t cr3, uint64_t cr4);              // through compatibility mode without paging
bool in_32(void (*f)(void));                         // f in compatibility mode at CPL 0, true: it trapped
extern char trap_entries[], user_end_label[], trampoline[], trampoline_end[], trampoline_cpu[], boot_pml4[], user_return[];
extern uint64_t gdt[];

// trap.c
#define IDT_INTERRUPT 14
#define IDT_TRAP 15
struct gate { uint64_t low, high; };
extern struct gate idt[256];
extern struct cpu cpus[MAX_CPUS];
void gate(int vector, const void *entry, int dpl, int ist, int kind, uint16_t cs);
void traps_init(struct cpu *c);
void reset_processor(void);
void spare(int i, uint64_t descriptor);              // GDT entry SPARE + 8 * i
void own_idt(uint16_t limit);

// memory.c
enum { P = 1, W = 2, U = 4, PWT = 8, PCD = 16, A = 32, D = 64, PS = 128, G = 256 };
#define NX (1ull << 63)
#define T 0x8000000000ull                            // where tests map
void memory_reset(void);
uint64_t page_alloc(void);                           // physical = linear, zeroed
uint64_t page_alloc_2m(void);
uint64_t *entry_of(uint64_t la, int level);          // level 1 PTE, 2 PDE, 3 PDPTE, 4 PML4E; makes what is above
void map(uint64_t la, uint64_t pa, uint64_t flags);  // a 4 KiB page
uint64_t map_new(uint64_t la, uint64_t flags);       // over a new page, whose address it returns
extern uint64_t memory_top;

// smp.c
extern uint32_t cpu_count;
void smp_start(void);
void smp_restart(uint32_t cpu);
void on_cpu(uint32_t cpu, void (*f)(uint64_t), uint64_t argument); // begins there
void finish(uint32_t cpu);                           // waits until it ended
void cpu_main(struct cpu *c) __attribute__((noreturn));
uint32_t apic_read(uint32_t reg);
void apic_write(uint32_t reg, uint32_t v);
void apic_ipi(uint32_t destination, uint32_t low);
void apic_x2(bool on);
void apic_reset(void);
#define VECTOR_WAKE 0xf0
#define VECTOR_SPURIOUS 0xff

extern const char *command_line;
extern uint64_t present;                             // what of the needs is there
bool option(const char *name, const char **value, uint64_t *n);

static inline struct cpu *me(void) { struct cpu *c; __asm__ volatile("mov %%gs:0, %0" : "=r"(c)); return c; }
static inline uint64_t rdtsc(void) { uint32_t a, d; __asm__ volatile("rdtsc" : "=a"(a), "=d"(d) : : "memory"); return (uint64_t)d << 32 | a; }
static inline uint64_t rdmsr(uint32_t n) { uint32_t a, d; __asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(n)); return (uint64_t)d << 32 | a; }
static inline void wrmsr(uint32_t n, uint64_t v) { __asm__ volatile("wrmsr" : : "c"(n), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory"); }
static inline void outb(uint16_t p, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(p) : "memory"); }
static inline uint8_t inb(uint16_t p) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(p) : "memory"); return v; }
static inline void outw(uint16_t p, uint16_t v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(p) : "memory"); }
static inline uint32_t inl(uint16_t p) { uint32_t v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(p) : "memory"); return v; }
static inline void outl(uint16_t p, uint32_t v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(p) : "memory"); }
static inline void invlpg(uint64_t la) { __asm__ volatile("invlpg (%0)" : : "r"(la) : "memory"); }
#define CR(n) \
	static inline uint64_t read_cr##n(void) { uint64_t v; __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v) : : "memory"); return v; } \
	static inline void write_cr##n(uint64_t v) { __asm__ volatile("mov %0, %%cr" #n : : "r"(v) : "memory"); }
CR(0) CR(2) CR(3) CR(4) CR(8)
#define DR(n) \
	static inline uint64_t read_dr##n(void) { uint64_t v; __asm__ volatile("mov %%dr" #n ", %0" : "=r"(v)); return v; } \
	static inline void write_dr##n(uint64_t v) { __asm__ volatile("mov %0, %%dr" #n : : "r"(v) : "memory"); }
DR(0) DR(1) DR(2) DR(3) DR(6) DR(7)
static inline void cli(void) { __asm__ volatile("cli" : : : "memory"); }
static inline void sti(void) { __asm__ volatile("sti; nop" : : : "memory"); }
static inline void pause(void) { __asm__ volatile("pause" : : : "memory"); }
struct regs { uint32_t a, b, c, d; };
static inline struct regs cpuid(uint32_t leaf, uint32_t sub) {
	struct regs r;
	__asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
	return r;
}
static inline void mmio_write32(uint64_t a, uint32_t v) { __asm__ volatile("movl %1, (%0)" : : "r"(a), "r"(v) : "memory"); }
static inline uint32_t mmio_read32(uint64_t a) { uint32_t v; __asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(a) : "memory"); return v; }
static inline uint8_t load8(uint64_t a) { uint8_t v; __asm__ volatile("movb (%1), %0" : "=q"(v) : "r"(a) : "memory"); return v; }
static inline uint64_t load64(uint64_t a) { uint64_t v; __asm__ volatile("movq (%1), %0" : "=r"(v) : "r"(a) : "memory"); return v; }
static inline void store64(uint64_t a, uint64_t v) { __asm__ volatile("movq %1, (%0)" : : "r"(a), "r"(v) : "memory"); }
static inline void copy(void *to, const void *from, uint64_t n) { __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory"); }
static inline void fill(void *to, uint8_t v, uint64_t n) { __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(v) : "memory"); }

// Accesses that tests try.
void read8(uint64_t la);
void write8(uint64_t la);
void execute(uint64_t la);
USER void user_read8(uint64_t la);
USER void user_write8(uint64_t la);
USER void user_execute(uint64_t la);
#endif
#endif
