// SPDX-License-Identifier: Apache-2.0
// User interrupts as this kernel offers them: one receiver a CPU, one UITT for all.
#include "kernel.h"

enum {
	MSR_RR = 0x985, MSR_HANDLER = 0x986, MSR_STACKADJUST = 0x987,
	MSR_MISC = 0x988, MSR_PD = 0x989, MSR_TT = 0x98a, MSR_GS_BASE = 0xc0000101,
};

#define UITT_ENTRIES 64
#define CR4_UINTR (1ull << 25)

uint8_t upids[MAX_CPUS][64] __attribute__((aligned(GVMM_PAGE)));
struct { uint64_t low, high; } uitt[UITT_ENTRIES] __attribute__((aligned(GVMM_PAGE)));
static uint32_t senders;

// notification_gate points a vector's gate at the microcode.
void notification_gate(int vector)
{
	if (way == GVMM_WAY_DIRECT)
		gate(vector, uintr_notify_direct, 3, 1, TRAP_GATE, UCS);
	else
		gate(vector, uintr_notify_resident, 0, 1, INTERRUPT_GATE, KCS);
}

// uintr_init gives a CPU its block and gates. Nothing can arrive before uintr_register.
void uintr_init(struct cpu *c)
{
	if (way == GVMM_WAY_NONE)
		return;
	if (way == GVMM_WAY_NATIVE) {
		uint64_t cr4;

		__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
		__asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_UINTR));
	} else {
		c->block.self = (uint64_t)&c->block;
		c->block.doorbells = doorbells;
		c->block.cpus = cpu_count;
		c->block.user_limit = (1ull << 47) - 1;
		c->block.face_stack = (uint64_t)&c->block + UC_FACE_TOP;
		wrmsr(MSR_GS_BASE, (uint64_t)&c->block);
		wrmsr(GVMM_MSR_BLOCK, PHYSICAL(&c->block) | 1);
	}
	if (way == GVMM_WAY_DIRECT) {
		notification_gate(VECTOR_UINTR);
		gate(UD, uintr_ud_direct, 3, 2, TRAP_GATE, UCS);
	} else if (way == GVMM_WAY_RESIDENT) {
		notification_gate(VECTOR_UINTR);
		gate(UD, uintr_ud_resident, 0, 2, INTERRUPT_GATE, KCS);
	}
	wrmsr(MSR_TT, (uint64_t)uitt | 1);
}

int64_t uintr_register(struct cpu *c, uint64_t handler)
{
	volatile uint64_t *upid = (uint64_t *)upids[c->index];

	if (handler && !user_range(handler, 1))
		return SYS_EINVAL;
	c->handler = handler;
	if (way == GVMM_WAY_NONE)
		return 0;
	upid[0] = (uint64_t)c->index << 40 | VECTOR_UINTR << 16;
	wrmsr(MSR_HANDLER, handler);
	wrmsr(MSR_STACKADJUST, 128);
	wrmsr(MSR_PD, (uint64_t)upid);
	wrmsr(MSR_MISC, (uint64_t)VECTOR_UINTR << 32 | (UITT_ENTRIES - 1));
	return 0;
}

// uintr_poll has posts to this CPU notify nobody: the program looks itself, where it can.
int64_t uintr_poll(struct cpu *c)
{
	enum { SN = 2 };
	volatile uint64_t *upid = (uint64_t *)upids[c->index];

	upid[0] = SN;
	return way == GVMM_WAY_DIRECT ? (int64_t)&upid[1] : 0;
}

int64_t uintr_sender(uint64_t cpu, uint64_t vector)
{
	if (cpu >= cpu_count || vector >= 64 || senders == UITT_ENTRIES)
		return SYS_EINVAL;
	uitt[senders].high = (uint64_t)upids[cpu];
	uitt[senders].low = vector << 8 | 1;
	return senders++;
}
