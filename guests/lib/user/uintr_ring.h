/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings between one producer and one consumer, threads or processes, in memory that both map:
 * entries are written and read in place, many are published at once, and a user interrupt is sent
 * only when the other side asked for one (an event index, as virtio 1.3 §2.7.10).
 *
 *	producer                                       consumer
 *	while ((p = uintr_ring_slot(&r))) {            while ((c = uintr_ring_next(&r))) {
 *		fill(p);                                       use(c);
 *		uintr_ring_push(&r);                           uintr_ring_pop(&r);
 *	}                                              }
 *	uintr_ring_publish(&r);                        uintr_ring_wait(&r, 1, UINTR_FOREVER);
 *
 * A struct uintr_ring is one side's, and that side is one thread: a thread whose handler also works on it
 * does so masked. The other side's memory is not trusted: whatever it holds, no access leaves the
 * ring, and indices that cannot be set broken. Entries it may still change: copy, then judge.
 *
 * Order. An index is stored with release after its entries, and loaded with acquire before them; so
 * a slot is not read before it was filled, nor filled again before it was read. A doorbell needs more, since
 * each side stores one word and then looks at the other's:
 *
 *	producer: tail = t; fence; is tail_event passed? send
 *	consumer: tail_event = e; fence; is tail past e? do not sleep
 *
 * With a sequentially consistent fence between store and load on both sides at least one of the two sees
 * the other's store: no doorbell is missed. Both may see it; that doorbell finds nothing new.
 */
#ifndef UINTR_RING_H
#define UINTR_RING_H

#include "uintr_user.h"

#define UINTR_RING_ENTRIES_MAX (1u << 20)
#define UINTR_RING_ENTRY_MAX   (1u << 16) /* bytes */

/* A cache line for each word that one side writes and the other reads. Indices count entries, modulo 2^32. */
struct uintr_ring_shared {
	uint32_t magic, entries, entry_size;
	_Alignas(64) _Atomic uint32_t tail;       /* producer: entries published */
	_Alignas(64) _Atomic uint32_t head;       /* consumer: entries given back */
	_Alignas(64) _Atomic uint32_t tail_event; /* consumer: doorbell once tail has passed this */
	_Alignas(64) _Atomic uint32_t head_event; /* producer: doorbell once head has */
	_Alignas(64) unsigned char slots[];
};

/* One side. */
struct uintr_ring {
	struct uintr_ring_shared *shared;
	uint32_t entries, entry_size;
	uint32_t local;     /* this side's index, ... */
	uint32_t published; /* ... as far as the other side knows it */
	uint32_t seen;      /* the other side's, when last looked at */
	int doorbell;       /* index to send to; -1: the other side polls */
	bool broken;        /* the other side's index was impossible */
	uint64_t rung;      /* doorbells sent */
};

/* Bytes of a ring; 0 unless entries is a power of two, entry_size a multiple of 8, and both within bounds. */
size_t uintr_ring_size(uint32_t entries, uint32_t entry_size);

/* Makes an empty ring of memory that is aligned to 64 bytes. -EINVAL as uintr_ring_size(). */
int uintr_ring_format(void *memory, uint32_t entries, uint32_t entry_size);

/* One side of a ring in size bytes at memory. -EPROTO: no ring is there, or one that does not fit. */
int uintr_ring_open(struct uintr_ring *r, void *memory, size_t size, int doorbell);

static inline void *uintr_ring_at(const struct uintr_ring *r, uint32_t index)
{
	return r->shared->slots + (size_t)(index & (r->entries - 1)) * r->entry_size;
}

/* Stores this side's index; if the other side's event lies in what that passes, sends. */
static inline void uintr_ring_advance(struct uintr_ring *r, _Atomic uint32_t *index, _Atomic uint32_t *event)
{
	uint32_t old = r->published, new = r->local;

	if (old == new)
		return;
	atomic_store_explicit(index, new, memory_order_release);
	r->published = new;
	if (r->doorbell < 0)
		return;
	atomic_thread_fence(memory_order_seq_cst);
	if (new - atomic_load_explicit(event, memory_order_relaxed) - 1 < new - old) {
		r->rung++;
		uintr_send(r->doorbell);
	}
}

/* Producer: free slots. */
static inline uint32_t uintr_ring_room(struct uintr_ring *r)
{
	uint32_t used;

	r->seen = atomic_load_explicit(&r->shared->head, memory_order_acquire);
	used = r->local - r->seen;
	if (used > r->entries) {
		r->broken = true;
		return 0;
	}
	return r->entries - used;
}

/* Producer: the slot to fill next; NULL if none is free. */
static inline void *uintr_ring_slot(struct uintr_ring *r)
{
	if (r->local - r->seen >= r->entries && !uintr_ring_room(r))
		return NULL;
	return uintr_ring_at(r, r->local);
}

/* Producer: the slot is filled. The consumer sees it once it is published. */
static inline void uintr_ring_push(struct uintr_ring *r)
{
	r->local++;
}

/* Producer: publishes what was pushed, with at most one doorbell. */
static inline void uintr_ring_publish(struct uintr_ring *r)
{
	uintr_ring_advance(r, &r->shared->tail, &r->shared->tail_event);
}

/* Consumer: entries that are there. */
static inline uint32_t uintr_ring_ready(struct uintr_ring *r)
{
	uint32_t ready;

	r->seen = atomic_load_explicit(&r->shared->tail, memory_order_acquire);
	ready = r->seen - r->local;
	if (ready > r->entries) {
		r->broken = true;
		r->seen = r->local;
		return 0;
	}
	return ready;
}

/* Consumer: the oldest entry; NULL if there is none. */
static inline const void *uintr_ring_next(struct uintr_ring *r)
{
	if (r->local == r->seen && !uintr_ring_ready(r))
		return NULL;
	return uintr_ring_at(r, r->local);
}

/* Consumer: done with the oldest entry. The producer may fill it again once it is released. */
static inline void uintr_ring_pop(struct uintr_ring *r)
{
	r->local++;
}

/* Consumer: gives back what was popped, with at most one doorbell. */
static inline void uintr_ring_release(struct uintr_ring *r)
{
	uintr_ring_advance(r, &r->shared->head, &r->shared->head_event);
}

/* What may be asked for: an entry at least, and no more than there can be. */
static inline uint32_t uintr_ring_clamp(const struct uintr_ring *r, uint32_t n)
{
	return n < 1 ? 1 : n > r->entries ? r->entries : n;
}

/*
 * Consumer: asks for one doorbell once n entries are there, having released what was popped. True:
 * they are not, and the doorbell will come. False: they are; it may come as well. Without arming
 * again no other comes, so a consumer that polls under load pays for none.
 */
static inline bool uintr_ring_arm(struct uintr_ring *r, uint32_t n)
{
	n = uintr_ring_clamp(r, n);
	uintr_ring_release(r);
	atomic_store_explicit(&r->shared->tail_event, r->local + n - 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	return uintr_ring_ready(r) < n && !r->broken;
}

/* Producer: likewise for n free slots, having published what was pushed. */
static inline bool uintr_ring_arm_room(struct uintr_ring *r, uint32_t n)
{
	n = uintr_ring_clamp(r, n);
	uintr_ring_publish(r);
	atomic_store_explicit(&r->shared->head_event, r->local - r->entries + n - 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	return uintr_ring_room(r) < n && !r->broken;
}

/*
 * Arms and sleeps until n entries, or free slots, are there. The doorbell's vector must be attached;
 * uintr_ring_doorbell() is a handler that only ends the sleep. As uintr_wait_until(), and -EPROTO
 * when the ring is broken.
 */
int uintr_ring_wait(struct uintr_ring *r, uint32_t n, uint64_t usec);
int uintr_ring_wait_room(struct uintr_ring *r, uint32_t n, uint64_t usec);
void uintr_ring_doorbell(unsigned vector, void *context);

/*
 * A submission and a completion ring in one descriptor, which is handed over as a channel is. The client
 * produces sq and consumes cq, the server the other way round.
 */
struct uintr_pair {
	struct uintr_ring sq, cq;
	void *memory;
	size_t size;
};

/* Descriptor of an anonymous file of fixed size, close-on-exec. */
int uintr_pair_create(uint32_t sq_entries, uint32_t sq_entry_size, uint32_t cq_entries, uint32_t cq_entry_size);

/* Maps it; doorbell is this side's index to the other. -EPROTO: not a pair, or one whose size could still change. */
int uintr_pair_open(struct uintr_pair *p, int fd, int doorbell);
void uintr_pair_close(struct uintr_pair *p);
#endif
