/* SPDX-License-Identifier: Apache-2.0 */
/* The 32-bit test kernel: what a machine does outside long mode. For C and assembly. */
#ifndef GVMM_LEGACY_H
#define GVMM_LEGACY_H
#include "../../../lib/abi.h"

#define KCS    0x08
#define KDS    0x10
#define UCS    0x1b
#define UDS    0x23
#define CODE16 0x28
#define DATA16 0x30
#define CODE64 0x38
#define SPARE  0x40 /* eight entries for tests */
#define TSS    0x80
#define TSS2   0x88
#define TSS3   0x90

#define LOW 0x7000 /* where 16-bit code is copied */

#ifndef __ASSEMBLER__
#include <stdbool.h>
#include <stdint.h>

enum { DE, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC };

struct frame {
	uint32_t es, ds, edi, esi, ebp, esp_, ebx, edx, ecx, eax;
	uint32_t vector, error, eip, cs, eflags, esp, ss, v86_es, v86_ds, v86_fs, v86_gs;
};

struct tss {
	uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs, ss, ds, fs, gs, ldt;
	uint16_t trap, io_bitmap;
};

struct test { const char *name; void (*run)(void); };
#define TEST(id) \
	static void id(void); \
	__attribute__((section(".tests"), used)) static const struct test test_##id = { #id, id }; \
	static void id(void)

#define CHECK(cond) do { if (!(cond)) failed(__FILE__, __LINE__, #cond, 0, 1); } while (0)
#define CHECK_EQ(got, want) do { \
	uint32_t g_ = (uint32_t)(got), w_ = (uint32_t)(want); \
	if (g_ != w_) failed(__FILE__, __LINE__, #got " == " #want, g_, w_); } while (0)
#define TRAPPED(how, v, code) do { \
	if (!(how)) failed(__FILE__, __LINE__, #how " traps", 0, v); \
	if (last.vector != (v)) failed(__FILE__, __LINE__, #how " raises " #v, last.vector, v); \
	if (last.error != (uint32_t)(code)) failed(__FILE__, __LINE__, #how " error code " #code, last.error, (uint32_t)(code)); \
	} while (0)
#define TRAPS(v, code, f, argument) TRAPPED(try(f, (uint32_t)(argument)), v, code)
#define USER_TRAPS(v, code, f, argument) TRAPPED(user(f, (uint32_t)(argument)), v, code)
#define RUNS(f, argument) do { if (try(f, (uint32_t)(argument))) failed(__FILE__, __LINE__, #f "(" #argument ") runs; vector", last.vector, 0); } while (0)
#define USER_RUNS(f, argument) do { if (user(f, (uint32_t)(argument))) failed(__FILE__, __LINE__, "CPL 3: " #f " runs; vector", last.vector, 0); } while (0)

void failed(const char *file, int line, const char *what, uint32_t got, uint32_t want) __attribute__((noreturn));
bool try(void (*f)(uint32_t), uint32_t argument);   // true: it trapped, see last
bool user(void (*f)(uint32_t), uint32_t argument);  // the same at CPL 3; f ends by returning
bool enter_v86(uint32_t ip, uint32_t eflags);        // at segment LOW / 16; true: it trapped
uint32_t real_mode(uint32_t ip);                     // runs 16-bit code at segment LOW / 16 in real mode that ends in RETF; its EAX
uint32_t long_mode(uint32_t cr3, void *f);           // f is 64-bit code that ends in RET; its EAX
int mark(uint32_t *);
void jump(uint32_t *) __attribute__((noreturn));

extern struct frame last;
extern uint32_t last_cr2;
extern bool (*hook)(struct frame *);
extern char trap_entries[], user_return[], low_begin[], low_end[];
extern uint64_t gdt[], idt[256];
extern struct tss tss, tss2, tss3;
void gate(int vector, const void *entry, int dpl, int kind, uint16_t cs);
uint64_t segment(uint32_t base, uint32_t limit, uint32_t access, uint32_t flags);
void spare(int i, uint64_t descriptor);
uint32_t page_alloc(void);

#define REG(name) \
	static inline uint32_t read_##name(void) { uint32_t v; __asm__ volatile("mov %%" #name ", %0" : "=r"(v) : : "memory"); return v; } \
	static inline void write_##name(uint32_t v) { __asm__ volatile("mov %0, %%" #name : : "r"(v) : "memory"); }
REG(cr0) REG(cr2) REG(cr3) REG(cr4) REG(dr0) REG(dr6) REG(dr7)
static inline void outb(uint16_t p, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(p) : "memory"); }
static inline void wrmsr(uint32_t n, uint64_t v) { __asm__ volatile("wrmsr" : : "c"(n), "A"(v) : "memory"); }
static inline uint64_t rdmsr(uint32_t n) { uint64_t v; __asm__ volatile("rdmsr" : "=A"(v) : "c"(n)); return v; }
static inline void invlpg(uint32_t la) { __asm__ volatile("invlpg (%0)" : : "r"(la) : "memory"); }
static inline void copy(void *to, const void *from, uint32_t n) { __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory"); }
static inline void fill(void *to, uint8_t v, uint32_t n) { __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(v) : "memory"); }
static inline uint32_t load(uint32_t la) { uint32_t v; __asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(la) : "memory"); return v; }
static inline void store(uint32_t la, uint32_t v) { __asm__ volatile("movl %1, (%0)" : : "r"(la), "r"(v) : "memory"); }
#endif
#endif
