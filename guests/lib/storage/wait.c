/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for completions: interrupts while they are few, polling while they are many. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

enum { DEFAULT_BATCH = 8, DEFAULT_SPINS = 2000, SPINS_A_CLOCK = 256 };

void storage_set_waiting(struct storage_queue *q, const struct storage_waiting *w)
{
	q->waiting.batch = w->batch ? w->batch : DEFAULT_BATCH;
	q->waiting.spins = w->spins ? w->spins : DEFAULT_SPINS;
	q->polling = false;
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

/* Milliseconds until an end, where INT64_MAX is never: -1. */
static int left(int64_t end)
{
	if (end == INT64_MAX)
		return -1;
	int64_t ms = end - now();
	return ms < 0 ? 0 : ms > INT_MAX ? INT_MAX : ms;
}

static uint64_t take(int eventfd)
{
	uint64_t n;

	return read(eventfd, &n, sizeof n) == sizeof n ? n : 0;
}

static void sleep_eventfd(struct storage_queue *q, int timeout)
{
	struct pollfd fds[] = { { .fd = q->eventfd, .events = POLLIN }, { .fd = q->disk->config_eventfd, .events = POLLIN } };

	if (poll(fds, 2, timeout) > 0 && fds[0].revents)
		q->counters.interrupts += take(q->eventfd);
}

/* Sleeps until an interrupt or the end, and tells whether the end came. */
static bool sleep_until(struct storage_queue *q, int64_t end)
{
	q->counters.blocked++;
	if (q->uvecfd >= 0)
		posted_sleep(q, left(end));
	else
		sleep_eventfd(q, left(end));
	if (take(q->disk->config_eventfd) && storage_failed(q->disk))
		q->broken = true;
	return left(end) == 0;
}

static void set_polling(struct storage_queue *q, bool on)
{
	q->polling = on;
	q->counters.switches++;
}

static unsigned missing(const struct storage_queue *q, unsigned n)
{
	unsigned most = q->complete + q->under_way;

	if (n > most)
		n = most;
	return n > q->complete ? n - q->complete : 0;
}

/* Looks at the ring until n are complete, spins were in vain, or the end came. */
static bool poll_ring(struct storage_queue *q, unsigned n, int64_t end)
{
	for (unsigned spins = 0; missing(q, n) && !q->broken;) {
		unsigned found = queue_collect(q);
		q->counters.polls += found;
		spins = found ? 0 : spins + 1;
		if (spins >= q->waiting.spins) {
			set_polling(q, false);
			break;
		}
		if (spins % SPINS_A_CLOCK == SPINS_A_CLOCK - 1 && left(end) == 0)
			return true;
		__builtin_ia32_pause();
	}
	return false;
}

int storage_arm(struct storage_queue *q, unsigned n)
{
	for (;;) {
		queue_collect(q);
		unsigned more = missing(q, n);
		if (q->broken)
			return storage_fail(EIO, "queue %u is broken", q->index);
		if (!more)
			return q->complete;
		q->ring->arm(q, more);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		/* What was complete before the disk could see that: its interrupt does not come. */
		if (!queue_collect(q))
			return q->complete;
		q->ring->disarm(q);
	}
}

int storage_wait(struct storage_queue *q, unsigned n, int timeout)
{
	int64_t end = timeout < 0 ? INT64_MAX : now() + timeout;
	bool over = false;

	queue_collect(q);
	while (missing(q, n) && !q->broken && !over) {
		if (q->polling) {
			over = poll_ring(q, n, end);
			continue;
		}
		q->interrupted = false;
		if (storage_arm(q, n) < 0 || !missing(q, n))
			break;
		over = sleep_until(q, end);
		q->ring->disarm(q);
		if (queue_collect(q) >= q->waiting.batch)
			set_polling(q, true);
	}
	if (q->broken && !q->complete)
		return storage_fail(EIO, "queue %u is broken", q->index);
	return q->complete;
}

int storage_eventfd(const struct storage_queue *q)
{
	return q->eventfd;
}

void storage_count(const struct storage_queue *q, struct storage_counters *c)
{
	*c = q->counters;
	c->interrupts += q->user_interrupts;
}
