/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "receiver.h"

/* No Go code: a word and, if it was empty, the eventfd. */
static void on_vector(unsigned vector, void *context)
{
	struct receiver *r = context;
	uint64_t one = 1;

	if (atomic_fetch_or(&r->pending, UINT64_C(1) << vector) == 0)
		while (write(r->eventfd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
}

static bool never(void *context)
{
	(void)context;
	return false;
}

static int prepare(struct receiver *r)
{
	int err = uintr_receiver_start(0);

	for (unsigned v = 0; !err && v < r->vectors; v++) {
		err = uintr_attach((int)v, on_vector, r);
		if (err >= 0)
			err = r->channels[v] = uintr_channel_create((int)v);
		if (err > 0)
			err = 0;
	}
	return err;
}

static void *run(void *context)
{
	struct receiver *r = context;

	r->error = prepare(r);
	r->started = 1;
	if (!r->error)
		uintr_wait_until(never, NULL, UINTR_FOREVER);
	return NULL;
}

int receiver_start(struct receiver *r, unsigned vectors)
{
	sigset_t all, before;
	pthread_t thread;
	int err;

	r->vectors = vectors < UINTR_VECTORS ? vectors : UINTR_VECTORS;
	r->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->eventfd < 0)
		return -errno;
	/* Signals are the Go runtime's business, on threads of its own. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&thread, NULL, run, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return err;
	pthread_detach(thread);
	while (!r->started)
		usleep(100);
	return r->error;
}

uint64_t receiver_take(struct receiver *r)
{
	return atomic_exchange(&r->pending, 0);
}
