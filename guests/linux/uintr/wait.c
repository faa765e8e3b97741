// SPDX-License-Identifier: GPL-2.0
/*
 * Receivers that block: in uintr_wait(), or, registered with a WAITING flag, in any call that a
 * signal would interrupt. Their notifications become vector UINTR_KERNEL to the CPU on which they
 * blocked; its handler looks at that CPU's list only. With WAITING_SENDER the UPID has a reserved
 * bit set instead, SENDUIPI faults, and the sender itself does the waking.
 */
#include <linux/cpuhotplug.h>
#include <linux/hrtimer.h>
#include <linux/sched/signal.h>
#include <linux/thread_info.h>
#include <asm/msr.h>
#include <asm/syscall.h>

#include "uintr.h"

struct blocked {
	raw_spinlock_t lock;
	struct list_head threads;
};
static DEFINE_PER_CPU(struct blocked, blocked);

static unsigned long *control(struct uintr_upid *u)
{
	return (unsigned long *)&u->hw.control;
}

/* Whether the caller, which leaves the CPU, is to be woken by a user interrupt. One that could not
 * be delivered wakes from uintr_wait() only. */
bool uintr_blocks(const struct uintr_thread *t)
{
	if (!(READ_ONCE(current->__state) & TASK_INTERRUPTIBLE))
		return false;
	return t->in_wait || (t->waiting && t->uif);
}

/* Interrupts are off, SN is set, t->uirr holds what the CPU had. */
void uintr_block(struct uintr_thread *t)
{
	struct blocked *b = this_cpu_ptr(&blocked);
	struct uintr_upid *u = t->upid;

	raw_spin_lock(&b->lock);
	WRITE_ONCE(t->blocked_cpu, smp_processor_id());
	smp_wmb(); /* before it is in a list: see remove() */
	list_add_tail(&t->blocked, &b->threads);
	raw_spin_unlock(&b->lock);
	uintr_upid_aim(u, UINTR_KERNEL, t->blocked_cpu);
	if ((t->waiting & UINTR_WAITING_SENDER) && uintr_fault_hooked())
		set_bit(UPID_BLOCKED, control(u));
	clear_bit(UPID_ON, control(u));
	clear_bit(UPID_SN, control(u));
	smp_mb__after_atomic();
	if ((READ_ONCE(u->hw.pir) || t->uirr) && !test_and_set_bit(UPID_ON, control(u)))
		uintr_ipi_self(UINTR_KERNEL);
}

/* Takes t out of the list that it is in. It may have run and blocked on another CPU since it was looked at. */
static bool remove(struct uintr_thread *t)
{
	for (;;) {
		int cpu = READ_ONCE(t->blocked_cpu);
		struct blocked *b = per_cpu_ptr(&blocked, cpu);
		bool listed, here;
		unsigned long flags;

		raw_spin_lock_irqsave(&b->lock, flags);
		listed = !list_empty(&t->blocked);
		smp_rmb();
		here = listed && READ_ONCE(t->blocked_cpu) == cpu;
		if (here)
			list_del_init(&t->blocked);
		raw_spin_unlock_irqrestore(&b->lock, flags);
		if (here || !listed)
			return here;
	}
}

/* t runs again. */
void uintr_unblock(struct uintr_thread *t)
{
	if (!t->upid)
		return;
	if (READ_ONCE(t->upid->hw.control) & BIT_ULL(UPID_BLOCKED))
		clear_bit(UPID_BLOCKED, control(t->upid));
	if (!list_empty_careful(&t->blocked))
		remove(t);
}

/* Have the call in which t sleeps return. It may exit meanwhile, but is not freed yet. */
void uintr_wake(struct uintr_thread *t)
{
	if (test_and_set_bit(UINTR_WORK_WAKE, &t->work) || !refcount_inc_not_zero(&t->refs))
		return;
	if (task_work_add(t->task, &t->wake_work, TWA_SIGNAL)) {
		clear_bit(UINTR_WORK_WAKE, &t->work);
		uintr_thread_put(t);
	}
}

/*
 * In the task. The system call that was interrupted returns EINTR even where a signal would have
 * it restarted. If it is still under way, in a loop that runs works itself, a signal that is
 * pending but not there ends it.
 */
void uintr_wake_work(struct callback_head *work)
{
	struct uintr_thread *t = container_of(work, struct uintr_thread, wake_work);
	struct pt_regs *regs = task_pt_regs(current);

	clear_bit(UINTR_WORK_WAKE, &t->work);
	if (t == uintr_current() && syscall_get_nr(current, regs) != -1) {
		switch ((long)regs->ax) {
		case -ERESTARTSYS:
		case -ERESTARTNOINTR:
		case -ERESTARTNOHAND:
		case -ERESTART_RESTARTBLOCK:
			regs->ax = -EINTR;
			break;
		case -ENOSYS:
			set_thread_flag(TIF_SIGPENDING);
			break;
		}
	}
	uintr_thread_put(t);
}

static struct uintr_thread *next_notified(struct blocked *b)
{
	struct uintr_thread *t;

	list_for_each_entry(t, &b->threads, blocked)
		if (READ_ONCE(t->upid->hw.control) & BIT_ULL(UPID_ON)) {
			list_del_init(&t->blocked);
			set_bit(UPID_SN, control(t->upid));
			return t;
		}
	return NULL;
}

/* Wakes who blocked on this CPU and was notified. Hard interrupt, so t stays while it is woken. */
void uintr_wake_blocked(void)
{
	struct blocked *b = this_cpu_ptr(&blocked);
	struct uintr_thread *t;

	do {
		raw_spin_lock(&b->lock);
		t = next_notified(b);
		raw_spin_unlock(&b->lock);
		if (t)
			uintr_wake(t);
	} while (t);
}

/* SENDUIPI to a UPID that says blocked. False: it no longer did, the sender tries again. */
bool uintr_send_blocked(struct uintr_upid *u, unsigned int vector)
{
	unsigned long flags;
	bool running = false;

	if (!test_and_clear_bit(UPID_BLOCKED, control(u)))
		return false;
	set_bit(vector, &u->hw.pir);
	smp_mb__after_atomic();
	set_bit(UPID_ON, control(u));
	spin_lock_irqsave(&u->lock, flags);
	if (u->owner) {
		if (remove(u->owner))
			uintr_wake(u->owner);
		else
			running = true;
	}
	spin_unlock_irqrestore(&u->lock, flags);
	if (running) /* since a moment ago, and it may have looked at ON before that was set */
		uintr_upid_notify(u, READ_ONCE(u->hw.nv));
	return true;
}

static bool pending(struct uintr_thread *t)
{
	u64 rr;

	if (READ_ONCE(t->upid->hw.pir))
		return true;
	preempt_disable();
	if (uintr_native)
		rdmsrl(MSR_UINTR_RR, rr);
	else
		rr = READ_ONCE(t->uirr);
	preempt_enable();
	return rr;
}

/* 0 when the time is over, -EINTR for a user interrupt, masked or not, and for a signal. */
long uintr_wait(struct uintr_thread *t, u64 usec)
{
	ktime_t end = ktime_add_ns(ktime_get(), usec * NSEC_PER_USEC);
	long ret = -EINTR;

	if (!usec)
		return 0;
	t->in_wait = true;
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (pending(t) || signal_pending(current))
			break;
		if (!schedule_hrtimeout(&end, HRTIMER_MODE_ABS)) {
			ret = 0;
			break;
		}
	}
	__set_current_state(TASK_RUNNING);
	t->in_wait = false;
	return ret;
}

/* The CPU goes: whom it would have woken looks again elsewhere. */
static int cpu_down(unsigned int cpu)
{
	struct blocked *b = per_cpu_ptr(&blocked, cpu);
	struct uintr_thread *t;
	unsigned long flags;

	local_irq_save(flags);
	for (;;) {
		raw_spin_lock(&b->lock);
		t = list_first_entry_or_null(&b->threads, struct uintr_thread, blocked);
		if (t) {
			list_del_init(&t->blocked);
			set_bit(UPID_SN, control(t->upid));
		}
		raw_spin_unlock(&b->lock);
		if (!t)
			break;
		uintr_wake(t);
	}
	local_irq_restore(flags);
	return 0;
}

static enum cpuhp_state hotplug;

int uintr_wait_init(void)
{
	int cpu, state;

	for_each_possible_cpu(cpu) {
		struct blocked *b = per_cpu_ptr(&blocked, cpu);

		raw_spin_lock_init(&b->lock);
		INIT_LIST_HEAD(&b->threads);
	}
	state = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "uintr:blocked", NULL, cpu_down);
	if (state < 0)
		return state;
	hotplug = state;
	return 0;
}

void uintr_wait_exit(void)
{
	cpuhp_remove_state_nocalls(hotplug);
}
