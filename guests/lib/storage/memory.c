/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that the disk reaches, and where it sees it. */
#include <errno.h>
#include <sys/mman.h>

#include "internal.h"

/* IOVAs are above 4 GiB, where no interrupt range is, and of 38 bits, which any unit translates. */
static const uint64_t first_iova = 0x1200000000, end_iova = 1ull << 38;

static struct region *free_region(struct storage *d)
{
	for (unsigned i = 0; i < STORAGE_MAX_REGIONS; i++)
		if (!d->regions[i].bytes)
			return &d->regions[i];
	return NULL;
}

/* The lowest IOVA that is free with a page behind it. 0: none. */
static uint64_t free_iova(const struct storage *d, size_t bytes)
{
	uint64_t iova = first_iova;

	if (bytes > end_iova - first_iova)
		return 0;
	for (unsigned i = 0; i < STORAGE_MAX_REGIONS; i++) {
		const struct region *r = &d->regions[i];
		if (!r->bytes || iova + bytes + PAGE <= r->iova || r->iova + r->bytes + PAGE <= iova)
			continue;
		iova = r->iova + r->bytes + PAGE;
		if (iova + bytes > end_iova)
			return 0;
		i = -1; /* those before it may be in the way now */
	}
	return iova;
}

int storage_register(struct storage *d, void *memory, size_t bytes)
{
	uint8_t *start = memory;

	if (!bytes || ((uintptr_t)memory | bytes) % PAGE)
		return storage_fail(EINVAL, "memory for DMA is whole pages");
	for (unsigned i = 0; i < STORAGE_MAX_REGIONS; i++) {
		struct region *r = &d->regions[i];
		if (r->bytes && start < r->start + r->bytes && r->start < start + bytes)
			return storage_fail(EEXIST, "memory for DMA, some of which is registered");
	}
	struct region *r = free_region(d);
	uint64_t iova = free_iova(d, bytes);
	if (!r || !iova)
		return storage_fail(ENOSPC, "memory for DMA");
	int err = vfio_map(d, memory, bytes, iova);
	if (err)
		return err;
	*r = (struct region){ start, bytes, iova };
	return 0;
}

int storage_unregister(struct storage *d, void *memory)
{
	for (unsigned i = 0; i < STORAGE_MAX_REGIONS; i++) {
		struct region *r = &d->regions[i];
		if (!r->bytes || r->start != memory)
			continue;
		for (unsigned q = 0; q < d->started; q++)
			if (d->queues[q].under_way)
				return storage_fail(EBUSY, "requests are under way");
		int err = vfio_unmap(d, r->bytes, r->iova);
		if (!err)
			*r = (struct region){ 0 };
		return err;
	}
	return storage_fail(ENOENT, "memory that is not registered");
}

uint64_t memory_iova(const struct storage *d, const void *p, size_t bytes)
{
	for (unsigned i = 0; i < STORAGE_MAX_REGIONS; i++) {
		const struct region *r = &d->regions[i];
		size_t at = (const uint8_t *)p - r->start;
		if ((const uint8_t *)p >= r->start && at < r->bytes && bytes <= r->bytes - at)
			return r->iova + at;
	}
	return 0;
}

void *memory_new(struct storage *d, size_t bytes, uint64_t *iova)
{
	bytes = (bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		storage_fail(errno, "%zu bytes of memory", bytes);
		return NULL;
	}
	if (storage_register(d, p, bytes)) {
		munmap(p, bytes);
		return NULL;
	}
	*iova = memory_iova(d, p, bytes);
	return p;
}

int memory_open(struct storage *d, size_t bytes)
{
	uint64_t iova;

	d->pool = memory_new(d, bytes, &iova);
	if (!d->pool)
		return -ENOMEM;
	d->pool_bytes = bytes;
	return 0;
}

/* After the disk was reset. What the kernel still has mapped goes with the container. */
void memory_close(struct storage *d)
{
	if (d->pool)
		munmap(d->pool, (d->pool_bytes + PAGE - 1) & ~(size_t)(PAGE - 1));
}

void *storage_alloc(struct storage *d, size_t bytes, size_t alignment)
{
	if (!alignment || alignment & (alignment - 1) || alignment > d->pool_bytes) {
		storage_fail(EINVAL, "alignment %zu", alignment);
		return NULL;
	}
	size_t at = (d->pool_used + alignment - 1) & ~(alignment - 1);
	if (at > d->pool_bytes || bytes > d->pool_bytes - at || alignment > PAGE) {
		storage_fail(ENOMEM, "%zu bytes, %zu of %zu are used", bytes, d->pool_used, d->pool_bytes);
		return NULL;
	}
	d->pool_used = at + bytes;
	return d->pool + at;
}
