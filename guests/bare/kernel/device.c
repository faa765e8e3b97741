// SPDX-License-Identifier: Apache-2.0
// PCI functions of bus 0, their MSI-X vectors, and the interrupt-remapping table.
#include "kernel.h"

#define IRT_ENTRIES 256
#define MAX_DEVICES 8
#define MSIX_ENTRIES 32 /* of a device, in the table below */

#define GVMM_IOMMU_POOL_BASE 0xf10
#define GVMM_IOMMU_POOL_COUNT 0xf18
#define GVMM_IOMMU_CONTROL 0xf08
enum { GCMD = 0x18, GSTS = 0x1c, IRTA = 0xb8, SIRTP = 1 << 24, IRE = 1 << 25, QIE = 1 << 26 };
#define TE (1u << 31)

struct function {
	uint16_t requester, type;
	uint64_t msix_table; /* linear address, 0 without MSI-X */
	uint32_t msix_entries;
	uint8_t msix_capability;
	struct device device;
};

struct { uint64_t low, high; } irt[IRT_ENTRIES] __attribute__((aligned(GVMM_PAGE)));
static uint64_t pools[4] __attribute__((aligned(64)));
static struct function functions[MAX_DEVICES];
static uint32_t function_count, window_pages;
static struct { uint8_t used, vector; } bindings[16];
extern uint64_t window_pt[512];

static uint32_t config_read(uint16_t requester, uint32_t offset)
{
	outl(0xcf8, 1u << 31 | (uint32_t)requester << 8 | (offset & 0xfc));
	return inl(0xcfc);
}

static void config_write(uint16_t requester, uint32_t offset, uint32_t v)
{
	outl(0xcf8, 1u << 31 | (uint32_t)requester << 8 | (offset & 0xfc));
	outl(0xcfc, v);
}

static uint64_t bar(uint16_t requester, uint32_t index)
{
	uint32_t low = config_read(requester, 0x10 + 4 * index);
	uint64_t address = low & ~15u;

	if ((low & 6) == 4)
		address |= (uint64_t)config_read(requester, 0x14 + 4 * index) << 32;
	return address;
}

// map_user gives the program the page of a device structure and returns the structure's address there.
static uint64_t map_user(uint64_t physical)
{
	enum { PRESENT_WRITE_USER_UNCACHED = 0x17 };
	uint32_t page;

	for (page = 0; page < window_pages; page++)
		if ((window_pt[page] & ~0xfffull) == (physical & ~0xfffull))
			break;
	if (page == window_pages && page < 512)
		window_pt[window_pages++] = (physical & ~0xfffull) | PRESENT_WRITE_USER_UNCACHED;
	return USER_WINDOW + page * GVMM_PAGE + (physical & 0xfff);
}

static void virtio_capability(struct function *d, uint32_t at)
{
	uint32_t head = config_read(d->requester, at);
	uint64_t base = bar(d->requester, config_read(d->requester, at + 4) & 7);
	uint64_t physical = base + config_read(d->requester, at + 8);

	switch (head >> 24) {
	case 1:
		d->device.common = map_user(physical);
		break;
	case 2:
		d->device.notify = map_user(physical);
		d->device.notify_multiplier = config_read(d->requester, at + 16);
		break;
	case 4:
		d->device.specific = map_user(physical);
		break;
	}
}

static void msix_capability(struct function *d, uint32_t at)
{
	uint32_t table = config_read(d->requester, at + 4);

	d->msix_capability = at;
	d->msix_entries = (config_read(d->requester, at) >> 16 & 0x7ff) + 1;
	d->msix_table = MMIO(bar(d->requester, table & 7) + (table & ~7u));
}

static void probe(uint16_t requester)
{
	struct function *d = &functions[function_count];
	uint32_t id = config_read(requester, 0);

	if ((id & 0xffff) != 0x1af4 || id >> 16 < 0x1040 || function_count == MAX_DEVICES)
		return;
	d->requester = d->device.requester = requester;
	d->device.type = (id >> 16) - 0x1040;
	config_write(requester, 4, 6); /* memory space, bus master */
	uint32_t at = config_read(requester, 0x34) & 0xfc;
	for (int i = 0; at && i < 48; i++) {
		uint32_t head = config_read(requester, at);

		if ((head & 0xff) == 9)
			virtio_capability(d, at);
		else if ((head & 0xff) == 0x11)
			msix_capability(d, at);
		at = head >> 8 & 0xfc;
	}
	function_count++;
}

static void interrupt_remapping_init(void)
{
	uint32_t on = mmio_read32(iommu_registers + GSTS) & (TE | QIE); /* firmware's translation of DMA stays */

	mmio_write64(iommu_registers + IRTA, PHYSICAL(irt) | 7); /* 2^8 entries */
	mmio_write32(iommu_registers + GCMD, on | SIRTP);
	while (!(mmio_read32(iommu_registers + GSTS) & SIRTP))
		;
	mmio_write32(iommu_registers + GCMD, on | IRE);
	while (!(mmio_read32(iommu_registers + GSTS) & IRE))
		;
	if (!posted)
		return;
	pools[0] = PHYSICAL(upids);
	pools[1] = MAX_CPUS;
	mmio_write64(iommu_registers + GVMM_IOMMU_POOL_BASE, PHYSICAL(pools));
	mmio_write32(iommu_registers + GVMM_IOMMU_POOL_COUNT, 1);
	mmio_write32(iommu_registers + GVMM_IOMMU_CONTROL, 3); /* load the pools, accept user-posted entries */
}

void devices_init(void)
{
	if (!iommu_registers)
		return;
	interrupt_remapping_init();
	for (uint32_t slot = 0; slot < 32; slot++)
		probe(slot << 3);
}

int64_t device_open(uint64_t index, struct device *out)
{
	if (index >= function_count)
		return SYS_EINVAL;
	*out = functions[index].device;
	return 0;
}

// device_bind sends MSI-X entry `entry` of a device to the calling CPU's program as user vector `vector`.
int64_t device_bind(struct cpu *c, uint64_t index, uint64_t entry, uint64_t vector)
{
	enum { PRESENT = 1, UPM = 1 << 13, POSTED = 1 << 15, VERIFY_REQUESTER = 1 << 18 };

	if (index >= function_count || entry >= functions[index].msix_entries || entry >= MSIX_ENTRIES || vector >= 64)
		return SYS_EINVAL;
	struct function *d = &functions[index];
	uint64_t handle = index * MSIX_ENTRIES + entry;
	if (posted) {
		uint64_t pda = PHYSICAL(upids[c->index]);

		irt[handle].high = d->requester | VERIFY_REQUESTER | pda >> 32 << 32;
		irt[handle].low = PRESENT | UPM | POSTED | vector << 16 | (pda & 0xffffffc0) << 32;
	} else {
		uint32_t b = 0;

		while (b < 16 && bindings[b].used)
			b++;
		if (b == 16)
			return SYS_EINVAL;
		bindings[b].used = 1;
		bindings[b].vector = vector;
		irt[handle].high = d->requester | VERIFY_REQUESTER;
		irt[handle].low = PRESENT | (uint64_t)(VECTOR_DEVICE + b) << 16 | (uint64_t)c->index << 40;
	}
	uintptr_t slot = d->msix_table + 16 * entry;
	mmio_write32(slot, 0xfee00010 | handle << 5); /* remappable format */
	mmio_write32(slot + 4, 0);
	mmio_write32(slot + 8, 0);
	mmio_write32(slot + 12, 0);
	config_write(d->requester, d->msix_capability, 1u << 31);
	return !posted;
}

// device_interrupt is the control run's way: the kernel takes the vector and signals the program.
void device_interrupt(struct cpu *c, struct trap_frame *f, uint32_t vector)
{
	c->pending_user |= 1ull << bindings[vector - VECTOR_DEVICE].vector;
	signal_user(c, f);
}
