/* SPDX-License-Identifier: Apache-2.0 */
/* Packed rings, virtio 1.3 §2.8. The buffer id is the slot. */
#include <errno.h>
#include <string.h>

#include "internal.h"

static size_t bytes(unsigned size)
{
	return sizeof(struct packed_desc) * size + 2 * sizeof(struct packed_events);
}

static void start(struct storage_queue *q)
{
	q->packed.desc = (struct packed_desc *)q->memory;
	q->packed.driver = (struct packed_events *)(q->packed.desc + q->size);
	q->packed.device = q->packed.driver + 1;
	q->avail_wrap = q->used_wrap = q->published_wrap = true;
}

/* §2.8.1: how a descriptor that is available looks in a round. */
static uint16_t available(bool wrap)
{
	return wrap ? DESC_AVAIL : DESC_USED;
}

/* The flags of the first descriptor that is not visible yet are written last, for all of a batch. */
static void push(struct storage_queue *q, unsigned slot, const struct piece *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct packed_desc *desc = &q->packed.desc[q->next_avail];
		uint16_t flags = available(q->avail_wrap) | (p[i].write ? DESC_WRITE : 0) | (i + 1 < n ? DESC_NEXT : 0);

		desc->address = p[i].iova;
		desc->length = p[i].bytes;
		desc->id = slot;
		if (q->held) {
			desc->flags = flags;
		} else {
			q->held = true;
			q->first_at = q->next_avail;
			q->first_flags = flags;
		}
		if (++q->next_avail == q->size) {
			q->next_avail = 0;
			q->avail_wrap = !q->avail_wrap;
		}
	}
}

static void publish(struct storage_queue *q)
{
	if (q->held)
		__atomic_store_n(&q->packed.desc[q->first_at].flags, q->first_flags, __ATOMIC_RELEASE);
	q->held = false;
}

/* §2.8.14 and §2.7.10: whether an event at a position lies in what went from old to now. */
static bool passed(uint16_t size, uint16_t at, bool wrap, uint16_t now, bool now_wrap, uint16_t old)
{
	uint16_t event = at;

	if (wrap != now_wrap)
		event -= size;
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

static bool wants_doorbell(struct storage_queue *q)
{
	uint16_t old = q->published, event, flags;
	bool wrapped = q->published_wrap != q->avail_wrap;
	uint32_t word;

	q->published = q->next_avail;
	q->published_wrap = q->avail_wrap;
	memcpy(&word, q->packed.device, sizeof word);
	event = word;
	flags = word >> 16 & 3;
	if (flags != EVENTS_AT || !q->disk->info.event_index)
		return flags != EVENTS_DISABLE;
	return passed(q->size, event & 0x7fff, event >> 15, q->next_avail, q->avail_wrap, wrapped ? old - q->size : old);
}

static int pop(struct storage_queue *q)
{
	struct packed_desc *desc = &q->packed.desc[q->last_used];
	uint16_t flags = __atomic_load_n(&desc->flags, __ATOMIC_ACQUIRE);
	bool avail = flags & DESC_AVAIL, used = flags & DESC_USED;

	if (avail != used || used != q->used_wrap)
		return -EAGAIN;
	uint16_t id = *(volatile uint16_t *)&desc->id;
	if (id >= q->depth || !q->slots[id].busy)
		return -EIO;
	q->last_used += q->slots[id].data ? CHAIN : CHAIN - 1;
	if (q->last_used >= q->size) {
		q->last_used -= q->size;
		q->used_wrap = !q->used_wrap;
	}
	return id;
}

/* Completions move the used position by a chain each: beside shorter ones an interrupt may come early, but never late. */
static void arm(struct storage_queue *q, unsigned completions)
{
	unsigned at = q->last_used + (completions - 1) * (q->shorts ? CHAIN - 1 : CHAIN);
	bool wrap = q->used_wrap;

	if (!q->disk->info.event_index) {
		__atomic_store_n(&q->packed.driver->flags, EVENTS_ENABLE, __ATOMIC_RELAXED);
		return;
	}
	if (at >= q->size) { /* once at most: all that is under way fits the ring */
		at -= q->size;
		wrap = !wrap;
	}
	__atomic_store_n(&q->packed.driver->at, (uint16_t)(at | wrap << 15), __ATOMIC_RELAXED);
	__atomic_store_n(&q->packed.driver->flags, EVENTS_AT, __ATOMIC_RELEASE);
}

static void disarm(struct storage_queue *q)
{
	__atomic_store_n(&q->packed.driver->flags, EVENTS_DISABLE, __ATOMIC_RELAXED);
}

const struct ring packed_ring = { bytes, start, push, publish, wants_doorbell, pop, arm, disarm };
