/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of this driver know of each other. "uintr.md" is docs/uintr.md,
 * the design is docs/linux-driver.md.
 */
#ifndef UINTR_H
#define UINTR_H

#undef pr_fmt
#define pr_fmt(fmt) "uintr: " fmt

#include <linux/fs.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/spinlock.h>
#include <linux/task_work.h>
#include <asm/irq_vectors.h>

#include "spec.h"

/* The vectors are those that KVM registers for a VM's posted interrupts: entry code exists for
 * them, and nothing else sends them where no VM runs. The stock handler of UINTR_NOTIFY only
 * acknowledges; that of UINTR_KERNEL calls what kvm_set_posted_intr_wakeup_handler() set. */
#define UINTR_NOTIFY	POSTED_INTR_VECTOR
#define UINTR_KERNEL	POSTED_INTR_WAKEUP_VECTOR

/* A receiver's UPID and who it belongs to. It lives as long as the receiver, a UITT entry, a
 * uvecfd or a device's interrupt refers to it, and a grace period more: a processor in the midst
 * of SENDUIPI has read the entry and still writes. */
struct uintr_upid {
	struct hw_upid hw;
	refcount_t refs;
	spinlock_t lock;		/* of owner */
	struct uintr_thread *owner;	/* NULL once unregistered */
	struct pid *pid;
	int cpu;			/* whose APIC id NDST is */
	struct rcu_head rcu;
};

/* A table of send targets; an address space has at most one, and those that were forked share it. */
struct uintr_uitt {
	struct uitt_entry *entries;	/* a page */
	refcount_t refs;
	spinlock_t lock;		/* of entries and upids */
	struct uintr_upid *upids[UITT_ENTRIES];
	struct rcu_head rcu;
};

/* A thread that received or sent, from then on until it exits or executes another program. */
struct uintr_thread {
	struct preempt_notifier notifier;
	struct task_struct *task;
	refcount_t refs;		/* the thread's own and one for each work that is queued */

	struct uintr_upid *upid;	/* NULL: not a receiver */
	struct uintr_uitt *uitt;	/* NULL: SENDUIPI was not used yet */
	u64 handler, stack_adjust;
	u64 uirr;			/* resident way, and while not running */
	bool uif;			/* likewise */
	u32 waiting;			/* UINTR_WAITING_* */
	bool in_wait;			/* uintr_wait() */

	struct list_head blocked;	/* in the list of blocked_cpu */
	int blocked_cpu;

	unsigned long work;		/* bits UINTR_WORK_* that are queued */
	struct callback_head wake_work, fault_work;
	unsigned long fault_address;
	size_t fault_size;
	bool fault_write;
	struct rcu_head rcu;
};

enum { UINTR_WORK_WAKE, UINTR_WORK_FAULT };

/* What a uvecfd is: a vector of a receiver, and the eventfd that posts it if one was bound. */
struct uintr_vector {
	struct uintr_upid *upid;
	u8 vector;
	struct mutex lock;		/* of bound */
	struct uintr_binding *bound;
};

/* kernel.c: what the kernel does not export */
void *uintr_symbol(const char *name);
int uintr_kernel_init(void);
int uintr_probe_tracepoint(const char *name, void *probe);
void uintr_unprobe_tracepoint(const char *name, void *probe);

/* entry.c: the numbers 471-479 */
int uintr_entry_init(void);
void uintr_entry_exit(void);

/* syscalls.c */
long uintr_call(long number, const struct pt_regs *regs);

/* thread.c */
DECLARE_PER_CPU(struct uintr_thread *, uintr_running);
static inline struct uintr_thread *uintr_current(void)
{
	return this_cpu_read(uintr_running);
}
struct uintr_thread *uintr_attach(gfp_t gfp);
void uintr_thread_put(struct uintr_thread *t);
int uintr_register(struct uintr_thread *t, u64 handler, u32 waiting);
void uintr_unregister(struct uintr_thread *t);
int uintr_thread_init(void);
void uintr_thread_exit(void);

/* upid.c */
struct uintr_upid *uintr_upid_new(struct uintr_thread *owner);
void uintr_upid_get(struct uintr_upid *u);
void uintr_upid_put(struct uintr_upid *u);
void uintr_upid_disown(struct uintr_upid *u);
bool uintr_upid_owned(struct uintr_upid *u);
void uintr_upid_aim(struct uintr_upid *u, u8 vector, int cpu);
void uintr_upid_notify(struct uintr_upid *u, u8 vector);
void uintr_post(struct uintr_upid *u, unsigned int vector);
void uintr_ipi_self(u8 vector);

/* uitt.c */
struct uintr_uitt *uintr_uitt_find(struct mm_struct *mm);
struct uintr_uitt *uintr_uitt_make(void);
int uintr_uitt_share(struct uintr_uitt *uitt);
void uintr_uitt_get(struct uintr_uitt *uitt);
void uintr_uitt_put(struct uintr_uitt *uitt);
int uintr_uitt_add(struct uintr_uitt *uitt, struct uintr_upid *u, u8 vector);
int uintr_uitt_remove(struct uintr_uitt *uitt, unsigned int index);
struct uintr_upid *uintr_uitt_target(struct uintr_uitt *uitt, u64 index, u8 *vector);
int uintr_uitt_init(void);
void uintr_uitt_exit(void);

/* cpu.c: the processor's own user interrupts */
extern bool uintr_native;
void uintr_cpu_load(struct uintr_thread *t);
void uintr_cpu_save(struct uintr_thread *t);
int uintr_cpu_init(void);
void uintr_cpu_exit(void);

/* receive.c */
void uintr_switch_in(struct uintr_thread *t);
void uintr_switch_out(struct uintr_thread *t);
void uintr_change_begin(struct uintr_thread *t);
void uintr_change_end(struct uintr_thread *t);
void uintr_drain(struct uintr_thread *t);
void uintr_deliver_later(void);
void uintr_deliver(struct uintr_thread *t, struct pt_regs *regs);
void uintr_fault_in(struct uintr_thread *t, unsigned long address, size_t size, bool write);
void uintr_fault_work(struct callback_head *work);
int uintr_receive_init(void);
void uintr_receive_exit(void);

/* decode.c */
bool uintr_decode(const struct pt_regs *regs, struct uintr_inst *inst);
u64 uintr_operand(const struct pt_regs *regs, const struct uintr_inst *inst);

/* emulate.c: the five instructions, where they are #UD */
int uintr_emulate_init(void);
void uintr_emulate_exit(void);

/* fault.c: SENDUIPI to a UPID that says blocked, where it is #GP */
bool uintr_fault_hooked(void);
int uintr_fault_init(void);
void uintr_fault_exit(void);

/* wait.c */
long uintr_wait(struct uintr_thread *t, u64 usec);
bool uintr_blocks(const struct uintr_thread *t);
void uintr_block(struct uintr_thread *t);
void uintr_unblock(struct uintr_thread *t);
void uintr_wake(struct uintr_thread *t);
void uintr_wake_blocked(void);
void uintr_wake_work(struct callback_head *work);
bool uintr_send_blocked(struct uintr_upid *u, unsigned int vector);
int uintr_wait_init(void);
void uintr_wait_exit(void);

/* fd.c */
int uintr_vector_fd(struct uintr_upid *u, u8 vector);
int uintr_ipi_fd(struct uintr_uitt *uitt);
struct uintr_vector *uintr_vector_of(struct file *file);

/* notify.c */
int uintr_bind_eventfd(struct uintr_vector *v, int fd);
void uintr_unbind_eventfd(struct uintr_vector *v);
bool uintr_device_posts(struct uintr_vector *v);


#endif
