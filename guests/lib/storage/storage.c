/* SPDX-License-Identifier: Apache-2.0 */
/* A disk from taking it to giving it back. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "internal.h"

enum { DEFAULT_DEPTH = 64, DEFAULT_MEMORY = 4 << 20 };

static int open_queues(struct storage *d, unsigned depth)
{
	int fds[STORAGE_MAX_QUEUES + 1];
	int err = 0;

	d->queues = calloc(d->info.queues, sizeof *d->queues);
	if (!d->queues)
		return storage_fail(ENOMEM, "%u queues", d->info.queues);
	d->config_eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (d->config_eventfd < 0)
		return storage_fail(errno, "eventfd");
	fds[0] = d->config_eventfd;
	for (unsigned i = 0; i < d->info.queues && !err; i++) {
		d->started++;
		err = queue_open(&d->queues[i], d, i, depth);
		fds[i + 1] = d->queues[i].eventfd;
	}
	if (err)
		return err;
	d->info.depth = d->queues[0].depth;
	d->info.queue_size = d->queues[0].size;
	/* Before queues name vectors: those of a function without interrupts are refused. */
	err = vfio_interrupts(d, fds, d->info.queues + 1);
	if (err)
		return err;
	d->common->msix_config = 0;
	for (unsigned i = 0; i < d->info.queues && !err; i++)
		err = virtio_start_queue(&d->queues[i]);
	return err;
}

static int open_disk(struct storage *d, const char *group, const char *function, const struct storage_options *o)
{
	int err = vfio_open(d, group, function);

	if (!err)
		err = virtio_find(d);
	if (!err)
		err = virtio_negotiate(d, o);
	if (!err)
		err = memory_open(d, o->memory ? o->memory : DEFAULT_MEMORY);
	if (!err)
		err = open_queues(d, o->depth ? o->depth : DEFAULT_DEPTH);
	return err ? err : virtio_start(d);
}

int storage_open(struct storage **disk, const char *group, const char *function, const struct storage_options *options)
{
	static const struct storage_options defaults;
	struct storage *d = calloc(1, sizeof *d);

	if (!d)
		return storage_fail(ENOMEM, "a disk");
	d->container = d->group = d->device = d->config_eventfd = -1;
	int err = open_disk(d, group, function, options ? options : &defaults);
	if (err) {
		storage_close(d);
		return err;
	}
	*disk = d;
	return 0;
}

void storage_close(struct storage *d)
{
	if (d->common)
		virtio_reset(d); /* or, if it would not: without the container it reaches nothing */
	vfio_close(d);
	for (unsigned i = 0; i < d->started; i++)
		queue_close(&d->queues[i]);
	free(d->queues);
	memory_close(d);
	if (d->config_eventfd >= 0)
		close(d->config_eventfd);
	free(d);
}

const struct storage_info *storage_info(const struct storage *d)
{
	return &d->info;
}

struct storage_queue *storage_queue(struct storage *d, unsigned index)
{
	return index < d->info.queues ? &d->queues[index] : NULL;
}
