// SPDX-License-Identifier: GPL-2.0
/* UPIDs: their life, where they point, and how the kernel posts to them. */
#include <linux/pid.h>
#include <linux/slab.h>
#include <asm/apic.h>

#include "uintr.h"

#define UPID_SIZE roundup_pow_of_two(sizeof(struct uintr_upid))	/* kmalloc() aligns those to their size */

struct uintr_upid *uintr_upid_new(struct uintr_thread *owner)
{
	struct uintr_upid *u = kzalloc(UPID_SIZE, GFP_KERNEL_ACCOUNT);

	if (!u)
		return NULL;
	__set_bit(UPID_SN, (unsigned long *)&u->hw.control);
	refcount_set(&u->refs, 1);
	spin_lock_init(&u->lock);
	u->owner = owner;
	u->pid = get_task_pid(owner->task, PIDTYPE_PID);
	return u;
}

void uintr_upid_get(struct uintr_upid *u)
{
	refcount_inc(&u->refs);
}

/* Any context. */
void uintr_upid_put(struct uintr_upid *u)
{
	if (!refcount_dec_and_test(&u->refs))
		return;
	put_pid(u->pid);
	kfree_rcu(u, rcu);
}

/* The receiver unregistered: what is posted from now on stays unread. */
void uintr_upid_disown(struct uintr_upid *u)
{
	unsigned long flags;

	set_bit(UPID_SN, (unsigned long *)&u->hw.control);
	spin_lock_irqsave(&u->lock, flags);
	u->owner = NULL;
	spin_unlock_irqrestore(&u->lock, flags);
}

bool uintr_upid_owned(struct uintr_upid *u)
{
	return READ_ONCE(u->owner);
}

static u32 destination(int cpu)
{
	u32 id = cpu_physical_id(cpu);

	return x2apic_mode ? id : id << 8;
}

/* Notifications go to @cpu as @vector. The caller has SN set, or posts again what it may have missed. */
void uintr_upid_aim(struct uintr_upid *u, u8 vector, int cpu)
{
	WRITE_ONCE(u->cpu, cpu);
	WRITE_ONCE(u->hw.ndst, destination(cpu));
	WRITE_ONCE(u->hw.nv, vector);
}

/* Interrupts are off. */
void uintr_ipi_self(u8 vector)
{
	apic->send_IPI_self(vector);
}

/* To where the receiver runs, or blocked. */
void uintr_upid_notify(struct uintr_upid *u, u8 vector)
{
	int cpu;

	preempt_disable();
	cpu = READ_ONCE(u->cpu);
	if (cpu == smp_processor_id())
		apic->send_IPI_self(vector);
	else
		apic->send_IPI(cpu, vector);
	preempt_enable();
}

/*
 * SENDUIPI's steps 4 and 5 (uintr.md §1.7), in any context. A notification that goes to where the
 * receiver was is made good when it is switched in: ON is looked at after NDST was written.
 */
void uintr_post(struct uintr_upid *u, unsigned int vector)
{
	u64 old;

	set_bit(vector, &u->hw.pir);
	smp_mb__after_atomic();
	do {
		old = READ_ONCE(u->hw.control);
		if (old & (BIT_ULL(UPID_ON) | BIT_ULL(UPID_SN)))
			return;
	} while (cmpxchg64(&u->hw.control, old, old | BIT_ULL(UPID_ON)) != old);
	uintr_upid_notify(u, (old & UPID_NV_MASK) >> UPID_NV_SHIFT);
}
