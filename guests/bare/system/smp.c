// SPDX-License-Identifier: Apache-2.0
// The other processors: they wait for work with HLT. And this processor's local APIC.
#include "system.h"

uint32_t cpu_count = 1;

uint32_t apic_read(uint32_t reg)
{
	if (me()->x2apic)
		return rdmsr(0x800 + (reg >> 4));
	return mmio_read32(0xfee00000 + reg);
}

void apic_write(uint32_t reg, uint32_t v)
{
	if (me()->x2apic)
		wrmsr(0x800 + (reg >> 4), v);
	else
		mmio_write32(0xfee00000 + reg, v);
}

void apic_ipi(uint32_t destination, uint32_t low)
{
	if (me()->x2apic) {
		wrmsr(0x830, (uint64_t)destination << 32 | low);
		return;
	}
	mmio_write32(0xfee00310, destination << 24);
	mmio_write32(0xfee00300, low);
}

// apic_x2 changes this processor's local APIC to x2APIC mode, or by way of disabled back.
void apic_x2(bool on)
{
	uint64_t base = rdmsr(0x1b);

	if (on) {
		wrmsr(0x1b, base | 0xc00);
	} else {
		wrmsr(0x1b, base & ~0xc00ull);
		wrmsr(0x1b, (base & ~0x400ull) | 0x800);
	}
	me()->x2apic = on;
	apic_write(0xf0, 0x100 | VECTOR_SPURIOUS);
}

// apic_reset ends what a test that failed left in service.
void apic_reset(void)
{
	if (me()->x2apic)
		apic_x2(false);
	for (int n = 0; apic_read(0xa0) && n < 16; n++)
		apic_write(0xb0, 0);
}

// cpu_main is where another processor spends its life.
void cpu_main(struct cpu *c)
{
	if (mark(c->check)) // a check failed in a work
		c->done++;
	c->hook = 0;
	c->recover = 0;
	c->work = 0;
	c->online = true;
	for (;;) {
		cli();
		if (!c->work) {
			__asm__ volatile("sti; hlt" : : : "memory");
			continue;
		}
		c->work(c->work_argument);
		cli();
		c->work = 0;
		c->done++;
	}
}

void smp_restart(uint32_t i)
{
	*(volatile uint32_t *)(TRAMPOLINE + (trampoline_cpu - trampoline)) = i;
	cpus[i].online = false;
	cpus[i].x2apic = false;
	apic_ipi(i, 0x4500); // INIT
	apic_ipi(i, 0x4600 | TRAMPOLINE >> 12);
	WAIT_FOR(cpus[i].online);
}

void smp_start(void)
{
	copy((void *)TRAMPOLINE, trampoline, trampoline_end - trampoline);
	for (uint32_t i = 1; i < cpu_count; i++)
		smp_restart(i);
}

static uint64_t expected[MAX_CPUS];

void on_cpu(uint32_t cpu, void (*f)(uint64_t), uint64_t argument)
{
	struct cpu *c = &cpus[cpu];

	WAIT_FOR(!c->work);
	expected[cpu] = c->done + 1;
	c->work_argument = argument;
	__asm__ volatile("" : : : "memory");
	c->work = f;
	apic_ipi(cpu, 0x4000 | VECTOR_WAKE);
}

void finish(uint32_t cpu) { WAIT_FOR(cpus[cpu].done == expected[cpu]); }
