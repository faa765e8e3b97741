/* SPDX-License-Identifier: Apache-2.0 */
/* virtio over PCI, virtio 1.3 §4.1: its structures, the status dance of §3.1.1, and queues. */
#include <errno.h>
#include <linux/pci_regs.h>

#include "internal.h"

enum { COMMON = 1, NOTIFY = 2, DEVICE = 4 };	   /* cfg_type, §4.1.4 */
enum { DISK = 0x1042, VIRTIO = 0x1af4 };	   /* §4.1.2 */
enum { MAX_CAPABILITIES = 48, RESET_LOOKS = 1000000 };

/* A vendor capability, §4.1.4; the notification structure's goes on with the multiplier. */
struct capability { uint32_t type, bar, offset, length, multiplier; };

static int read_capability(struct storage *d, unsigned at, struct capability *c)
{
	int err = vfio_config(d, at + 3, 1, &c->type);

	if (!err)
		err = vfio_config(d, at + 4, 1, &c->bar);
	if (!err)
		err = vfio_config(d, at + 8, 4, &c->offset);
	if (!err)
		err = vfio_config(d, at + 12, 4, &c->length);
	if (!err && c->type == NOTIFY)
		err = vfio_config(d, at + 16, 4, &c->multiplier);
	return err;
}

static int take_structure(struct storage *d, const struct capability *c)
{
	void **at;
	uint32_t least;

	switch (c->type) {
	case COMMON:
		at = (void **)&d->common;
		least = sizeof *d->common;
		break;
	case NOTIFY:
		at = (void **)&d->notify;
		least = 2;
		d->notify_bytes = c->length;
		d->multiplier = c->multiplier;
		break;
	case DEVICE:
		at = (void **)&d->blk;
		least = sizeof *d->blk;
		break;
	default:
		return 0;
	}
	if (*at)
		return 0; /* §4.1.4: the first of a type is preferred */
	if (c->length < least || c->offset % 4)
		return storage_fail(EPROTO, "structure %u of the disk has %u bytes at %#x", c->type, c->length, c->offset);
	*at = vfio_map_structure(d, c->bar, c->offset, c->length);
	return *at ? 0 : -EIO;
}

int virtio_find(struct storage *d)
{
	uint32_t id, at, kind;
	int err = vfio_config(d, PCI_VENDOR_ID, 4, &id);

	if (err)
		return err;
	if (id != (VIRTIO | (uint32_t)DISK << 16))
		return storage_fail(ENODEV, "%04x:%04x is not a virtio disk", id & 0xffff, id >> 16);
	err = vfio_config(d, PCI_CAPABILITY_LIST, 1, &at);
	for (unsigned i = 0; !err && at && i < MAX_CAPABILITIES; i++) {
		struct capability c = { 0 };
		err = vfio_config(d, at, 1, &kind);
		if (!err && kind == PCI_CAP_ID_VNDR)
			err = read_capability(d, at, &c);
		if (!err && kind == PCI_CAP_ID_VNDR)
			err = take_structure(d, &c);
		if (!err)
			err = vfio_config(d, at + 1, 1, &at);
	}
	if (err)
		return err;
	if (!d->common || !d->notify || !d->blk)
		return storage_fail(ENODEV, "the disk lacks a virtio structure");
	return 0;
}

/* §2.4.1: reset is complete once status reads 0. */
int virtio_reset(struct storage *d)
{
	d->common->status = 0;
	for (unsigned i = 0; i < RESET_LOOKS; i++)
		if (!d->common->status)
			return 0;
	return storage_fail(ETIMEDOUT, "resetting the disk");
}

static uint64_t offered(struct storage *d)
{
	d->common->device_feature_select = 0;
	uint64_t low = d->common->device_feature;
	d->common->device_feature_select = 1;
	return low | (uint64_t)d->common->device_feature << 32;
}

int virtio_negotiate(struct storage *d, const struct storage_options *o)
{
	const uint64_t needed = F_VERSION_1 | F_ACCESS_PLATFORM;
	uint64_t wanted = needed | F_BLK_READ_ONLY | F_BLK_FLUSH | F_BLK_MQ;
	int err = virtio_reset(d);

	/* The disk may still have queues of a process that was killed: it reaches no memory before it has lost them. */
	if (!err)
		err = vfio_enable(d, PCI_COMMAND_MASTER);
	if (err)
		return err;
	if (!o->split)
		wanted |= F_RING_PACKED;
	if (!o->no_event_index)
		wanted |= F_EVENT_INDEX;
	d->common->status = ACKNOWLEDGE;
	d->common->status = ACKNOWLEDGE | DRIVER;
	uint64_t features = offered(d);
	if ((features & needed) != needed)
		return storage_fail(ENOTSUP, "the disk offers %#llx, without VERSION_1 or ACCESS_PLATFORM (is it behind an IOMMU?)", (unsigned long long)features);
	d->features = features & wanted;
	d->common->driver_feature_select = 0;
	d->common->driver_feature = d->features;
	d->common->driver_feature_select = 1;
	d->common->driver_feature = d->features >> 32;
	d->common->status = ACKNOWLEDGE | DRIVER | FEATURES_OK;
	if (!(d->common->status & FEATURES_OK))
		return storage_fail(ENOTSUP, "the disk refuses features %#llx", (unsigned long long)d->features);
	d->info.read_only = d->features & F_BLK_READ_ONLY;
	d->info.flush = d->features & F_BLK_FLUSH;
	d->info.packed = d->features & F_RING_PACKED;
	d->info.event_index = d->features & F_EVENT_INDEX;
	d->info.sectors = d->blk->capacity;
	unsigned has = d->features & F_BLK_MQ ? d->blk->num_queues : 1;
	d->info.queues = o->queues ? o->queues : 1;
	if (d->info.queues > has || d->info.queues > STORAGE_MAX_QUEUES)
		return storage_fail(EINVAL, "%u queues of a disk that has %u", d->info.queues, has);
	return 0;
}

static void set_address(volatile uint32_t *at, uint64_t iova)
{
	at[0] = iova;
	at[1] = iova >> 32;
}

/* The queue's memory is laid out, as queue_open() says. Vector 0 is the configuration's. */
int virtio_start_queue(struct storage_queue *q)
{
	struct storage *d = q->disk;
	volatile struct common *c = d->common;
	uint64_t base = q->ring_iova, driver, device;

	if (d->info.packed) {
		driver = base + ((uint8_t *)q->packed.driver - q->memory);
		device = base + ((uint8_t *)q->packed.device - q->memory);
	} else {
		driver = base + ((uint8_t *)q->split.avail - q->memory);
		device = base + ((uint8_t *)q->split.used - q->memory);
	}
	c->queue_select = q->index;
	c->queue_size = q->size;
	c->queue_msix_vector = q->index + 1;
	if (c->queue_msix_vector != q->index + 1)
		return storage_fail(ENOSPC, "queue %u gets no interrupt", q->index);
	set_address(c->queue_desc, base);
	set_address(c->queue_driver, driver);
	set_address(c->queue_device, device);
	uint64_t at = (uint64_t)c->queue_notify_off * d->multiplier;
	if (at + 2 > d->notify_bytes || at % 2)
		return storage_fail(EPROTO, "queue %u has its doorbell at %#llx", q->index, (unsigned long long)at);
	q->doorbell = (volatile uint16_t *)(d->notify + at);
	c->queue_enable = 1;
	if (c->queue_enable != 1)
		return storage_fail(EIO, "queue %u does not start", q->index);
	return 0;
}

int virtio_start(struct storage *d)
{
	d->common->status = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
	if (storage_failed(d))
		return storage_fail(EIO, "the disk needs a reset");
	return 0;
}

bool storage_failed(const struct storage *d)
{
	return d->common->status & NEEDS_RESET;
}
