/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User interrupts for programs: receivers, handlers, channels, waiting. uintr_ring.h has rings.
 *
 *	static void on_ping(unsigned vector, void *context) { (void)vector; ++*(volatile int *)context; }
 *	static bool pinged(void *context) { return *(volatile int *)context > 0; }
 *
 *	int pings = 0;
 *	if (uintr_unavailable()) errx(1, "%s", uintr_unavailable());
 *	uintr_receiver_start(0);                            // this thread
 *	int vector = uintr_attach(UINTR_ANY, on_ping, &pings);
 *	int fd = uintr_channel_create(vector);
 *	if (fork() == 0) { uintr_send(uintr_channel_open(fd)); _exit(0); }
 *	uintr_wait_until(pinged, &pings, UINTR_FOREVER);    // on_ping has run
 *
 * Functions that can fail return a negative errno, as -EBUSY; uintr_unavailable() says in a sentence
 * why there are no user interrupts at all. Compile with -muintr, link with libuintr-user.a.
 *
 * Handlers run on the receiver's thread, between any two instructions of it, one at a time, highest
 * vector first, and as if masked: what is not safe in a signal handler is not safe there. They end
 * by returning, never by longjmp. Sends of a vector that has not been handled yet are one.
 */
#ifndef UINTR_USER_H
#define UINTR_USER_H

#include <errno.h>
#include "uintr_syscall.h"

/* NULL, or one line that says what is missing and what would help. */
const char *uintr_unavailable(void);

/*
 * The receiver: the calling thread. Its state is thread-local, so all of this section acts on, and
 * is safe in, the thread that calls.
 */
typedef void uintr_handler(unsigned vector, void *context);

#define UINTR_ANY (-1)

/*
 * Flag of uintr_receiver_start(): handlers and what they call use general registers only (compiled
 * with -mgeneral-regs-only; mind libc's string functions), so vector registers are not saved.
 */
#define UINTR_GENERAL_REGISTERS 0x1u

/* Registers, and unmasks. Flags: UINTR_GENERAL_REGISTERS, UINTR_WAITING_*. -EBUSY: it is one already. */
int uintr_receiver_start(unsigned flags);

/* Unregisters; handlers are forgotten, channels to it cannot be opened any more. -EBUSY while masked. */
int uintr_receiver_stop(void);

/*
 * Has handler(vector, context) called for the vector, 0-63, or for a free one (UINTR_ANY: the
 * lowest). Returns the vector; -EBUSY if it is taken, -ENOSPC if it is above 63 or none is free.
 */
int uintr_attach(int vector, uintr_handler *handler, void *context);
int uintr_detach(int vector);

/*
 * Interrupts wait from uintr_mask() to the uintr_unmask() that belongs to it: sections nest, also in
 * handlers. A section keeps the thread's own handlers out, no other thread.
 */
void uintr_mask(void);
void uintr_unmask(void);
bool uintr_masked(void);

/*
 * Handlers run on a stack of their own of at least this size, below it a page that faults; 0: on
 * the thread's. For threads with small stacks, or whose stack pointer is not to be trusted. -EBUSY while masked.
 */
int uintr_stack(size_t size);

/*
 * Sleeps until ready(context), which runs masked. An interrupt that comes after ready() said no
 * ends the sleep, so none is missed; it is handled before ready() is asked again. 0, or -ETIMEDOUT
 * after the microseconds given. -EDEADLK if masked: no handler could make it ready.
 */
#define UINTR_FOREVER UINT64_MAX
int uintr_wait_until(bool (*ready)(void *context), void *context, uint64_t usec);

/*
 * Channels. A receiver creates one for a vector: a descriptor, which a process hands to others by
 * fork, or over a Unix socket. Who has it opens it, and sends by the index that this gives.
 * Indices belong to the process (all its threads; forked children inherit them), 256 at most.
 */
int uintr_channel_create(int vector);                /* receiver: descriptor, close-on-exec */
int uintr_channel_open(int fd);                      /* sender: index. -ESHUTDOWN: the receiver is gone */
int uintr_channel_self(int vector);                  /* the receiver to itself: index */
int uintr_channel_close(int index);                  /* the index may be given again at once */
int uintr_channel_pass(int socket, int fd);          /* SCM_RIGHTS */
int uintr_channel_take(int socket);                  /* descriptor; -EPROTO if none came, -EPIPE at the end */

/*
 * Sends. An index that was closed ends the process by SIGSEGV, and any before the first channel by
 * SIGILL: the instruction reports nothing. What was written to memory before is seen by the handler.
 */
static inline void uintr_send(int index)
{
	uintr_senduipi((uint64_t)index);
}

/*
 * Up to 4096 sources on one vector: a bit each, in memory that receiver and senders share. A sender
 * notifies only if its word was empty and no other word waits to be looked at; the handler takes
 * words whole. Sources coalesce as vectors do.
 *
 * While a sender is between setting a bit and notifying, others leave the notification to it. If it
 * is killed there none comes any more: who has senders that may be killed calls uintr_mux_sweep() when one was.
 */
#define UINTR_MUX_SOURCES 4096

struct uintr_mux_shared {
	_Alignas(64) _Atomic uint64_t summary; /* words that are not empty */
	_Alignas(64) _Atomic uint64_t words[UINTR_MUX_SOURCES / 64];
};

struct uintr_mux_source {
	void (*handler)(unsigned source, void *context);
	void *context;
};

struct uintr_mux {
	struct uintr_mux_shared *shared;
	struct uintr_mux_source *sources; /* count of them; a handler that is NULL: not attached */
	unsigned count;
	int vector;
};

/* Attaches shared, all zero, to the vector (or UINTR_ANY), and returns that. -EINVAL: more than UINTR_MUX_SOURCES. */
int uintr_mux_start(struct uintr_mux *mux, int vector, struct uintr_mux_shared *shared, struct uintr_mux_source *sources, unsigned count);
int uintr_mux_stop(struct uintr_mux *mux);

/* Calls the handlers of all sources whose bits are set, notified or not; how many. The receiver's thread. */
unsigned uintr_mux_sweep(struct uintr_mux *mux);

/* Sets the source's bit, and sends to index unless someone else has to. The source must be below the receiver's count. */
static inline void uintr_mux_send(struct uintr_mux_shared *shared, int index, unsigned source)
{
	unsigned word = source / 64;

	/*
	 * Bit, then summary, then notification; the receiver clears the other way round. Whoever finds
	 * something set leaves the rest to who set it, who is not done yet or whose notification is on
	 * its way: the receiver takes summary before words, so it sees this bit too. Sequentially consistent
	 * read-modify-writes of one word are totally ordered, so exactly one sender finds it empty.
	 */
	if (atomic_fetch_or(&shared->words[word], UINT64_C(1) << (source % 64)))
		return;
	if (atomic_fetch_or(&shared->summary, UINT64_C(1) << word))
		return;
	uintr_send(index);
}
#endif
