// SPDX-License-Identifier: Apache-2.0
// Descriptor tables, traps, and running the tests.
#include "legacy.h"

extern const struct test tests_begin[], tests_end[];
extern char try_recover[];
extern uint32_t recover;
void reload_idt(void);
uint64_t idt[256] __attribute__((aligned(16)));
static uint64_t first_idt[256], first_gdt[16];
struct tss tss, tss2, tss3;
struct frame last;
uint32_t last_cr2;
bool (*hook)(struct frame *);
static uint32_t check[6], next_page, failures;
static const char *running;
static bool failed_here;

static void put(const char *s) { while (*s) outb(GVMM_PORT_COM1, *s++); }

static void number(uint32_t v)
{
	char digits[11] = "0x00000000";
	for (int i = 0; i < 8; i++)
		digits[2 + i] = "0123456789abcdef"[v >> (28 - 4 * i) & 15];
	put(digits);
}

static void decimal(uint32_t v)
{
	if (v >= 10)
		decimal(v / 10);
	outb(GVMM_PORT_COM1, '0' + v % 10);
}

void failed(const char *file, int line, const char *what, uint32_t got, uint32_t want)
{
	put("FAILED "), put(running), put(": "), put(file), put(":"), decimal(line), put(": "), put(what), put(": "), number(got), put(", want "), number(want);
	put(" (last trap: "), number(last.vector), put(" error "), number(last.error), put(" eip "), number(last.eip), put(" cr2 "), number(last_cr2), put(")\n");
	failed_here = true;
	jump(check);
}

void gate(int vector, const void *entry, int dpl, int kind, uint16_t cs)
{
	uint32_t e = (uint32_t)entry;
	idt[vector] = (e & 0xffff) | (uint64_t)cs << 16 | (uint64_t)(0x80 | dpl << 5 | kind) << 40 | (uint64_t)(e >> 16) << 48;
}

// segment makes a descriptor; flags are G, D/B, L and AVL from bit 3 down.
uint64_t segment(uint32_t base, uint32_t limit, uint32_t access, uint32_t flags)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
	       (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

void spare(int i, uint64_t descriptor) { gdt[SPARE / 8 + i] = descriptor; }

uint32_t page_alloc(void)
{
	uint32_t p = next_page;
	next_page += 4096;
	fill((void *)p, 0, 4096);
	return p;
}

void trap(struct frame *f)
{
	bool outer = f->cs & 3 || f->eflags & 1 << 17;
	uint32_t returned = f->vector == 0x80 && outer && (f->eflags & 1 << 17 || f->eip == (uint32_t)user_return + 2);

	if (!returned && hook && hook(f))
		return;
	copy(&last, f, outer ? sizeof *f : sizeof *f - 24);
	last_cr2 = f->vector == PF ? read_cr2() : 0;
	if (!recover)
		failed(__FILE__, __LINE__, "no such event", f->vector, 0);
	// Onto the stack that recover is on: a return within CPL 0.
	uint32_t *to = (uint32_t *)recover;
	__asm__ volatile("mov %0, %%esp; mov %1, %%eax; jmp *%2" : : "r"(to), "r"((uint32_t)!returned), "r"(try_recover) : "memory", "eax");
	__builtin_unreachable();
}

static void reset(void)
{
	if (read_cr0() != 0x11)
		write_cr0(0x11);
	if (read_cr4() != 0)
		write_cr4(0);
	wrmsr(0xc0000080, 0);
	write_dr7(0x400);
	hook = 0;
	recover = 0;
	last.vector = 0;
	next_page = 16 << 20;
	copy(idt, first_idt, sizeof idt);
	copy(gdt, first_gdt, sizeof first_gdt);
	fill(&tss, 0, sizeof tss);
	tss.ss0 = KDS;
	tss.io_bitmap = sizeof tss;
	fill(&tss2, 0, sizeof tss2);
	fill(&tss3, 0, sizeof tss3);
	gdt[TSS / 8] = segment((uint32_t)&tss, sizeof tss - 1, 0x89, 0);
	gdt[TSS2 / 8] = segment((uint32_t)&tss2, sizeof tss2 - 1, 0x89, 0);
	gdt[TSS3 / 8] = segment((uint32_t)&tss3, sizeof tss3 - 1, 0x89, 0);
	__asm__ volatile("ltr %w0; lldt %w1; pushl $2; popf" : : "r"(TSS), "r"(0) : "memory", "cc");
	copy((void *)LOW, low_begin, low_end - low_begin);
}

void legacy_main(uint32_t magic, uint32_t info)
{
	for (int v = 0; v < 256; v++)
		gate(v, trap_entries + 16 * v, v == BP || v == OF || v == 0x80 || v == 0x81 ? 3 : 0, 14, KCS);
	copy(first_idt, idt, sizeof idt);
	copy(first_gdt, gdt, sizeof first_gdt);
	reload_idt();
	running = "multiboot_entry_state";
	if (!mark(check)) {
		CHECK_EQ(magic, 0x2badb002);
		CHECK_EQ(*(uint32_t *)info & 0x41, 0x41); // memory and a map
		CHECK_EQ(*(uint32_t *)(info + 4), 640);
		CHECK_EQ(*(uint32_t *)(info + 8), (64 << 10) - 1024);
		put("ok multiboot_entry_state\n");
	} else {
		failures++;
	}
	for (const struct test *t = tests_begin; t < tests_end; t++) {
		running = t->name;
		failed_here = false;
		if (!mark(check)) {
			reset();
			t->run();
		}
		if (failed_here)
			failures++;
		else
			put("ok "), put(t->name), put("\n");
	}
	decimal(failures);
	put(" failed\n");
	outb(GVMM_PORT_EXIT, failures != 0);
	for (;;)
		__asm__ volatile("cli; hlt");
}
