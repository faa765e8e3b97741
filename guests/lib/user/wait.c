/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for what a handler brings about. */
#include <time.h>

#include "internal.h"

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

int uintr_wait_until(bool (*ready)(void *context), void *context, uint64_t usec)
{
	uint64_t start = now(), spent = 0, left;
	bool is;

	if (uintr_masked())
		return -EDEADLK;
	for (;;) {
		/*
		 * ready() says no while interrupts are masked: one that comes from here on is pending,
		 * and the kernel does not sleep, or wakes, for a pending interrupt though it is masked.
		 * Unmasking has it handled.
		 */
		uintr_mask();
		is = ready(context);
		left = usec - spent;
		if (!is && left && uintr_wait(left < UINTR_WAIT_MAX ? left : UINTR_WAIT_MAX, 0) < 0 && errno != EINTR) {
			int err = -errno;

			uintr_unmask();
			return err;
		}
		uintr_unmask();
		if (is)
			return 0;
		if (!left)
			return -ETIMEDOUT;
		if (usec != UINTR_FOREVER) {
			spent = now() - start;
			if (spent > usec)
				spent = usec;
		}
	}
}
