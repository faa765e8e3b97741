/* SPDX-License-Identifier: Apache-2.0 */
/* Completions as user interrupts (uintr.md §2). */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../uintr.h"
#include "../../linux/uintr/uintr_ioctl.h"
#include "internal.h"

enum { NR_uintr_wait = 476, LONGEST = 1000 /* milliseconds, between looks at the disk's state */ };

int storage_post(struct storage_queue *q, int uvecfd)
{
	int end = -1;

	if (q->uvecfd >= 0) {
		ioctl(q->uvecfd, UVECFD_BIND_EVENTFD, &end);
		q->uvecfd = -1;
	}
	if (uvecfd < 0)
		return 0;
	if (ioctl(uvecfd, UVECFD_BIND_EVENTFD, &q->eventfd) < 0)
		return storage_fail(errno, "posting the interrupts of queue %u", q->index);
	q->uvecfd = uvecfd;
	int posts = ioctl(uvecfd, UVECFD_DEVICE_POSTS);
	return posts > 0;
}

__attribute__((target("general-regs-only"))) void storage_interrupted(struct storage_queue *q)
{
	q->interrupted = true;
	q->user_interrupts++;
}

/* An interrupt between the look and the call stays pending, and the call returns for it. */
void posted_sleep(struct storage_queue *q, int timeout)
{
	bool enabled = uintr_testui();

	if (timeout < 0 || timeout > LONGEST)
		timeout = LONGEST;
	uintr_clui();
	if (!q->interrupted)
		syscall(NR_uintr_wait, (uint64_t)timeout * 1000, 0);
	if (enabled)
		uintr_stui();
}
