// SPDX-License-Identifier: GPL-2.0
/* Signals of an eventfd become user interrupts: whoever signals it posts, in whatever context. */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "uintr.h"
#include "uposted.h"

/* It holds the file, so that the queue it waits in stays. */
struct uintr_binding {
	struct file *eventfd;
	struct uintr_vector *vector;
	wait_queue_head_t *queue;
	wait_queue_entry_t wait;
	struct uintr_posting *posting;	/* the eventfd is a device's that posts by itself */
	poll_table poll;
};

static int signalled(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct uintr_binding *b = container_of(wait, struct uintr_binding, wait);

	if (key_to_poll(key) & EPOLLIN)
		uintr_post(b->vector->upid, b->vector->vector);
	return 0;
}

static void enqueue(struct file *file, wait_queue_head_t *queue, poll_table *poll)
{
	struct uintr_binding *b = container_of(poll, struct uintr_binding, poll);

	b->queue = queue;
	add_wait_queue(queue, &b->wait);
}

static void release(struct uintr_binding *b)
{
	uintr_posting_end(b->posting);
	if (b->queue)
		remove_wait_queue(b->queue, &b->wait);
	fput(b->eventfd);
	kfree(b);
}

int uintr_bind_eventfd(struct uintr_vector *v, int fd)
{
	struct file *eventfd = eventfd_fget(fd);
	struct uintr_binding *b;
	int err = 0;

	if (IS_ERR(eventfd))
		return PTR_ERR(eventfd);
	b = kzalloc(sizeof(*b), GFP_KERNEL_ACCOUNT);
	if (!b) {
		fput(eventfd);
		return -ENOMEM;
	}
	b->eventfd = eventfd;
	b->vector = v;
	init_waitqueue_func_entry(&b->wait, signalled);
	init_poll_funcptr(&b->poll, enqueue);
	mutex_lock(&v->lock);
	if (v->bound) {
		err = -EBUSY;
	} else {
		/* What was signalled before counts too, as it does for who polls. */
		if (vfs_poll(eventfd, &b->poll) & EPOLLIN)
			uintr_post(v->upid, v->vector);
		b->posting = uintr_posting_begin(v->upid, v->vector, eventfd);
		v->bound = b;
	}
	mutex_unlock(&v->lock);
	if (err)
		release(b);
	return err;
}

void uintr_unbind_eventfd(struct uintr_vector *v)
{
	struct uintr_binding *b;

	mutex_lock(&v->lock);
	b = v->bound;
	v->bound = NULL;
	mutex_unlock(&v->lock);
	if (b)
		release(b);
}

bool uintr_device_posts(struct uintr_vector *v)
{
	bool posts;

	mutex_lock(&v->lock);
	posts = v->bound && uintr_posting_active(v->bound->posting);
	mutex_unlock(&v->lock);
	return posts;
}
