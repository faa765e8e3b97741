/* SPDX-License-Identifier: Apache-2.0 */
/* A function of a VFIO group: configuration space, BARs, DMA mappings, MSI-X vectors. */
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

static int open_group(struct storage *d, const char *group)
{
	struct vfio_group_status status = { .argsz = sizeof status };
	char path[64];

	if ((size_t)snprintf(path, sizeof path, "/dev/vfio/%s", group) >= sizeof path)
		return storage_fail(ENAMETOOLONG, "group %s", group);
	d->group = open(path, O_RDWR | O_CLOEXEC);
	if (d->group < 0)
		return storage_fail(errno, "%s", path);
	if (ioctl(d->group, VFIO_GROUP_GET_STATUS, &status) < 0)
		return storage_fail(errno, "%s: status", path);
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		return storage_fail(EBUSY, "%s: not viable, vfio-pci must have all of its devices", path);
	if (ioctl(d->group, VFIO_GROUP_SET_CONTAINER, &d->container) < 0)
		return storage_fail(errno, "%s: container", path);
	return 0;
}

int vfio_open(struct storage *d, const char *group, const char *function)
{
	struct vfio_region_info info = { .argsz = sizeof info, .index = VFIO_PCI_CONFIG_REGION_INDEX };
	int err;

	d->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (d->container < 0)
		return storage_fail(errno, "/dev/vfio/vfio");
	if (ioctl(d->container, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
		return storage_fail(EPROTO, "/dev/vfio/vfio: unknown version");
	err = open_group(d, group);
	if (err)
		return err;
	if (ioctl(d->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
		return storage_fail(errno, "the container's IOMMU");
	d->device = ioctl(d->group, VFIO_GROUP_GET_DEVICE_FD, function);
	if (d->device < 0)
		return storage_fail(errno, "function %s of group %s", function, group);
	if (ioctl(d->device, VFIO_DEVICE_GET_REGION_INFO, &info) < 0)
		return storage_fail(errno, "configuration space");
	d->config = info.offset;
	return vfio_enable(d, PCI_COMMAND_MEMORY);
}

int vfio_enable(struct storage *d, uint16_t what)
{
	uint32_t command;
	int err = vfio_config(d, PCI_COMMAND, 2, &command);

	if (err)
		return err;
	command |= what;
	if (pwrite(d->device, &command, 2, d->config + PCI_COMMAND) != 2)
		return storage_fail(errno, "the command register");
	return 0;
}

/* With the device's descriptor the kernel takes its interrupts back and keeps it from memory. */
void vfio_close(struct storage *d)
{
	while (d->mappings > 0) {
		d->mappings--;
		munmap(d->mapped[d->mappings].start, d->mapped[d->mappings].bytes);
	}
	if (d->device >= 0)
		close(d->device);
	if (d->group >= 0)
		close(d->group);
	if (d->container >= 0)
		close(d->container);
}

int vfio_config(struct storage *d, unsigned at, unsigned n, uint32_t *v)
{
	*v = 0;
	if (at + n > 256 || pread(d->device, v, n, d->config + at) != (ssize_t)n)
		return storage_fail(EIO, "configuration space at %#x", at);
	return 0;
}

/* Only the pages of the structure are mapped: not those of the MSI-X table. */
void *vfio_map_structure(struct storage *d, unsigned bar, uint64_t offset, uint64_t bytes)
{
	struct vfio_region_info info = { .argsz = sizeof info, .index = bar };

	if (bar > 5 || ioctl(d->device, VFIO_DEVICE_GET_REGION_INFO, &info) < 0 || !(info.flags & VFIO_REGION_INFO_FLAG_MMAP)) {
		storage_fail(ENXIO, "BAR %u cannot be mapped", bar);
		return NULL;
	}
	if (bytes == 0 || offset > info.size || bytes > info.size - offset || d->mappings == sizeof d->mapped / sizeof *d->mapped) {
		storage_fail(EPROTO, "a structure at %#llx of BAR %u", (unsigned long long)offset, bar);
		return NULL;
	}
	uint64_t first = offset & ~(uint64_t)(PAGE - 1), end = (offset + bytes + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	uint8_t *p = mmap(NULL, end - first, PROT_READ | PROT_WRITE, MAP_SHARED, d->device, info.offset + first);
	if (p == MAP_FAILED) {
		storage_fail(errno, "mapping BAR %u", bar);
		return NULL;
	}
	d->mapped[d->mappings].start = p;
	d->mapped[d->mappings++].bytes = end - first;
	return p + (offset - first);
}

int vfio_map(struct storage *d, void *memory, size_t bytes, uint64_t iova)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof map, .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)memory, .iova = iova, .size = bytes,
	};

	if (ioctl(d->container, VFIO_IOMMU_MAP_DMA, &map) < 0)
		return storage_fail(errno, "mapping %zu bytes for DMA", bytes);
	return 0;
}

int vfio_unmap(struct storage *d, size_t bytes, uint64_t iova)
{
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof unmap, .iova = iova, .size = bytes };

	if (ioctl(d->container, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0)
		return storage_fail(errno, "taking %zu bytes back from DMA", bytes);
	return 0;
}

/* Vector i signals eventfds[i]. */
int vfio_interrupts(struct storage *d, const int *eventfds, unsigned n)
{
	union {
		struct vfio_irq_set set;
		uint8_t room[sizeof(struct vfio_irq_set) + (STORAGE_MAX_QUEUES + 1) * sizeof(int)];
	} u;
	struct vfio_irq_info info = { .argsz = sizeof info, .index = VFIO_PCI_MSIX_IRQ_INDEX };

	if (ioctl(d->device, VFIO_DEVICE_GET_IRQ_INFO, &info) < 0 || info.count < n || n > STORAGE_MAX_QUEUES + 1)
		return storage_fail(ENOSPC, "the disk has %u MSI-X vectors, %u are needed", info.count, n);
	u.set = (struct vfio_irq_set){
		.argsz = sizeof u.set + n * sizeof(int), .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSIX_IRQ_INDEX, .count = n,
	};
	memcpy(u.room + offsetof(struct vfio_irq_set, data), eventfds, n * sizeof(int));
	if (ioctl(d->device, VFIO_DEVICE_SET_IRQS, &u.set) < 0)
		return storage_fail(errno, "%u MSI-X vectors", n);
	return 0;
}
