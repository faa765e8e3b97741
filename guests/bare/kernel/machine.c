// SPDX-License-Identifier: Apache-2.0
// What machine this is.
#include "kernel.h"

struct cpu cpus[MAX_CPUS];
uint32_t way, posted, cpu_count;
uint64_t iommu_registers, doorbells;

static void cpuid(uint32_t leaf, uint32_t *r)
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}

// mask_pics silences what firmware left on: its timer.
static void mask_pics(void)
{
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
}

void machine_discover(void)
{
	uint32_t r[4];

	cpuid(GVMM_LEAF_SIGNATURE, r);
	cpu_count = 1;
	if (r[1] != GVMM_SIGNATURE_EBX || r[2] != GVMM_SIGNATURE_ECX || r[3] != GVMM_SIGNATURE_EDX) {
		mask_pics();
		return;
	}
	cpuid(GVMM_LEAF_UINTR, r);
	way = r[0] & GVMM_WAY_MASK;
	posted = !!(r[0] & GVMM_FLAG_POSTED);
	doorbells = MMIO(r[1]);
	cpu_count = r[2] < MAX_CPUS ? r[2] : MAX_CPUS;
	iommu_registers = MMIO(r[3]);
}
