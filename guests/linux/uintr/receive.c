// SPDX-License-Identifier: GPL-2.0
/*
 * A receiver comes to a CPU, leaves it, and gets its interrupts there. In the native way the CPU
 * does the last by itself; in the resident way notification processing and delivery (uintr.md
 * §1.8) are here, with interrupts off, and frames are built on the way back to user mode.
 */
#include <linux/irq_work.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <linux/pagemap.h>
#include <linux/user-return-notifier.h>
#include <asm/irq.h>
#include <asm/ptrace.h>

#include "uintr.h"

struct returning {
	struct user_return_notifier notifier;
	bool registered;
	struct irq_work again;
};
static DEFINE_PER_CPU(struct returning, returning);

static unsigned long *control(struct uintr_upid *u)
{
	return (unsigned long *)&u->hw.control;
}

/* Notification processing. */
void uintr_drain(struct uintr_thread *t)
{
	struct hw_upid *hw = &t->upid->hw;

	clear_bit(UPID_ON, control(t->upid));
	smp_mb__after_atomic();
	if (READ_ONCE(hw->pir))
		t->uirr |= xchg(&hw->pir, 0);
}

static bool deliverable(const struct uintr_thread *t)
{
	return !uintr_native && t->upid && t->uif && t->uirr;
}

/* From here on t is notified on this CPU. Interrupts are off. */
static void listen(struct uintr_thread *t)
{
	struct uintr_upid *u = t->upid;

	uintr_upid_aim(u, uintr_native ? UINTR_NOTIFY : UINTR_KERNEL, smp_processor_id());
	clear_bit(UPID_SN, control(u));
	smp_mb__after_atomic();
	/* ON without PIR: the notification went to the CPU that t was on. */
	if (!(READ_ONCE(u->hw.control) & BIT_ULL(UPID_ON)) && !READ_ONCE(u->hw.pir))
		return;
	if (uintr_native)
		uintr_ipi_self(UINTR_NOTIFY);
	else
		uintr_drain(t);
}

/* Interrupts are off, as in all of what follows but for uintr_change_*(). */
void uintr_switch_in(struct uintr_thread *t)
{
	uintr_unblock(t);
	if (uintr_native)
		uintr_cpu_load(t);
	if (t->upid)
		listen(t);
	if (deliverable(t))
		uintr_deliver_later();
}

void uintr_switch_out(struct uintr_thread *t)
{
	if (t->upid)
		set_bit(UPID_SN, control(t->upid));
	if (uintr_native)
		uintr_cpu_save(t);
	if (t->upid && uintr_blocks(t))
		uintr_block(t);
}

/* Around a change of the caller's own state. */
void uintr_change_begin(struct uintr_thread *t)
{
	local_irq_disable();
	if (t->upid)
		set_bit(UPID_SN, control(t->upid));
	if (uintr_native)
		uintr_cpu_save(t);
}

void uintr_change_end(struct uintr_thread *t)
{
	uintr_switch_in(t);
	local_irq_enable();
}

/* Vector UINTR_KERNEL: the notification of whom runs here in the resident way, and of those that
 * blocked here in either. */
static void notified(void)
{
	struct uintr_thread *t = uintr_current();

	if (!uintr_native && t && t->upid) {
		uintr_drain(t);
		if (deliverable(t))
			uintr_deliver_later();
	}
	uintr_wake_blocked();
}

/* Have uintr_deliver() called when this CPU returns to user mode. */
void uintr_deliver_later(void)
{
	struct returning *r = this_cpu_ptr(&returning);

	if (r->registered) {
		set_thread_flag(TIF_USER_RETURN_NOTIFY); /* the flag is lost with who had it when a CPU goes and comes */
		return;
	}
	r->registered = true;
	user_return_notifier_register(&r->notifier);
}

static void on_return(struct user_return_notifier *n)
{
	struct returning *r = container_of(n, struct returning, notifier);
	struct uintr_thread *t = uintr_current();
	unsigned long flags;

	local_irq_save(flags);
	user_return_notifier_unregister(n);
	r->registered = false;
	if (t)
		uintr_deliver(t, task_pt_regs(current));
	local_irq_restore(flags);
}

/* Delivery into what regs return to, if they return to 64-bit code. */
void uintr_deliver(struct uintr_thread *t, struct pt_regs *regs)
{
	struct uintr_frame frame;
	unsigned long rsp;

	if (!deliverable(t) || !user_64bit_mode(regs))
		return;
	rsp = t->stack_adjust & 1 ? t->stack_adjust : regs->sp - t->stack_adjust;
	rsp = (rsp & ~15UL) - sizeof(frame);
	frame.vector = fls64(t->uirr) - 1;
	frame.rip = regs->ip;
	frame.rflags = regs->flags;
	frame.rsp = regs->sp;
	if (copy_to_user_nofault((void __user *)rsp, &frame, sizeof(frame))) {
		uintr_fault_in(t, rsp, sizeof(frame), true);
		return;
	}
	t->uirr &= ~BIT_ULL(frame.vector);
	t->uif = false;
	regs->sp = rsp;
	regs->ip = t->handler;
	regs->flags &= ~(X86_EFLAGS_TF | X86_EFLAGS_RF);
}

/*
 * What atomic context could not access is accessed by a work of the task, and then tried again. The
 * work may be queued when the last look for works was taken: an interrupt as soon as user mode
 * takes one brings the next.
 */
void uintr_fault_in(struct uintr_thread *t, unsigned long address, size_t size, bool write)
{
	t->fault_address = address;
	t->fault_size = size;
	t->fault_write = write;
	if (!test_and_set_bit(UINTR_WORK_FAULT, &t->work)) {
		refcount_inc(&t->refs);
		if (task_work_add(t->task, &t->fault_work, TWA_RESUME)) {
			clear_bit(UINTR_WORK_FAULT, &t->work);
			uintr_thread_put(t);
			return;
		}
	}
	irq_work_queue(&this_cpu_ptr(&returning)->again);
}

void uintr_fault_work(struct callback_head *work)
{
	struct uintr_thread *t = container_of(work, struct uintr_thread, fault_work);
	char __user *address = (char __user *)t->fault_address;

	clear_bit(UINTR_WORK_FAULT, &t->work);
	if (t != uintr_current())
		goto out;	/* exits, or executed another program */
	if (t->fault_write ? fault_in_writeable(address, t->fault_size) : fault_in_readable(address, t->fault_size))
		force_sig(SIGSEGV);
	local_irq_disable();
	if (deliverable(t))
		uintr_deliver_later();
	local_irq_enable();
out:
	uintr_thread_put(t);
}

static void nothing(struct irq_work *work)
{
}

int uintr_receive_init(void)
{
	void (**handler)(void) = uintr_symbol("kvm_posted_intr_wakeup_handler");
	unsigned long taken = handler ? (unsigned long)*handler : 0;
	int cpu;

	if (taken >= MODULES_VADDR && taken < MODULES_END) {
		pr_err("KVM uses the posted-interrupt vectors of this kernel: unload it first\n");
		return -EBUSY;
	}
	for_each_possible_cpu(cpu) {
		struct returning *r = per_cpu_ptr(&returning, cpu);

		r->notifier.on_user_return = on_return;
		init_irq_work(&r->again, nothing);
	}
	kvm_set_posted_intr_wakeup_handler(notified);
	return 0;
}

static void return_no_more(void *unused)
{
	struct returning *r = this_cpu_ptr(&returning);

	if (!r->registered)
		return;
	r->registered = false;
	user_return_notifier_unregister(&r->notifier);
}

/* No thread has state; on a CPU that did not return to user mode since, the notifier may still wait. */
void uintr_receive_exit(void)
{
	int cpu;

	kvm_set_posted_intr_wakeup_handler(NULL);
	on_each_cpu(return_no_more, NULL, 1);
	for_each_possible_cpu(cpu)
		irq_work_sync(&per_cpu_ptr(&returning, cpu)->again);
}
