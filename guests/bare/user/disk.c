// SPDX-License-Identifier: Apache-2.0
// virtio-blk, one split queue (virtio 1.3 §2.7, §5.2). A request is slot i: descriptors
// 3i, 3i+1, 3i+2, always the same, so that submission (the main line) and completion (the
// handler) share nothing but the rings.
#include "user.h"

enum { FEATURE_RO = 5, FEATURE_EVENT_IDX = 29, FEATURE_VERSION_1 = 32, FEATURE_ACCESS_PLATFORM = 33 };
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8 };
enum { NEXT = 1, WRITE = 2 };

struct common {
	uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
	uint16_t msix_config, num_queues;
	uint8_t status, generation;
	uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
	uint32_t queue_desc[2], queue_driver[2], queue_device[2];
};

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

static struct descriptor table[QUEUE_MAX] __attribute__((aligned(4096)));
static struct { uint16_t flags, idx, ring[QUEUE_MAX], used_event; } avail __attribute__((aligned(4096)));
static struct { uint16_t flags, idx; struct { uint32_t id, length; } ring[QUEUE_MAX]; uint16_t avail_event; }
	used __attribute__((aligned(4096)));
static struct { uint32_t type, reserved; uint64_t sector; } headers[QUEUE_MAX / 3];
static volatile uint8_t statuses[QUEUE_MAX / 3];
static uint16_t avail_idx;

static void address(volatile uint32_t *at, const void *p)
{
	at[0] = (uint64_t)p;
	at[1] = (uint64_t)p >> 32;
}

static const char *negotiate(volatile struct common *c)
{
	c->status = 0;
	while (c->status)
		;
	c->status = ACKNOWLEDGE;
	c->status = ACKNOWLEDGE | DRIVER;
	c->device_feature_select = 0;
	uint32_t low = c->device_feature & (1u << FEATURE_EVENT_IDX | 1u << FEATURE_RO);
	c->device_feature_select = 1;
	uint32_t high = c->device_feature & (1 << (FEATURE_VERSION_1 - 32) | 1 << (FEATURE_ACCESS_PLATFORM - 32));
	if (!(low >> FEATURE_EVENT_IDX & 1))
		return "the disk offers no EVENT_IDX";
	c->driver_feature_select = 0;
	c->driver_feature = low;
	c->driver_feature_select = 1;
	c->driver_feature = high;
	c->status = ACKNOWLEDGE | DRIVER | FEATURES_OK;
	return c->status & FEATURES_OK ? NULL : "the disk refuses the features";
}

const char *disk_open(struct disk *d, uint64_t index, uint32_t depth)
{
	if (system_call(SYS_DEVICE, index, (uint64_t)&d->device, 0) || d->device.type != 2)
		return "there is no disk";
	volatile struct common *c = (struct common *)d->device.common;
	const char *refused = negotiate(c);
	if (refused)
		return refused;
	c->queue_select = 0;
	d->size = c->queue_size < QUEUE_MAX ? c->queue_size : QUEUE_MAX;
	if (depth > d->size / 3)
		return "the queue is too small for this depth";
	avail.flags = avail.idx = avail_idx = d->last_used = 0;
	used.idx = 0;
	d->kicks = 0;
	c->queue_size = d->size;
	c->queue_msix_vector = 0;
	if (c->queue_msix_vector != 0)
		return "the disk has no MSI-X vector";
	address(c->queue_desc, table);
	address(c->queue_driver, &avail);
	address(c->queue_device, &used);
	d->doorbell = (uint32_t *)(d->device.notify + c->queue_notify_off * d->device.notify_multiplier);
	c->queue_enable = 1;
	c->status = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
	d->sectors = *(volatile uint64_t *)d->device.specific;
	return NULL;
}

void disk_read(struct disk *d, uint16_t slot, uint64_t sector, void *buffer, uint32_t bytes)
{
	uint16_t head = 3 * slot;

	headers[slot].type = 0;
	headers[slot].sector = sector;
	statuses[slot] = 0xff;
	table[head] = (struct descriptor){ (uint64_t)&headers[slot], 16, NEXT, head + 1 };
	table[head + 1] = (struct descriptor){ (uint64_t)buffer, bytes, NEXT | WRITE, head + 2 };
	table[head + 2] = (struct descriptor){ (uint64_t)&statuses[slot], 1, WRITE, 0 };
	avail.ring[avail_idx % d->size] = head;
	avail_idx++;
	__atomic_store_n(&avail.idx, avail_idx, __ATOMIC_RELEASE);
	// The full fence orders the index before the look at avail_event.
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	uint16_t event = *(volatile uint16_t *)((uint8_t *)&used + 4 + 8 * d->size);
	if (event == (uint16_t)(avail_idx - 1)) {
		d->kicks++;
		*d->doorbell = 0;
	}
}

int disk_reap(struct disk *d, uint16_t *slot, uint8_t *status)
{
	if (d->last_used == __atomic_load_n(&used.idx, __ATOMIC_ACQUIRE))
		return 0;
	*slot = used.ring[d->last_used % d->size].id / 3;
	*status = statuses[*slot];
	d->last_used++;
	return 1;
}

int disk_arm(struct disk *d)
{
	*(volatile uint16_t *)((uint8_t *)&avail + 4 + 2 * d->size) = d->last_used;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return d->last_used != __atomic_load_n(&used.idx, __ATOMIC_ACQUIRE);
}
