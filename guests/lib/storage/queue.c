/* SPDX-License-Identifier: Apache-2.0 */
/* A queue's submission and completion rings, over either form of virtqueue. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

enum { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4 };	  /* virtio 1.3 §5.2.6 */
enum { STATUS_OK = 0, STATUS_UNSUPPORTED = 2, STATUS_UNTOUCHED = 0xff };
enum { MAX_RING = 32768 };

static size_t pages(size_t bytes)
{
	return (bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
}

static size_t shared_at(const struct storage_queue *q)
{
	return pages(q->ring->bytes(q->size));
}

static size_t memory_bytes(const struct storage_queue *q)
{
	return shared_at(q) + pages(q->depth * sizeof *q->shared);
}

static int size_queue(struct storage_queue *q, unsigned depth)
{
	volatile struct common *c = q->disk->common;

	c->queue_select = q->index;
	q->size = c->queue_size;
	if (q->size < CHAIN || q->size > MAX_RING || (!q->disk->info.packed && q->size & (q->size - 1)))
		return storage_fail(EPROTO, "queue %u has %u entries", q->index, q->size);
	q->depth = depth < q->size / CHAIN ? depth : q->size / CHAIN;
	if (q->depth > STORAGE_MAX_DEPTH)
		q->depth = STORAGE_MAX_DEPTH;
	return 0;
}

int queue_open(struct storage_queue *q, struct storage *d, unsigned index, unsigned depth)
{
	q->disk = d;
	q->index = index;
	q->eventfd = q->uvecfd = -1;
	q->ring = d->info.packed ? &packed_ring : &split_ring;
	int err = size_queue(q, depth);
	if (err)
		return err;
	q->slots = calloc(q->depth, sizeof *q->slots);
	q->free = calloc(q->depth, sizeof *q->free);
	q->requests = calloc(q->depth, sizeof *q->requests);
	q->completions = calloc(q->depth, sizeof *q->completions);
	if (!q->slots || !q->free || !q->requests || !q->completions)
		return storage_fail(ENOMEM, "queue %u", index);
	q->memory = memory_new(d, memory_bytes(q), &q->ring_iova);
	if (!q->memory)
		return -ENOMEM;
	q->shared = (struct slot_memory *)(q->memory + shared_at(q));
	q->shared_iova = q->ring_iova + shared_at(q);
	q->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (q->eventfd < 0)
		return storage_fail(errno, "eventfd");
	while (q->frees < q->depth) {
		q->free[q->frees] = q->depth - 1 - q->frees;
		q->frees++;
	}
	storage_set_waiting(q, &(struct storage_waiting){ 0 });
	q->ring->start(q);
	q->ring->disarm(q);
	return 0;
}

void queue_close(struct storage_queue *q)
{
	if (q->memory)
		munmap(q->memory, memory_bytes(q));
	if (q->eventfd >= 0)
		close(q->eventfd);
	free(q->slots);
	free(q->free);
	free(q->requests);
	free(q->completions);
}

struct storage_request *storage_next(struct storage_queue *q)
{
	if (q->prepared + q->under_way + q->complete >= q->depth)
		return NULL;
	return &q->requests[q->prepared++];
}

static void complete(struct storage_queue *q, uint64_t name, int64_t result)
{
	q->completions[(q->first + q->complete++) % q->depth] = (struct storage_completion){ name, result };
	q->counters.completed++;
}

/* Why the disk need not see r, 0 if it has to; else where its data is for the disk. */
static int judge(const struct storage_queue *q, const struct storage_request *r, uint64_t *iova)
{
	const struct storage_info *info = &q->disk->info;

	if (r->operation == STORAGE_FLUSH)
		return info->flush ? 0 : -EOPNOTSUPP;
	if (r->operation != STORAGE_READ && r->operation != STORAGE_WRITE)
		return -EINVAL;
	if (!r->bytes || r->bytes % STORAGE_SECTOR || r->bytes > STORAGE_MAX_BYTES)
		return -EINVAL;
	if (r->sector > info->sectors || r->bytes / STORAGE_SECTOR > info->sectors - r->sector)
		return -ENOSPC;
	if (r->operation == STORAGE_WRITE && info->read_only)
		return -EROFS;
	*iova = memory_iova(q->disk, r->buffer, r->bytes);
	return *iova ? 0 : -EFAULT;
}

static void push(struct storage_queue *q, const struct storage_request *r, uint64_t data)
{
	static const uint32_t types[] = { [STORAGE_READ] = TYPE_IN, [STORAGE_WRITE] = TYPE_OUT, [STORAGE_FLUSH] = TYPE_FLUSH };
	unsigned s = q->free[--q->frees], n = 0;
	struct slot_memory *m = &q->shared[s];
	uint64_t at = q->shared_iova + s * sizeof *m;
	bool has_data = r->operation != STORAGE_FLUSH;
	struct piece p[CHAIN];

	m->type = types[r->operation];
	m->reserved = 0;
	m->sector = has_data ? r->sector : 0;
	m->status = STATUS_UNTOUCHED;
	p[n++] = (struct piece){ at, offsetof(struct slot_memory, status), false };
	if (has_data)
		p[n++] = (struct piece){ data, r->bytes, r->operation == STORAGE_READ };
	p[n++] = (struct piece){ at + offsetof(struct slot_memory, status), 1, true };
	q->slots[s] = (struct slot){ .name = r->name, .bytes = r->bytes, .busy = true, .data = has_data };
	q->under_way++;
	q->shorts += !has_data;
	q->ring->push(q, s, p, n);
}

int storage_submit(struct storage_queue *q)
{
	unsigned n = q->prepared, before = q->under_way;

	if (q->broken)
		return storage_fail(EIO, "queue %u is broken", q->index);
	for (unsigned i = 0; i < n; i++) {
		const struct storage_request *r = &q->requests[i];
		uint64_t data = 0;
		int err = judge(q, r, &data);
		if (err)
			complete(q, r->name, err);
		else
			push(q, r, data);
	}
	q->prepared = 0;
	q->counters.submitted += n;
	if (q->under_way == before)
		return n;
	q->ring->publish(q);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (q->ring->wants_doorbell(q)) {
		*q->doorbell = q->index;
		q->counters.doorbells++;
	}
	return n;
}

static int64_t result(const struct slot *s, uint8_t status)
{
	switch (status) {
	case STATUS_OK:
		return s->bytes;
	case STATUS_UNSUPPORTED:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}

unsigned queue_collect(struct storage_queue *q)
{
	unsigned n = 0;

	while (!q->broken) {
		int s = q->ring->pop(q);
		if (s == -EAGAIN)
			break;
		if (s < 0 || !q->slots[s].busy) {
			q->broken = true;
			break;
		}
		struct slot *slot = &q->slots[s];
		complete(q, slot->name, result(slot, q->shared[s].status));
		slot->busy = false;
		q->shorts -= !slot->data;
		q->under_way--;
		q->free[q->frees++] = s;
		n++;
	}
	return n;
}

int storage_reap(struct storage_queue *q, struct storage_completion *done, unsigned n)
{
	unsigned i;

	queue_collect(q);
	for (i = 0; i < n && q->complete > 0; i++) {
		done[i] = q->completions[q->first];
		q->first = (q->first + 1) % q->depth;
		q->complete--;
	}
	if (!i && q->broken)
		return storage_fail(EIO, "queue %u is broken", q->index);
	return i;
}

unsigned storage_open_requests(const struct storage_queue *q)
{
	return q->under_way + q->complete;
}
