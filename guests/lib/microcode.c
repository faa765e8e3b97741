// SPDX-License-Identifier: Apache-2.0
//
// The instructions (uintr.md §1.6, §1.7, §1.9). Runs at CPL 3 in the direct way, at
// CPL 0 in the resident one; built with general registers only, no data of its own,
// no tables. Every access to memory may fault: the kernel finds the user's context
// below the gate's frame, and b->access says whose access it was.
#include "microcode.h"

#define UC __attribute__((section(".microcode.ud")))
#define INLINE static inline __attribute__((always_inline))

enum { UD = 6, SS = 12, GP = 13, PF = 14 };
enum { PF_PRESENT = 1, PF_WRITE = 2, PF_USER = 4 };
enum op { OP_NONE, OP_SENDUIPI, OP_UIRET, OP_TESTUI, OP_CLUI, OP_STUI };

#define UPID_ON       1ull
#define UPID_SN       2ull
#define UPID_RESERVED 0xff00fffcull
#define ARITHMETIC    0x8d5ull /* CF PF AF ZF SF OF */
#define RF            0x10000ull

struct insn {
	enum op op;
	int reg, length, lock;
};

UC static int raise(struct gvmm_cpu_block *b, uint64_t vector)
{
	b->fault_vector = vector;
	b->fault_error = 0;
	b->fault_addr = 0;
	return 1;
}

// begin says whose accesses follow, before the first of them can fault.
INLINE void begin(struct gvmm_cpu_block *b, uint64_t access)
{
	b->access = access;
	__asm__ volatile("" : : : "memory");
}

UC static int in_kernel_half(uint64_t a)
{
	return (int64_t)a < 0;
}

// uintr_user_fault records the fault of a user store to an address in the kernel's half.
UC void uintr_user_fault(struct gvmm_cpu_block *b, uint64_t addr)
{
	if (addr >> 47 != 0x1ffff) {
		raise(b, SS);
		return;
	}
	raise(b, PF);
	b->fault_error = PF_PRESENT | PF_WRITE | PF_USER;
	b->fault_addr = addr;
}

// match decodes the bytes at p. It reads no byte beyond the instruction.
UC static struct insn match(const volatile uint8_t *p)
{
	struct insn in = { OP_NONE, 0, 0, 0 };
	int rex = 0, rep = 0, n = 0;

	for (; n < 15; n++) {
		uint8_t c = p[n];

		if ((c & 0xf0) == 0x40) {
			rex = c;
			continue;
		}
		if (c == 0x0f)
			break;
		rex = 0; // a REX that is not the last prefix counts for nothing
		if (c == 0xf3 || c == 0xf2)
			rep = c;
		else if (c == 0xf0)
			in.lock = 1;
		else if (c != 0x66 && c != 0x67 && c != 0x2e && c != 0x36 && c != 0x3e &&
			 c != 0x26 && c != 0x64 && c != 0x65)
			return in;
	}
	if (n > 12 || rep != 0xf3)
		return in;
	uint8_t opcode = p[n + 1];
	if (opcode != 0x01 && opcode != 0xc7)
		return in;
	uint8_t modrm = p[n + 2];
	if (opcode == 0xc7) {
		if ((modrm & 0xf8) != 0xf0)
			return in;
		in.op = OP_SENDUIPI;
		in.reg = (modrm & 7) | (rex & 1) << 3;
	} else if (modrm == 0xec) {
		in.op = OP_UIRET;
	} else if (modrm == 0xed) {
		in.op = OP_TESTUI;
	} else if (modrm == 0xee) {
		in.op = OP_CLUI;
	} else if (modrm == 0xef) {
		in.op = OP_STUI;
	}
	in.length = n + 3;
	return in;
}

// operand is register n of r: RAX RCX RDX RBX RSP RBP RSI RDI R8…R15.
UC static uint64_t operand(const struct uc_regs *r, int n)
{
	if (n == 4)
		return r->rsp;
	if (n >= 8)
		return (&r->r15)[15 - n];
	if (n == 0)
		return r->rax;
	if (n == 1)
		return r->rcx;
	if (n == 2)
		return r->rdx;
	if (n == 3)
		return r->rbx;
	if (n == 5)
		return r->rbp;
	return n == 6 ? r->rsi : r->rdi;
}

// send is SENDUIPI (uintr.md §1.7): 0, or the vector that it raises with error code 0.
INLINE uint64_t send(struct gvmm_cpu_block *b, uint64_t index)
{
	if (!(b->tt & 1))
		return UD;
	if (index > (uint32_t)b->misc)
		return GP;
	volatile uint64_t *e = (uint64_t *)((b->tt & ~15ull) + (index << 4));
	uint64_t lo = e[0], upid = e[1];
	if ((lo & ~0x3f00ull) != 1 || upid & 63)
		return GP;
	uint64_t *control = (uint64_t *)upid;
	begin(b, ACCESS_UPID);
	uint64_t c = __atomic_load_n(control, __ATOMIC_ACQUIRE);
	if (c & UPID_RESERVED)
		return GP;
	__atomic_fetch_or(control + 1, 1ull << (lo >> 8), __ATOMIC_SEQ_CST);
	do {
		if (c & (UPID_ON | UPID_SN))
			return 0;
	} while (!__atomic_compare_exchange_n(control, &c, c | UPID_ON, 0, __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
	uint64_t apic = c >> 40 & 0xff; // xAPIC mode: NDST[15:8]
	if (apic < b->cpus)
		*(volatile uint32_t *)(b->doorbells + apic * GVMM_PAGE) = c >> 16 & 0xff;
	return 0;
}

// uintr_fast_senduipi is SENDUIPI without the trap; what faults is left to the instruction.
__attribute__((section(".microcode.fast"))) void uintr_fast_senduipi(uint64_t index)
{
	struct gvmm_cpu_block *b;

	__asm__("mov %%gs:%c1, %0" : "=r"(b) : "i"(UC_SELF));
	if (!(b->control & 1) || send(b, index))
		__asm__ volatile(".byte 0xf3, 0x0f, 0xc7, 0xf0" : : "a"(index) : "memory");
}

UC static int uiret(struct uc_regs *r, struct gvmm_cpu_block *b)
{
	if (in_kernel_half(r->rsp) || in_kernel_half(r->rsp + 23)) {
		uintr_user_fault(b, in_kernel_half(r->rsp) ? r->rsp : r->rsp + 16);
		b->fault_error &= ~PF_WRITE;
		return 1;
	}
	begin(b, ACCESS_USER);
	const volatile uint64_t *frame = (uint64_t *)r->rsp;
	uint64_t rip = frame[0], rflags = frame[1], rsp = frame[2];
	if ((int64_t)(rip << 16) >> 16 != (int64_t)rip)
		return raise(b, GP);
	r->rip = rip;
	r->rflags = (r->rflags & ~(uint64_t)UIRET_FLAGS) | (rflags & UIRET_FLAGS);
	r->rsp = rsp;
	b->uif = 1;
	return 0;
}

UC int uintr_emulate(struct uc_regs *r, struct gvmm_cpu_block *b)
{
	begin(b, ACCESS_USER);
	struct insn in = match((const uint8_t *)r->rip);
	if (in.op == OP_NONE || in.lock || !(b->control & 1))
		return raise(b, UD);
	if (in.op == OP_UIRET)
		return uiret(r, b);
	if (in.op == OP_SENDUIPI) {
		begin(b, ACCESS_UITT);
		uint64_t vector = send(b, operand(r, in.reg));
		if (vector)
			return raise(b, vector);
	} else if (in.op == OP_TESTUI) {
		r->rflags = (r->rflags & ~ARITHMETIC) | b->uif;
	} else {
		b->uif = in.op == OP_STUI;
	}
	r->rip += in.length;
	r->rflags &= ~RF; // #UD had set it; the instruction is done
	return 0;
}

UC int uintr_deliver(struct uc_regs *r, struct gvmm_cpu_block *b)
{
	uint64_t rsp = ((r->rsp & b->adjust_and) - b->adjust_sub) & ~15ull;

	if (in_kernel_half(rsp - 8) || in_kernel_half(rsp - 32)) {
		uintr_user_fault(b, rsp - 8);
		return 1;
	}
	begin(b, ACCESS_USER);
	volatile uint64_t *frame = (uint64_t *)(rsp - 32);
	frame[3] = r->rsp;
	frame[2] = r->rflags;
	frame[1] = r->rip;
	uint64_t vector = 63 - __builtin_clzll(b->uirr);
	frame[0] = vector;
	// One instruction: a notification that ORs into UIRR may come at any boundary.
	__asm__ volatile("btrq %1, %0" : "+m"(b->uirr) : "r"(vector) : "cc");
	b->uif = 0;
	r->rsp = rsp - 32;
	r->rip = b->handler;
	r->rflags &= ~(uint64_t)TF_RF;
	return 0;
}
