/* SPDX-License-Identifier: Apache-2.0 */
/* Split rings, virtio 1.3 §2.7. Slot s has descriptors CHAIN*s and following for good. */
#include <errno.h>

#include "internal.h"

/* In 16-bit words of the available ring, and bytes of the used ring: flags, idx, the entries, and the event index behind them. */
enum { FLAGS, INDEX, ENTRIES };

static size_t avail_at(unsigned size) { return sizeof(struct split_desc) * size; }
static size_t used_at(unsigned size) { return (avail_at(size) + 2 * (ENTRIES + size + 1) + 3) & ~(size_t)3; }

struct used_entry { uint32_t id, length; };

static struct used_entry *entries(struct storage_queue *q) { return (struct used_entry *)(q->split.used + ENTRIES); }
static uint16_t *used_event(struct storage_queue *q) { return q->split.avail + ENTRIES + q->size; }
static uint16_t *avail_event(struct storage_queue *q) { return (uint16_t *)(entries(q) + q->size); }

static size_t bytes(unsigned size)
{
	return used_at(size) + 4 + sizeof(struct used_entry) * size + 2;
}

static void start(struct storage_queue *q)
{
	q->split.desc = (struct split_desc *)q->memory;
	q->split.avail = (uint16_t *)(q->memory + avail_at(q->size));
	q->split.used = (uint16_t *)(q->memory + used_at(q->size));
}

static void push(struct storage_queue *q, unsigned slot, const struct piece *p, unsigned n)
{
	unsigned head = CHAIN * slot;

	for (unsigned i = 0; i < n; i++)
		q->split.desc[head + i] = (struct split_desc){
			.address = p[i].iova, .length = p[i].bytes,
			.flags = (p[i].write ? DESC_WRITE : 0) | (i + 1 < n ? DESC_NEXT : 0), .next = i + 1 < n ? head + i + 1 : 0,
		};
	q->split.avail[ENTRIES + q->next_avail++ % q->size] = head;
}

static void publish(struct storage_queue *q)
{
	__atomic_store_n(&q->split.avail[INDEX], q->next_avail, __ATOMIC_RELEASE);
}

static bool wants_doorbell(struct storage_queue *q)
{
	uint16_t old = q->published;

	q->published = q->next_avail;
	if (!q->disk->info.event_index)
		return !(__atomic_load_n(&q->split.used[FLAGS], __ATOMIC_RELAXED) & USED_NO_NOTIFY);
	uint16_t event = __atomic_load_n(avail_event(q), __ATOMIC_RELAXED);
	return (uint16_t)(q->next_avail - event - 1) < (uint16_t)(q->next_avail - old);
}

static int pop(struct storage_queue *q)
{
	uint16_t used = __atomic_load_n(&q->split.used[INDEX], __ATOMIC_ACQUIRE);

	if (used == q->last_used)
		return -EAGAIN;
	if ((uint16_t)(used - q->last_used) > q->under_way)
		return -EIO;
	uint32_t id = *(volatile uint32_t *)&entries(q)[q->last_used % q->size].id;
	if (id % CHAIN || id / CHAIN >= q->depth)
		return -EIO;
	q->last_used++;
	return id / CHAIN;
}

static void arm(struct storage_queue *q, unsigned completions)
{
	if (q->disk->info.event_index)
		__atomic_store_n(used_event(q), (uint16_t)(q->last_used + completions - 1), __ATOMIC_RELAXED);
	else
		__atomic_store_n(&q->split.avail[FLAGS], 0, __ATOMIC_RELAXED);
}

/* With event indices, the last one is the furthest away. */
static void disarm(struct storage_queue *q)
{
	if (q->disk->info.event_index)
		__atomic_store_n(used_event(q), (uint16_t)(q->last_used - 1), __ATOMIC_RELAXED);
	else
		__atomic_store_n(&q->split.avail[FLAGS], AVAIL_NO_INTERRUPT, __ATOMIC_RELAXED);
}

const struct ring split_ring = { bytes, start, push, publish, wants_doorbell, pop, arm, disarm };
