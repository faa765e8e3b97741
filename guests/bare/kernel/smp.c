// SPDX-License-Identifier: Apache-2.0
// Starting the other CPUs, and a thread on each.
#include "kernel.h"

extern char trampoline[], trampoline_end[], trampoline_cpu[];

void send_ipi(uint32_t cpu, uint32_t low)
{
	mmio_write32(MMIO(0xfee00310), cpu << 24);
	mmio_write32(MMIO(0xfee00300), low);
}

void smp_start(void)
{
	uint8_t *to = (uint8_t *)(KBASE + TRAMPOLINE);
	uint64_t n = trampoline_end - trampoline;
	const char *from = trampoline;

	if (cpu_count == 1)
		return;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	for (uint32_t i = 1; i < cpu_count; i++) {
		*(volatile uint32_t *)(KBASE + TRAMPOLINE + (trampoline_cpu - trampoline)) = i;
		send_ipi(i, 0x4500); /* INIT */
		send_ipi(i, 0x4600 | TRAMPOLINE >> 12);
		while (!cpus[i].online)
			__asm__ volatile("pause" : : : "memory");
	}
}

// cpu_idle halts until the program starts a thread here. SYS_THREAD wakes it.
void cpu_idle(struct cpu *c)
{
	while (!c->thread_entry)
		wait_for_interrupt();
	struct trap_frame *f = &c->signal_context;
	f->rip = c->thread_entry;
	f->rsp = c->thread_stack;
	f->rdi = c->index;
	f->cs = UCS;
	f->ss = UDS;
	f->rflags = 0x202;
	enter_user(f);
}
