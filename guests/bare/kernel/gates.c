// SPDX-License-Identifier: Apache-2.0
// The IDT, and each CPU's TSS and stacks.
#include "kernel.h"

static struct { uint64_t low, high; } idt[256] __attribute__((aligned(16)));
extern uint64_t gdt[];

void gate(int vector, const void *entry, int dpl, int ist, int type, uint16_t cs)
{
	uint64_t e = (uint64_t)entry;

	idt[vector].low = (e & 0xffff) | (uint64_t)cs << 16 | (uint64_t)ist << 32 |
			  (uint64_t)(0x80 | dpl << 5 | type) << 40 | (e >> 16 & 0xffff) << 48;
	idt[vector].high = e >> 32;
}

void kernel_gate(int vector)
{
	gate(vector, trap_entries + 16 * vector, vector == BP ? 3 : 0,
	     vector == DF || vector == SS || vector == GP || vector == PF ? 3 : 0, INTERRUPT_GATE, KCS);
}

static void gates_init(void)
{
	for (int v = 0; v < 256; v++) {
		// Only what this kernel can meet: 32 exceptions, its own interrupts, the program's calls.
		if (v >= 32 && (v < VECTOR_WAKE || v >= VECTOR_DEVICE + 16) && v != VECTOR_UINTR && v != VECTOR_SPURIOUS)
			continue;
		kernel_gate(v);
	}
}

void traps_init(struct cpu *c)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) idtr = { sizeof idt - 1, (uint64_t)idt };
	uint64_t base = (uint64_t)&c->tss;
	uint16_t selector = 0x40 + 16 * c->index;

	if (c->index == 0)
		gates_init();
	c->tss.rsp[0] = (uint64_t)c + CPU_STACK_TOP;
	c->tss.ist[0] = (uint64_t)c + UC_NOTIFY_TOP;
	c->tss.ist[1] = (uint64_t)c + UC_UD_TOP;
	c->tss.ist[2] = (uint64_t)c + CPU_FAULT_TOP;
	c->tss.io_bitmap = sizeof c->tss;
	gdt[selector / 8] = (sizeof c->tss - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	gdt[selector / 8 + 1] = base >> 32;
	__asm__ volatile("ltr %0; lidt %1" : : "r"(selector), "m"(idtr));
	mmio_write32(MMIO(0xfee000f0), 0x100 | VECTOR_SPURIOUS);
}
