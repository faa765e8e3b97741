/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tiny kernel of the bare guest: one address space, one user program, a thread
 * for each CPU. It owns PCI, the interrupt-remapping table and UPIDs; the program
 * owns its device's queues and doorbell. Ring 0 is kept short: it may be interpreted.
 */
#ifndef GVMM_BARE_KERNEL_H
#define GVMM_BARE_KERNEL_H
#include "../../lib/abi.h"

#define KBASE       0xffffffff80000000
#define USER_BASE   0x400000
#define USER_END    0x1000000
#define USER_WINDOW 0x40000000 /* device pages of the program */
#define TRAMPOLINE  0x8000
#define MAX_CPUS    16

/* A CPU's memory: the block (two pages), then its stacks; its address is RSP rounded down. */
#define CPU_SHIFT      14
#define CPU_STACK_TOP  0x3000 /* system calls, interrupts */
#define CPU_FAULT_TOP  0x3800 /* #PF, #GP, #SS, #DF (IST 3) */

#define KCS 0x10
#define KDS 0x18
#define UDS 0x2b
#define UCS 0x33

#define VECTOR_DEVICE 0x40 /* remapped device interrupts: + index of the binding */
#define VECTOR_WAKE   0x30 /* a halted CPU has work */
#define VECTOR_UINTR  0xec /* UINV */
#define VECTOR_SPURIOUS 0xff
#define RAISED 0x100 /* beside a vector: raised by the resident microcode */

#ifndef __ASSEMBLER__
#include "../abi.h"
#include "../../lib/microcode.h"

#define MMIO(physical) ((uintptr_t)(physical) | 0xffffffff00000000) /* for 3-4 GiB */
#define PHYSICAL(p)    ((uint64_t)(uintptr_t)(p) - KBASE)

enum { BP = 3, UD = 6, DF = 8, SS = 12, GP = 13, PF = 14 };
enum { TRAP_GATE = 15, INTERRUPT_GATE = 14 };

struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t error;
	uint64_t rip, cs, rflags, rsp, ss;
};

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3], reserved1, ist[7], reserved2;
	uint16_t reserved3, io_bitmap;
} __attribute__((packed));

struct cpu {
	struct gvmm_cpu_block block;
	uint8_t stacks[CPU_FAULT_TOP - sizeof(struct gvmm_cpu_block)];
	struct tss tss;
	uint32_t index;
	volatile uint32_t online;
	volatile uint64_t thread_entry, thread_stack, thread_argument;
	uint64_t handler;       /* of the program, for user interrupts */
	uint64_t fault_handler, fault_report; /* of the program, for faults */
	uint64_t pending_user;  /* control run: vectors to signal at the next chance */
	uint8_t in_handler;
	struct trap_frame signal_context;
} __attribute__((aligned(1 << CPU_SHIFT)));
_Static_assert(sizeof(struct cpu) == 1 << CPU_SHIFT, "cpus are found by address");

extern struct cpu cpus[MAX_CPUS];
extern uint8_t upids[MAX_CPUS][64];
extern uint32_t way, posted, cpu_count;
extern uint64_t iommu_registers, doorbells;

static inline struct cpu *this_cpu(void)
{
	uint64_t rsp;

	__asm__("mov %%rsp, %0" : "=r"(rsp));
	return (struct cpu *)((rsp - 1) & -(1ull << CPU_SHIFT));
}

/* user_range tells whether [address, address + size) is the program's. */
static inline int user_range(uint64_t address, uint64_t size)
{
	return address >= USER_BASE && address < USER_END && size <= USER_END - address;
}

static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static inline void outl(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port)); }
static inline uint32_t inl(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}
static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (uint64_t)hi << 32 | lo;
}
static inline uint32_t mmio_read32(uintptr_t a) { return *(volatile uint32_t *)a; }
static inline void mmio_write32(uintptr_t a, uint32_t v) { *(volatile uint32_t *)a = v; }
static inline void mmio_write64(uintptr_t a, uint64_t v) { *(volatile uint64_t *)a = v; }

/* machine.c */
void machine_discover(void);
/* console.c */
void kernel_exit(uint32_t status) __attribute__((noreturn));
void kernel_print(const char *s);
/* gates.c */
void traps_init(struct cpu *c);
void gate(int vector, const void *entry, int dpl, int ist, int type, uint16_t cs);
void kernel_gate(int vector);
extern char trap_entries[];
/* entry.S: MSR accesses that return SYS_EINVAL for #GP, which trap turns to msr_refused */
int64_t try_rdmsr(uint32_t msr, uint64_t *v);
int64_t try_wrmsr(uint32_t msr, uint64_t v);
extern char msr_read[], msr_write[], msr_refused[];
/* smp.c */
void smp_start(void);
void cpu_idle(struct cpu *c) __attribute__((noreturn));
void enter_user(struct trap_frame *f) __attribute__((noreturn));
void wait_for_interrupt(void);
void send_ipi(uint32_t cpu, uint32_t low);
/* uintr.c */
void uintr_init(struct cpu *c);
void notification_gate(int vector);
int64_t uintr_register(struct cpu *c, uint64_t handler);
int64_t uintr_poll(struct cpu *c);
int64_t uintr_sender(uint64_t cpu, uint64_t vector);
/* device.c */
void devices_init(void);
int64_t device_open(uint64_t index, struct device *out);
int64_t device_bind(struct cpu *c, uint64_t index, uint64_t entry, uint64_t vector);
void device_interrupt(struct cpu *c, struct trap_frame *f, uint32_t vector);
/* syscall.c, privileged.c */
void syscall(struct cpu *c, struct trap_frame *f);
int64_t privileged(struct trap_frame *f);
/* signal.c */
void signal_user(struct cpu *c, struct trap_frame *f);
void signal_return(struct cpu *c, struct trap_frame *f);
void fault_user(struct cpu *c, struct trap_frame *f, uint64_t vector, uint64_t cr2);
int unwind_microcode(struct cpu *c, struct trap_frame *f, uint64_t *vector, uint64_t *cr2);
#endif
#endif
