// SPDX-License-Identifier: Apache-2.0
// Descriptor tables, and what happens to an event that no test waits for.
#include "system.h"

struct gate idt[256] __attribute__((aligned(4096)));
static struct gate first_idt[256] __attribute__((aligned(16)));
static uint64_t first_gdt[SPARE / 8 + 8];
struct cpu cpus[MAX_CPUS] __attribute__((aligned(4096)));
extern char try_recover[];
_Static_assert(__builtin_offsetof(struct cpu, tss) == CPU_TSS, "CPU_TSS");
_Static_assert(__builtin_offsetof(struct cpu, recover) == CPU_RECOVER, "CPU_RECOVER");

void gate(int vector, const void *entry, int dpl, int ist, int kind, uint16_t cs)
{
	uint64_t e = (uint64_t)entry;

	idt[vector].low = (e & 0xffff) | (uint64_t)cs << 16 | (uint64_t)ist << 32 |
			  (uint64_t)(0x80 | dpl << 5 | kind) << 40 | (e >> 16 & 0xffff) << 48;
	idt[vector].high = e >> 32;
}

void own_idt(uint16_t limit)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) idtr = { limit, (uint64_t)idt };
	__asm__ volatile("lidt %0" : : "m"(idtr));
}

void spare(int i, uint64_t descriptor) { gdt[SPARE / 8 + i] = descriptor; }

void traps_init(struct cpu *c)
{
	uint64_t base = (uint64_t)&c->tss;
	uint16_t selector = TSS(c->index);

	c->self = c;
	wrmsr(0xc0000101, (uint64_t)c); // GS base
	if (c->index == 0) {
		for (int v = 0; v < 256; v++)
			gate(v, trap_entries + 16 * v, v == BP || v == 0x80 ? 3 : 0, 0, IDT_INTERRUPT, KCS);
		copy(first_idt, idt, sizeof idt);
		copy(first_gdt, gdt, sizeof first_gdt);
	}
	own_idt(sizeof idt - 1);
	c->tss.io_bitmap = 0xffff;
	gdt[selector / 8] = (sizeof c->tss - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
	gdt[selector / 8 + 1] = base >> 32;
	__asm__ volatile("ltr %0" : : "r"(selector));
}

// reset_processor undoes what a test may have left on the processor that runs the tests.
void reset_processor(void)
{
	struct cpu *c = me();
	uint64_t efer = rdmsr(0xc0000080);

	cli();
	write_dr7(0x400);
	c->hook = 0;
	c->recover = 0;
	own_idt(sizeof idt - 1);
	copy(idt, first_idt, sizeof idt);
	copy(gdt, first_gdt, sizeof first_gdt);
	c->tss.io_bitmap = 0xffff;
	if (read_cr0() != 0x80010033)
		write_cr0(0x80010033);
	if (read_cr3() != (uint64_t)boot_pml4)
		write_cr3((uint64_t)boot_pml4);
	if (read_cr4() != 0x620)
		write_cr4(0x620);
	if (efer != 0xd01)
		wrmsr(0xc0000080, 0xd01);
	if (read_cr8())
		write_cr8(0);
	apic_reset();
}

static void eoi(struct cpu *c)
{
	if (c->x2apic)
		wrmsr(0x80b, 0);
	else
		mmio_write32(0xfee000b0, 0);
}

void trap(struct frame *f)
{
	struct cpu *c = me();
	uint8_t v = f->vector;
	uint64_t returned = f->vector == BP && f->cs & 3 && f->rip == (uint64_t)user_return + 1;

	c->seen[v]++;
	if (!returned && c->hook && c->hook(f))
		return;
	if (v == NMI)
		return;
	if (v >= 32 && v != 0x80) {
		if (v != VECTOR_SPURIOUS)
			eoi(c);
		return;
	}
	c->trap = *f;
	c->cr2 = v == PF ? read_cr2() : 0;
	if (!c->recover) {
		print("vector %u error %x rip %x cr2 %x: ", f->vector, f->error, f->rip, c->cr2);
		failed(__FILE__, __LINE__, "no such event", 0, 1, false);
	}
	f->rip = (uint64_t)try_recover;
	f->cs = KCS;
	f->ss = KDS;
	f->rsp = c->recover;
	f->rflags = 2;
	f->rax = !returned;
}

void read8(uint64_t la) { __asm__ volatile("movb (%0), %%al" : : "r"(la) : "rax", "memory"); }
void write8(uint64_t la) { __asm__ volatile("movb $0x5a, (%0)" : : "r"(la) : "memory"); }
void execute(uint64_t la) { __asm__ volatile("call *%0" : : "r"(la) : "memory", "rax"); }
void user_read8(uint64_t la) { __asm__ volatile("movb (%0), %%al" : : "r"(la) : "rax", "memory"); }
void user_write8(uint64_t la) { __asm__ volatile("movb $0x5a, (%0)" : : "r"(la) : "memory"); }
void user_execute(uint64_t la) { __asm__ volatile("call *%0" : : "r"(la) : "memory", "rax"); }
