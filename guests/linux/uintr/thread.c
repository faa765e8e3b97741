// SPDX-License-Identifier: GPL-2.0
/* Threads that receive or send: when their state begins, follows them over CPUs, and ends. */
#include <linux/binfmts.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>

#include "uintr.h"

/* The state of the thread that runs on this CPU; NULL for most. A thread reads its own by one
 * instruction, wherever it is: sched_in and sched_out keep it true. */
DEFINE_PER_CPU(struct uintr_thread *, uintr_running);

static void sched_in(struct preempt_notifier *n, int cpu)
{
	struct uintr_thread *t = container_of(n, struct uintr_thread, notifier);
	unsigned long flags;

	local_irq_save(flags);
	this_cpu_write(uintr_running, t);
	uintr_switch_in(t);
	local_irq_restore(flags);
}

/* Under the run queue's lock, interrupts off. */
static void sched_out(struct preempt_notifier *n, struct task_struct *next)
{
	struct uintr_thread *t = container_of(n, struct uintr_thread, notifier);

	uintr_switch_out(t);
	this_cpu_write(uintr_running, NULL);
}

static struct preempt_ops preempt_ops = { .sched_in = sched_in, .sched_out = sched_out };

/* The caller's state, made at its first use. NULL: no memory. Any context with a task. */
struct uintr_thread *uintr_attach(gfp_t gfp)
{
	struct uintr_thread *t = uintr_current();
	unsigned long flags;

	if (t || (current->flags & (PF_EXITING | PF_KTHREAD)))
		return t;
	t = kzalloc(sizeof(*t), gfp);
	if (!t || !try_module_get(THIS_MODULE)) {
		kfree(t);
		return NULL;
	}
	t->task = current;
	t->stack_adjust = RED_ZONE;
	refcount_set(&t->refs, 1);
	INIT_LIST_HEAD(&t->blocked);
	init_task_work(&t->wake_work, uintr_wake_work);
	init_task_work(&t->fault_work, uintr_fault_work);
	preempt_notifier_init(&t->notifier, &preempt_ops);
	local_irq_save(flags);
	preempt_notifier_register(&t->notifier);
	this_cpu_write(uintr_running, t);
	uintr_switch_in(t);
	local_irq_restore(flags);
	return t;
}

void uintr_thread_put(struct uintr_thread *t)
{
	if (!refcount_dec_and_test(&t->refs))
		return;
	kfree_rcu(t, rcu);
	module_put(THIS_MODULE);
}

/* The caller becomes a receiver, with user interrupts masked. */
int uintr_register(struct uintr_thread *t, u64 handler, u32 waiting)
{
	struct uintr_upid *u = uintr_upid_new(t);

	if (!u)
		return -ENOMEM;
	uintr_change_begin(t);
	t->upid = u;
	t->handler = handler;
	t->stack_adjust = RED_ZONE;
	t->waiting = waiting;
	t->uif = false;
	uintr_change_end(t);
	return 0;
}

/* The caller is a receiver no more; what was pending is dropped. */
void uintr_unregister(struct uintr_thread *t)
{
	struct uintr_upid *u = t->upid;

	uintr_change_begin(t);
	uintr_upid_disown(u);
	t->upid = NULL;
	t->handler = 0;
	t->uirr = 0;
	t->uif = false;
	t->waiting = 0;
	uintr_change_end(t);
	uintr_upid_put(u);
}

/* The caller's state ends, at exit or exec. */
static void detach(void)
{
	struct uintr_thread *t = uintr_current();
	unsigned long flags;

	if (!t)
		return;
	if (t->upid)
		uintr_unregister(t);
	local_irq_save(flags);
	uintr_switch_out(t);
	this_cpu_write(uintr_running, NULL);
	preempt_notifier_unregister(&t->notifier);
	local_irq_restore(flags);
	if (t->uitt)
		uintr_uitt_put(t->uitt);
	t->uitt = NULL;
	uintr_thread_put(t);
}

static void on_exit(void *data, struct task_struct *task)
{
	detach();
}

static void on_exec(void *data, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	detach();
}

int uintr_thread_init(void)
{
	int err;

	preempt_notifier_inc();
	err = uintr_probe_tracepoint("sched_process_exit", on_exit);
	if (err)
		goto no_exit;
	err = uintr_probe_tracepoint("sched_process_exec", on_exec);
	if (!err)
		return 0;
	uintr_unprobe_tracepoint("sched_process_exit", on_exit);
	tracepoint_synchronize_unregister();
no_exit:
	preempt_notifier_dec();
	return err;
}

void uintr_thread_exit(void)
{
	uintr_unprobe_tracepoint("sched_process_exec", on_exec);
	uintr_unprobe_tracepoint("sched_process_exit", on_exit);
	tracepoint_synchronize_unregister();
	preempt_notifier_dec();
}
