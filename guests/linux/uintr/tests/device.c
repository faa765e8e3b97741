// SPDX-License-Identifier: Apache-2.0
/*
 * device GROUP ADDRESS: an MSI of a device that vfio-pci owns becomes a user interrupt. The device is
 * the one of vmm/edu (1234:11e8), whose register 60H raises its interrupt.
 */
#include "check.h"

#include <linux/vfio.h>
#include <sys/eventfd.h>

static volatile unsigned long count[64];

static void HANDLER handler(frame_t *frame, vector_t vector)
{
	(void)frame;
	count[vector & 63]++;
}

/* The Linux interrupt that vfio requested for it, from /proc/interrupts. */
static int interrupt_of(const char *address)
{
	FILE *f = fopen("/proc/interrupts", "r");
	char line[4096];
	int irq = -1;

	REQUIRE(f);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "vfio-msi") && strstr(line, address))
			irq = atoi(line);
	fclose(f);
	return irq;
}

int main(int argc, char **argv)
{
	struct vfio_region_info region = { .argsz = sizeof(region), .index = VFIO_PCI_BAR0_REGION_INDEX };
	char set[sizeof(struct vfio_irq_set) + sizeof(int)];
	struct vfio_irq_set *irqs = (void *)set;
	int container, group, device, event = eventfd(0, EFD_NONBLOCK), fd, irq, none = -1, bad = 1;
	volatile uint32_t *edu;
	uint64_t kernels;
	char path[64];

	REQUIRE(argc == 3);
	sprintf(path, "/dev/vfio/%.20s", argv[1]);
	container = open("/dev/vfio/vfio", O_RDWR);
	group = open(path, O_RDWR);
	REQUIRE(container >= 0 && group >= 0);
	REQUIRE(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) && !ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, argv[2]);
	REQUIRE(device >= 0 && !ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region));
	edu = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, device, region.offset);
	REQUIRE(edu != MAP_FAILED && edu[0] == 0x010000ed);
	*irqs = (struct vfio_irq_set){
		.argsz = sizeof(set), .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, .index = VFIO_PCI_MSI_IRQ_INDEX, .count = 1,
	};
	memcpy(irqs->data, &event, sizeof(event));
	REQUIRE(!ioctl(device, VFIO_DEVICE_SET_IRQS, irqs));
	irq = interrupt_of(argv[2]);
	REQUIRE(irq >= 0);

	/* As it is: the kernel's, by an eventfd. */
	edu[0x60 / 4] = 1;
	usleep(10000);
	EXPECT(read(event, &kernels, 8), 8);
	EXPECT(kernels, 1);

	REQUIRE(!register_handler(handler, WAITING_RECEIVER));
	fd = vector_fd(40, 0);
	EXPECT(ioctl(fd, UVECFD_BIND_IRQ, &bad), -1);
	EXPECT(errno, EINVAL);
	EXPECT(ioctl(fd, UVECFD_BIND_IRQ, &irq), 0);
	EXPECT(ioctl(fd, UVECFD_BIND_IRQ, &irq), -1);
	EXPECT(errno, EBUSY);
	_stui();
	for (int i = 0; i < 200; i++) {
		edu[0x60 / 4] = 1;
		EXPECT(becomes(&count[40], i + 1), true);
	}
	EXPECT(read(event, &kernels, 8), -1); /* the kernel had no part in it */

	/* While the receiver blocks it is woken. */
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (!pid) {
			usleep(2000);
			edu[0x60 / 4] = 1;
			_exit(0);
		}
		EXPECT(uintr_wait(10000000, 0), -EINTR);
		EXPECT(becomes(&count[40], 201 + i), true);
		while (waitpid(pid, NULL, 0) < 0)
			;
	}
	EXPECT(ioctl(fd, UVECFD_BIND_IRQ, &none), 0);
	edu[0x60 / 4] = 1;
	usleep(10000);
	EXPECT(read(event, &kernels, 8), 8);
	EXPECT(count[40], 220);

	/* Bound as everything closes. */
	EXPECT(ioctl(fd, UVECFD_BIND_IRQ, &irq), 0);
	close(device);
	return verdict("device");
}
