// SPDX-License-Identifier: GPL-2.0
/* The native way: a processor that has user interrupts, and a thread's state in its registers. */
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <asm/msr.h>
#include <asm/tlbflush.h>

#include "uintr.h"

bool uintr_native;
static enum cpuhp_state hotplug;

static inline void stui(void)
{
	asm volatile(".byte 0xf3, 0x0f, 0x01, 0xef" ::: "memory");
}

static inline void clui(void)
{
	asm volatile(".byte 0xf3, 0x0f, 0x01, 0xee" ::: "memory");
}

static inline bool testui(void)
{
	bool uif;

	asm volatile(".byte 0xf3, 0x0f, 0x01, 0xed" : "=@ccc" (uif) :: "memory");
	return uif;
}

/* Interrupts are off. Only what the thread uses is written: UINV 0 and TT 0 make the rest inert. */
void uintr_cpu_load(struct uintr_thread *t)
{
	u64 misc = 0;

	if (t->upid) {
		wrmsrl(MSR_UINTR_HANDLER, t->handler);
		wrmsrl(MSR_UINTR_STACKADJUST, t->stack_adjust);
		wrmsrl(MSR_UINTR_PD, (u64)&t->upid->hw);
		misc = (u64)UINTR_NOTIFY << MISC_UINV_SHIFT;
	}
	if (t->uitt) {
		wrmsrl(MSR_UINTR_TT, (u64)t->uitt->entries | TT_ENABLE);
		misc |= UITT_ENTRIES - 1;
	}
	wrmsrl(MSR_UINTR_RR, t->uirr);
	if (t->uif)
		stui();
	else
		clui();
	wrmsrl(MSR_UINTR_MISC, misc);
}

/* Interrupts are off. A notification that comes from now on is an interrupt of the kernel's. */
void uintr_cpu_save(struct uintr_thread *t)
{
	t->uif = testui();
	clui();
	wrmsrl(MSR_UINTR_MISC, 0);
	if (t->upid) {
		rdmsrl(MSR_UINTR_RR, t->uirr);
		wrmsrl(MSR_UINTR_RR, 0);
	}
	wrmsrl(MSR_UINTR_TT, 0);
}

static int cpu_up(unsigned int cpu)
{
	unsigned long flags;

	local_irq_save(flags);
	wrmsrl(MSR_UINTR_MISC, 0);
	wrmsrl(MSR_UINTR_RR, 0);
	wrmsrl(MSR_UINTR_TT, 0);
	cr4_update_irqsoff(CR4_UINTR, 0);
	clui();
	local_irq_restore(flags);
	return 0;
}

static int cpu_down(unsigned int cpu)
{
	unsigned long flags;

	local_irq_save(flags);
	wrmsrl(MSR_UINTR_PD, 0);
	cr4_update_irqsoff(0, CR4_UINTR);
	local_irq_restore(flags);
	return 0;
}

int uintr_cpu_init(void)
{
	int state;

	if (!uintr_native)
		return 0;
	state = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "uintr:online", cpu_up, cpu_down);
	if (state < 0)
		return state;
	hotplug = state;
	return 0;
}

void uintr_cpu_exit(void)
{
	if (uintr_native)
		cpuhp_remove_state(hotplug);
}
