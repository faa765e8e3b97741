// SPDX-License-Identifier: Apache-2.0
// A user program that drives a virtio disk (virtio 1.3 §2.7, §4.1, §5.2) through vfio-pci: rings and buffers are
// at IOVAs that it maps itself, and each completion comes through the kernel, by an eventfd. It is the control of
// completions that are posted to a user program.
//
//	vfioblk GROUP FUNCTION OUTPUT   the whole disk into a file
//	vfioblk GROUP FUNCTION stray    one request into memory that is not mapped: the disk must not answer
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 64 };
enum { VERSION_1 = 1 << (32 - 32), ACCESS_PLATFORM = 1 << (33 - 32) }; // in the features' upper half
enum { NEXT = 1, WRITE = 2 };
enum { SIZE = 64, DEPTH = 16, BLOCK = 4096, VECTORS = 2 };

// IOVA is where the program's memory is for the disk: above 4 GiB, where no RAM is.
static const uint64_t IOVA = 0x1200000000;

struct common {
	uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
	uint16_t msix_config, num_queues;
	uint8_t status, generation;
	uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
	uint32_t queue_desc[2], queue_driver[2], queue_device[2];
};

// Everything that the disk reaches.
static struct memory {
	struct { uint64_t address; uint32_t length; uint16_t flags, next; } table[SIZE] __attribute__((aligned(4096)));
	struct { uint16_t flags, idx, ring[SIZE], used_event; } avail __attribute__((aligned(4096)));
	struct { uint16_t flags, idx; struct { uint32_t id, length; } ring[SIZE]; uint16_t avail_event; } used __attribute__((aligned(4096)));
	struct { uint32_t type, reserved; uint64_t sector; } headers[DEPTH];
	volatile uint8_t statuses[DEPTH];
	uint8_t buffers[DEPTH][BLOCK] __attribute__((aligned(4096)));
} *shared;

static int device;
static uint8_t *bar;
static volatile struct common *common;
static volatile uint64_t *capacity;
static volatile uint16_t *doorbell;
static uint8_t *notify;
static uint32_t multiplier;
static uint64_t config; // offset of configuration space in device

static void fail(const char *what)
{
	fprintf(stderr, "vfioblk: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int check(int v, const char *what)
{
	if (v < 0)
		fail(what);
	return v;
}

static uint64_t iova(const volatile void *p)
{
	return IOVA + ((const volatile uint8_t *)p - (uint8_t *)shared);
}

static uint32_t config_read(unsigned at, unsigned n)
{
	uint32_t v = 0;
	check(pread(device, &v, n, config + at), "reading configuration space");
	return v;
}

// attach opens the group, its only member, and maps shared for it.
static void attach(const char *group, const char *function)
{
	char path[64];
	struct vfio_group_status status = { .argsz = sizeof status };
	int container = check(open("/dev/vfio/vfio", O_RDWR), "/dev/vfio/vfio");

	snprintf(path, sizeof path, "/dev/vfio/%s", group);
	int fd = check(open(path, O_RDWR), path);
	check(ioctl(fd, VFIO_GROUP_GET_STATUS, &status), "the group's status");
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE))
		fail("the group is not viable");
	check(ioctl(fd, VFIO_GROUP_SET_CONTAINER, &container), "the group's container");
	check(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU), "the container's IOMMU");
	size_t bytes = (sizeof *shared + 4095) & ~4095ul;
	shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		fail("mmap");
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof map, .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)shared, .iova = IOVA, .size = bytes,
	};
	check(ioctl(container, VFIO_IOMMU_MAP_DMA, &map), "mapping for DMA");
	device = check(ioctl(fd, VFIO_GROUP_GET_DEVICE_FD, function), function);
}

// find maps BAR 0 and finds the disk's structures in it.
static void find(void)
{
	struct vfio_region_info info = { .argsz = sizeof info, .index = VFIO_PCI_CONFIG_REGION_INDEX };
	check(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info), "configuration space");
	config = info.offset;
	uint16_t command = config_read(PCI_COMMAND, 2) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	check(pwrite(device, &command, 2, config + PCI_COMMAND), "the command register");
	info = (struct vfio_region_info){ .argsz = sizeof info, .index = VFIO_PCI_BAR0_REGION_INDEX };
	check(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info), "BAR 0");
	bar = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, info.offset);
	if (bar == MAP_FAILED)
		fail("mapping BAR 0");
	for (unsigned at = config_read(PCI_CAPABILITY_LIST, 1); at; at = config_read(at + 1, 1)) {
		if (config_read(at, 1) != PCI_CAP_ID_VNDR)
			continue;
		uint8_t *structure = bar + config_read(at + 8, 4);
		switch (config_read(at + 3, 1)) {
		case 1:
			common = (void *)structure;
			break;
		case 2:
			notify = structure;
			multiplier = config_read(at + 16, 4);
			break;
		case 4:
			capacity = (void *)structure;
			break;
		}
	}
	if (!common || !notify || !capacity)
		fail("no virtio disk");
}

// interrupt returns the eventfd of the queue's vector.
static int interrupt(void)
{
	union {
		struct vfio_irq_set set;
		uint8_t room[sizeof(struct vfio_irq_set) + VECTORS * sizeof(int)];
	} u = { .set = {
		.argsz = sizeof u.room, .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSIX_IRQ_INDEX, .count = VECTORS,
	} };
	int fds[VECTORS];

	for (int i = 0; i < VECTORS; i++)
		fds[i] = check(eventfd(0, 0), "eventfd");
	memcpy(u.set.data, fds, sizeof fds);
	check(ioctl(device, VFIO_DEVICE_SET_IRQS, &u.set), "MSI-X");
	return fds[1];
}

static void address(volatile uint32_t *at, const volatile void *p)
{
	at[0] = iova(p);
	at[1] = iova(p) >> 32;
}

static void start(void)
{
	common->status = 0;
	while (common->status)
		;
	common->status = ACKNOWLEDGE | DRIVER;
	common->driver_feature_select = 0;
	common->driver_feature = 0;
	common->driver_feature_select = 1;
	common->driver_feature = VERSION_1 | ACCESS_PLATFORM;
	common->status = ACKNOWLEDGE | DRIVER | FEATURES_OK;
	if (!(common->status & FEATURES_OK))
		fail("the disk refuses the features");
	common->queue_select = 0;
	common->queue_size = SIZE;
	common->queue_msix_vector = 1;
	if (common->queue_msix_vector != 1)
		fail("the disk refuses the vector");
	address(common->queue_desc, shared->table);
	address(common->queue_driver, &shared->avail);
	address(common->queue_device, &shared->used);
	doorbell = (uint16_t *)(notify + common->queue_notify_off * multiplier);
	common->queue_enable = 1;
	common->status = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
}

// submit reads a block into a slot's buffer, which is at an IOVA.
static void submit(int slot, uint64_t block, uint64_t buffer)
{
	int head = 3 * slot;

	shared->headers[slot].type = 0;
	shared->headers[slot].sector = block * (BLOCK / 512);
	shared->statuses[slot] = 0xff;
	shared->table[head].address = iova(&shared->headers[slot]);
	shared->table[head].length = 16;
	shared->table[head].flags = NEXT;
	shared->table[head].next = head + 1;
	shared->table[head + 1].address = buffer;
	shared->table[head + 1].length = BLOCK;
	shared->table[head + 1].flags = NEXT | WRITE;
	shared->table[head + 1].next = head + 2;
	shared->table[head + 2].address = iova(&shared->statuses[slot]);
	shared->table[head + 2].length = 1;
	shared->table[head + 2].flags = WRITE;
	shared->avail.ring[shared->avail.idx % SIZE] = head;
	__atomic_store_n(&shared->avail.idx, (uint16_t)(shared->avail.idx + 1), __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*doorbell = 0;
}

// read_all copies the disk to a file.
static void read_all(int event, const char *path)
{
	int out = check(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), path);
	uint64_t blocks = *capacity / (BLOCK / 512), next = 0, done = 0, wakes = 0, interrupts = 0, at[DEPTH];
	uint16_t last = 0;

	for (int slot = 0; slot < DEPTH && next < blocks; slot++) {
		at[slot] = next++;
		submit(slot, at[slot], iova(shared->buffers[slot]));
	}
	while (done < blocks) {
		uint64_t count;
		if (read(event, &count, sizeof count) != sizeof count)
			fail("eventfd");
		wakes++;
		interrupts += count;
		while (last != __atomic_load_n(&shared->used.idx, __ATOMIC_ACQUIRE)) {
			int slot = shared->used.ring[last++ % SIZE].id / 3;
			if (shared->statuses[slot] != 0)
				fail("a request failed");
			if (pwrite(out, shared->buffers[slot], BLOCK, at[slot] * BLOCK) != BLOCK)
				fail(path);
			done++;
			if (next < blocks) {
				at[slot] = next++;
				submit(slot, at[slot], iova(shared->buffers[slot]));
			}
		}
	}
	close(out);
	printf("vfio completions %lu interrupts %lu\n", done, interrupts);
	if (wakes > interrupts || interrupts > done)
		fail("more interrupts than completions");
}

// stray has the disk write beside what is mapped for it, once.
static void stray(int event)
{
	struct pollfd p = { .fd = event, .events = POLLIN };

	submit(0, 0, IOVA + (64ul << 20));
	for (int i = 0; i < 100 && !(common->status & NEEDS_RESET); i++)
		poll(&p, 1, 20);
	printf("vfio stray used %u status %s\n", shared->used.idx, common->status & NEEDS_RESET ? "needs reset" : "running");
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "vfioblk GROUP FUNCTION OUTPUT|stray\n");
		return 2;
	}
	attach(argv[1], argv[2]);
	find();
	int event = interrupt();
	start();
	if (strcmp(argv[3], "stray") == 0)
		stray(event);
	else
		read_all(event, argv[3]);
	common->status = 0;
	return 0;
}
