// SPDX-License-Identifier: Apache-2.0
#include "kernel.h"

static struct { uint64_t low, high; } idt[256] __attribute__((aligned(16)));
extern uint64_t gdt[];
#ifdef PRIVILEGED
uint64_t interrupts_taken; /* by this kernel, not by the microcode */
#endif

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

static void unexpected(struct trap_frame *f, uint64_t vector)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t values[3] = { vector, f->rip, f->error };

	kernel_print("kernel: unexpected trap, vector RIP error:");
	for (int i = 0; i < 3; i++) {
		outb(GVMM_PORT_COM1, ' ');
		for (int shift = 60; shift >= 0; shift -= 4)
			outb(GVMM_PORT_COM1, digits[values[i] >> shift & 15]);
	}
	kernel_print("\n");
	kernel_exit(127);
}

// trap serves one trap and returns the frame to leave by.
struct trap_frame *trap(struct trap_frame *f, uint64_t vector)
{
	struct cpu *c = this_cpu();
	uint64_t cr2 = 0;

	if (vector == BP && f->rip != (uint64_t)uintr_reflected) {
		syscall(c, f);
		return f;
	}
	if (vector & RAISED) {
		vector &= ~(uint64_t)RAISED;
		cr2 = c->block.fault_addr;
	} else if (vector >= 32) {
		if (vector == VECTOR_SPURIOUS)
			return f;
		if (vector >= VECTOR_DEVICE && vector < VECTOR_DEVICE + 16)
			device_interrupt(c, f, vector);
#ifdef PRIVILEGED
		interrupts_taken++;
#endif
		mmio_write32(MMIO(0xfee000b0), 0);
		return f;
	} else {
		if (vector == PF)
			__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
		if (vector == GP && (f->rip == (uint64_t)msr_read || f->rip == (uint64_t)msr_write)) {
			f->rip = (uint64_t)msr_refused;
			return f;
		}
		if (unwind_microcode(c, f, &vector, &cr2))
			return f;
	}
	if ((f->cs & 3) == 0)
		unexpected(f, vector);
	fault_user(c, f, vector, cr2);
	return f;
}
