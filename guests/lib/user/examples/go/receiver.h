/* SPDX-License-Identifier: Apache-2.0 */
/* A thread of C's own that receives for a Go program. See docs/uintr-programming.md §7. */
#ifndef RECEIVER_H
#define RECEIVER_H

#include <stdatomic.h>
#include <stdint.h>
#include <uintr_user.h>

struct receiver {
	_Atomic uint64_t pending; /* a bit for each vector that came */
	int eventfd;              /* readable when pending is not 0 */
	int channels[UINTR_VECTORS];
	unsigned vectors;
	int error;                /* negative errno, if the thread could not start */
	_Atomic int started;
};

/* Starts the thread, which never ends, with channels for vectors 0 to vectors-1. 0 or a negative errno. */
int receiver_start(struct receiver *r, unsigned vectors);

/* Takes the vectors that came. */
uint64_t receiver_take(struct receiver *r);
#endif
