// SPDX-License-Identifier: GPL-2.0
/*
 * Tables of send targets. An address space has its table from the first registration until it is
 * torn down, which an MMU notifier tells: no thread of it can execute SENDUIPI any more. A child
 * that was forked shares its parent's table.
 */
#include <linux/hashtable.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>

#include "uintr.h"

/* Which table an address space has. */
struct space {
	struct hlist_node node;
	struct mm_struct *mm;			/* mmgrab()bed */
	struct uintr_uitt *uitt;
	struct mmu_notifier notifier;
	struct callback_head work;		/* of a child: registers the notifier */
	struct rcu_head rcu;
};

static DEFINE_HASHTABLE(spaces, 8);
static DEFINE_SPINLOCK(spaces_lock);

static struct space *find(struct mm_struct *mm)
{
	struct space *s;

	hash_for_each_possible_rcu(spaces, s, node, (unsigned long)mm)
		if (s->mm == mm)
			return s;
	return NULL;
}

static struct uintr_uitt *uitt_new(void)
{
	struct uintr_uitt *t = kzalloc(sizeof(*t), GFP_KERNEL_ACCOUNT);

	BUILD_BUG_ON(sizeof(struct uitt_entry) * UITT_ENTRIES != PAGE_SIZE);
	if (!t)
		return NULL;
	t->entries = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!t->entries) {
		kfree(t);
		return NULL;
	}
	refcount_set(&t->refs, 1);
	spin_lock_init(&t->lock);
	return t;
}

void uintr_uitt_get(struct uintr_uitt *t)
{
	refcount_inc(&t->refs);
}

static void uitt_free(struct rcu_head *rcu)
{
	struct uintr_uitt *t = container_of(rcu, struct uintr_uitt, rcu);

	free_page((unsigned long)t->entries);
	kfree(t);
}

/* Any context. */
void uintr_uitt_put(struct uintr_uitt *t)
{
	int i;

	if (!refcount_dec_and_test(&t->refs))
		return;
	for (i = 0; i < UITT_ENTRIES; i++)
		if (t->upids[i])
			uintr_upid_put(t->upids[i]);
	call_rcu(&t->rcu, uitt_free);
}

/* The table of mm, with a reference; NULL if it has none. Any context. */
struct uintr_uitt *uintr_uitt_find(struct mm_struct *mm)
{
	struct uintr_uitt *t = NULL;
	struct space *s;

	if (!mm)
		return NULL;
	rcu_read_lock();
	s = find(mm);
	if (s && refcount_inc_not_zero(&s->uitt->refs))
		t = s->uitt;
	rcu_read_unlock();
	return t;
}

static void space_drop(struct space *s)
{
	unsigned long flags;

	spin_lock_irqsave(&spaces_lock, flags);
	hash_del_rcu(&s->node);
	spin_unlock_irqrestore(&spaces_lock, flags);
	uintr_uitt_put(s->uitt);
	mmdrop(s->mm);
}

static void released(struct mmu_notifier *n, struct mm_struct *mm)
{
	space_drop(container_of(n, struct space, notifier));
	mmu_notifier_put(n);
}

static void space_free(struct mmu_notifier *n)
{
	struct space *s = container_of(n, struct space, notifier);

	kfree_rcu(s, rcu);
	module_put(THIS_MODULE);
}

static const struct mmu_notifier_ops notifier_ops = { .release = released, .free_notifier = space_free };

static struct space *space_new(struct mm_struct *mm, struct uintr_uitt *t, gfp_t gfp)
{
	struct space *s = kzalloc(sizeof(*s), gfp);

	if (!s || !try_module_get(THIS_MODULE)) {
		kfree(s);
		return NULL;
	}
	mmgrab(mm);
	uintr_uitt_get(t);
	s->mm = mm;
	s->uitt = t;
	s->notifier.ops = &notifier_ops;
	return s;
}

/* A space that no notifier knows ends. */
static void space_abandon(struct space *s, bool hashed)
{
	if (hashed) {
		space_drop(s);
	} else {
		uintr_uitt_put(s->uitt);
		mmdrop(s->mm);
	}
	kfree_rcu(s, rcu);
	module_put(THIS_MODULE);
}

static bool space_add(struct space *s)
{
	unsigned long flags;
	bool first;

	spin_lock_irqsave(&spaces_lock, flags);
	first = !find(s->mm);
	if (first)
		hash_add_rcu(spaces, &s->node, (unsigned long)s->mm);
	spin_unlock_irqrestore(&spaces_lock, flags);
	return first;
}

/* uitt becomes the table of the caller's process. -EBUSY: it has one. */
int uintr_uitt_share(struct uintr_uitt *t)
{
	struct space *s = space_new(current->mm, t, GFP_KERNEL);
	int err;

	if (!s)
		return -ENOMEM;
	if (!space_add(s)) {
		space_abandon(s, false);
		return -EBUSY;
	}
	err = mmu_notifier_register(&s->notifier, current->mm);
	if (err)
		space_abandon(s, true);
	return err;
}

/* The table of the caller's process, made if there is none yet, with a reference. */
struct uintr_uitt *uintr_uitt_make(void)
{
	for (;;) {
		struct uintr_uitt *t = uintr_uitt_find(current->mm);
		int err;

		if (t)
			return t;
		t = uitt_new();
		if (!t)
			return NULL;
		err = uintr_uitt_share(t);
		if (!err)
			return t;
		uintr_uitt_put(t);
		if (err != -EBUSY)
			return NULL;
	}
}

/* In the child, before its first instruction, or as it dies without one. */
static void adopt(struct callback_head *work)
{
	struct space *s = container_of(work, struct space, work);

	if (current->mm != s->mm || mmu_notifier_register(&s->notifier, s->mm))
		space_abandon(s, true);
}

static void on_fork(void *data, struct task_struct *parent, struct task_struct *child)
{
	struct uintr_uitt *t;
	struct space *s;

	if (!child->mm || child->mm == parent->mm)
		return;
	t = uintr_uitt_find(parent->mm);
	if (!t)
		return;
	s = space_new(child->mm, t, GFP_ATOMIC);
	uintr_uitt_put(t);
	if (!s)
		return;
	init_task_work(&s->work, adopt);
	space_add(s);
	if (task_work_add(child, &s->work, TWA_RESUME))
		space_abandon(s, true);
}

/* The lowest free entry's index, or -ENOSPC. */
int uintr_uitt_add(struct uintr_uitt *t, struct uintr_upid *u, u8 vector)
{
	unsigned long flags;
	int i;

	spin_lock_irqsave(&t->lock, flags);
	for (i = 0; i < UITT_ENTRIES && t->upids[i]; i++)
		;
	if (i < UITT_ENTRIES) {
		uintr_upid_get(u);
		t->upids[i] = u;
		t->entries[i].vector = vector;
		t->entries[i].upid = (u64)&u->hw;
		smp_store_release(&t->entries[i].valid, 1);
	}
	spin_unlock_irqrestore(&t->lock, flags);
	return i < UITT_ENTRIES ? i : -ENOSPC;
}

int uintr_uitt_remove(struct uintr_uitt *t, unsigned int index)
{
	struct uintr_upid *u = NULL;
	unsigned long flags;

	spin_lock_irqsave(&t->lock, flags);
	if (index < UITT_ENTRIES) {
		u = t->upids[index];
		t->upids[index] = NULL;
		WRITE_ONCE(t->entries[index].valid, 0);
	}
	spin_unlock_irqrestore(&t->lock, flags);
	if (!u)
		return -EINVAL;
	uintr_upid_put(u);
	return 0;
}

/* What entry index sends to, with a reference; NULL if it is not valid. Any context. */
struct uintr_upid *uintr_uitt_target(struct uintr_uitt *t, u64 index, u8 *vector)
{
	struct uintr_upid *u = NULL;
	unsigned long flags;

	if (index >= UITT_ENTRIES)
		return NULL;
	spin_lock_irqsave(&t->lock, flags);
	u = t->upids[index];
	if (u) {
		uintr_upid_get(u);
		*vector = t->entries[index].vector;
	}
	spin_unlock_irqrestore(&t->lock, flags);
	return u;
}

int uintr_uitt_init(void)
{
	return uintr_probe_tracepoint("sched_process_fork", on_fork);
}

void uintr_uitt_exit(void)
{
	uintr_unprobe_tracepoint("sched_process_fork", on_fork);
	tracepoint_synchronize_unregister();
	mmu_notifier_synchronize();
	rcu_barrier();
}
