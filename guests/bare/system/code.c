// SPDX-License-Identifier: Apache-2.0
// Code that changes, in all the ways in which it may.
#include "system.h"

#define call(la) ((uint64_t (*)(void))(la))()

static uint8_t *writer(uint64_t la, uint32_t v)
{
	uint8_t *p = (uint8_t *)la;

	p[0] = 0xb8; // mov $v, %eax; ret
	p[1] = v, p[2] = v >> 8, p[3] = v >> 16, p[4] = v >> 24;
	p[5] = 0xc3;
	return p;
}

TEST(code_that_changes_before_a_call, 0)
{
	uint64_t la = page_alloc();

	for (uint32_t i = 1; i < 200; i++) {
		writer(la, i * 0x1010101);
		CHECK_EQ(call(la), i * 0x1010101);
	}
}

TEST(code_that_changes_its_own_block, 0)
{
	uint64_t got;

	// The store changes the operand of the instruction right behind it.
	for (uint64_t i = 1; i < 100; i++) {
		__asm__ volatile("movl %k1, 1f+1(%%rip)\n1: mov $0, %%eax" : "=&a"(got) : "r"(i) : "memory");
		CHECK_EQ(got, i);
	}
	// And many instructions further, past a jump.
	for (uint64_t i = 1; i < 100; i++) {
		__asm__ volatile("movl %k1, 1f+1(%%rip)\n.rept 40\nnop\n.endr\njmp 2f\n.fill 8,1,0xcc\n2: nop\n1: mov $0, %%eax" : "=&a"(got) : "r"(i) : "memory");
		CHECK_EQ(got, i);
	}
}

TEST(code_that_changes_in_a_loop, 0)
{
	uint64_t sum = 0, n = 1000;

	// Each pass raises the immediate that the next one adds.
	__asm__ volatile("movl $0, 1f+3(%%rip)\n2:\n1: add $0x7fffffff, %0\nincl 1b+3(%%rip)\ndec %1\njnz 2b" : "+r"(sum), "+r"(n) : : "memory");
	CHECK_EQ(sum, 999 * 1000 / 2);
}

TEST(code_that_a_string_writes, 0)
{
	static uint8_t forms[2][64];
	uint64_t la = page_alloc();

	fill(forms, 0x90, sizeof forms);
	writer((uint64_t)forms[0] + 50, 0x1111);
	writer((uint64_t)forms[1] + 50, 0x2222);
	for (int i = 0; i < 20; i++) {
		copy((void *)la, forms[i & 1], 64);
		CHECK_EQ(call(la), i & 1 ? 0x2222 : 0x1111);
	}
	// REP MOVSB over itself: the iterations still to come are done.
	__asm__ volatile("lea 1f(%%rip), %%rdi; lea 2f(%%rip), %%rsi; mov $8, %%ecx; cld; 1: rep movsb; .fill 6,1,0x90; jmp 3f; 2: rep movsb; .fill 6,1,0x90; 3:" : : : "rdi", "rsi", "rcx", "memory");
	static uint64_t nops;
	nops = 0;
	__asm__ volatile("lea 1f(%%rip), %%rdi; mov $0x90, %%eax; mov $16, %%ecx; rep stosb; jmp 1f; nop; 1: .fill 16,1,0xcc; incq %0" : "+m"(nops) : : "rax", "rdi", "rcx", "memory");
	CHECK_EQ(nops, 1);
}

TEST(code_that_changes_through_another_address, 0)
{
	uint64_t pa = page_alloc();

	map(T, pa, P | W);
	map(T + 0x5000, pa, P | W);
	for (uint32_t i = 0; i < 50; i++) {
		writer(T + 0x100, i);
		CHECK_EQ(call(T + 0x5100), i);
		writer(pa + 0x100, i + 1000);
		CHECK_EQ(call(T + 0x5100), i + 1000);
		CHECK_EQ(call(T + 0x100), i + 1000);
	}
}

TEST(code_over_two_pages_that_changes, 0)
{
	uint64_t a = page_alloc(), b = page_alloc();

	map(T, a, P | W);
	map(T + 0x1000, b, P | W);
	for (uint32_t off = 1; off < 6; off++)
		for (uint32_t i = 0; i < 10; i++) {
			uint8_t *p = writer(T + 0x1000 - off, i * 0x01030507);
			CHECK_EQ(call(p), i * 0x01030507);
			if (off < 5) { // its last byte of the immediate, by way of the second page alone
				*(volatile uint8_t *)(b + 4 - off) = 0x7e;
				CHECK_EQ(call(p), ((i * 0x01030507) & 0xffffff) | 0x7e000000);
			}
			*(volatile uint8_t *)(a + 0x1000 - off) = 0xba; // the first alone: mov to EDX
			uint64_t dx;
			__asm__ volatile("call *%1" : "=d"(dx) : "r"(p) : "rax", "memory");
			CHECK_EQ(dx, *(uint32_t *)(p + 1));
		}
}

TEST(code_whose_page_is_exchanged, 0)
{
	uint64_t a = page_alloc(), b = page_alloc();

	writer(a, 1), writer(b, 2);
	for (int i = 0; i < 20; i++) {
		map(T, i & 1 ? b : a, P | W);
		CHECK_EQ(call(T), i & 1 ? 2 : 1);
	}
	for (int i = 0; i < 20; i++) { // by CR3
		*entry_of(T, 1) = (i & 1 ? b : a) | P | W;
		write_cr3(read_cr3());
		CHECK_EQ(call(T), i & 1 ? 2 : 1);
	}
}

TEST(code_in_a_page_with_its_own_data, 0)
{
	uint64_t la = page_alloc();
	// incl 0x800(%rip); mov that, %eax; ret: data and code share a page, and nothing of the code changes.
	static const uint8_t text[] = { 0xff, 0x05, 0xfa, 0x07, 0, 0, 0x8b, 0x05, 0xf4, 0x07, 0, 0, 0xc3 };

	copy((void *)la, text, sizeof text);
	for (uint32_t i = 1; i < 3000; i++)
		CHECK_EQ(call(la), i);
}

TEST(code_locked_and_wide_stores_change, 0)
{
	uint64_t la = page_alloc(), v;

	writer(la, 0);
	CHECK_EQ(call(la), 0);
	__asm__ volatile("lock addl $5, 1(%0)" : : "r"(la) : "memory");
	CHECK_EQ(call(la), 5);
	v = 77;
	__asm__ volatile("xchgl %k0, 1(%1)" : "+r"(v) : "r"(la) : "memory");
	CHECK_EQ(call(la), 77);
	__asm__ volatile("movups (%0), %%xmm0; movups %%xmm0, 16(%0)" : : "r"(la) : "memory");
	CHECK_EQ(call(la + 16), 77);
	writer(la, 78);
	__asm__ volatile("movups (%0), %%xmm0; movups %%xmm0, 16(%0)" : : "r"(la) : "memory");
	CHECK_EQ(call(la + 16), 78);
	__asm__ volatile("mov %%rsp, %%rbx; lea 8(%0), %%rsp; push %1; mov %%rbx, %%rsp" : : "r"(la), "r"(0xc300000055b8ull) : "rbx", "memory");
	CHECK_EQ(call(la), 0x55);
	writer(la, 3);
	CHECK_EQ(call(la), 3);
}

USERDATA static uint8_t user_code[64] __attribute__((aligned(64)));
USER static void run_user_code(uint64_t a) { ((void (*)(uint64_t))user_code)(a); }

TEST(code_of_the_user_that_the_kernel_changes, 0)
{
	for (uint32_t i = 0; i < 20; i++) {
		writer((uint64_t)user_code, i);
		user_code[5] = 0xcd, user_code[6] = 0x80; // INT 80H shows EAX
		CHECK(user((void *)run_user_code, 0));
		CHECK_EQ(me()->trap.vector, 0x80);
		CHECK_EQ(me()->trap.rax, i);
	}
}

static volatile uint64_t shared_la, order, seen_value;

static void runs_code(uint64_t rounds)
{
	for (uint64_t i = 1; i <= rounds; i++) {
		while (order != 2 * i)
			pause();
		__asm__ volatile("cpuid" : : "a"(0), "c"(0) : "rbx", "rdx", "memory"); // serialize
		seen_value = call(shared_la);
		order = 2 * i + 1;
	}
}

TEST(code_that_another_CPU_changes, SMP)
{
	shared_la = page_alloc();
	for (uint32_t cpu = 1; cpu < cpu_count; cpu++) {
		order = 0;
		on_cpu(cpu, runs_code, 50);
		for (uint32_t i = 1; i <= 50; i++) {
			writer(shared_la, i + cpu * 1000);
			order = 2 * i;
			WAIT_FOR(order == 2 * i + 1);
			CHECK_EQ(seen_value, i + cpu * 1000);
		}
		finish(cpu);
	}
}

static void run_interrupted(uint64_t stop)
{
	sti();
	while (!*(volatile uint64_t *)stop)
		seen_value = call(shared_la);
	cli();
}

// A processor that runs old code runs the new once it took an interrupt: IRET serializes.
TEST(code_that_another_CPU_changes_while_it_runs, SMP)
{
	static volatile uint64_t stop;

	shared_la = page_alloc();
	writer(shared_la, 0);
	stop = 0;
	on_cpu(1, run_interrupted, (uint64_t)&stop);
	for (uint32_t i = 1; i <= 100; i++) {
		*(volatile uint32_t *)(shared_la + 1) = i;
		uint64_t n = cpus[1].seen[0xf1];
		apic_ipi(1, 0x40f1);
		WAIT_FOR(cpus[1].seen[0xf1] != n);
		WAIT_FOR(seen_value == i);
	}
	stop = 1;
	finish(1);
}

// INT3 first, then the tail, then the first byte: how kernels patch code that runs.
static bool over_int3(struct frame *f)
{
	if (f->vector != BP)
		return false;
	f->rip = f->rip + 4; // behind the instruction
	return true;
}

static void run_patched(uint64_t stop)
{
	me()->hook = over_int3;
	sti();
	while (!*(volatile uint64_t *)stop) {
		uint64_t v;
		__asm__ volatile("xor %%eax, %%eax; call *%1" : "=&a"(v) : "r"(shared_la) : "memory");
		uint32_t b = v & 0xff;
		CHECK(v == 0 || v == b * 0x01010101u);
		seen_value++;
	}
	cli();
	me()->hook = 0;
}

TEST(code_patched_with_a_breakpoint_while_others_run_it, SMP)
{
	static volatile uint64_t stop;

	shared_la = page_alloc();
	writer(shared_la, 0x01010101);
	stop = 0, seen_value = 0;
	for (uint32_t c = 1; c < cpu_count; c++)
		on_cpu(c, run_patched, (uint64_t)&stop);
	for (uint32_t i = 2; i <= 12; i++) {
		volatile uint8_t *p = (uint8_t *)shared_la;
		p[0] = 0xcc;
		for (uint32_t c = 1; c < cpu_count; c++) {
			uint64_t n = cpus[c].seen[0xf1];
			apic_ipi(c, 0x40f1);
			WAIT_FOR(cpus[c].seen[0xf1] != n);
		}
		for (int k = 1; k < 5; k++)
			p[k] = i;
		for (uint32_t c = 1; c < cpu_count; c++) {
			uint64_t n = cpus[c].seen[0xf1];
			apic_ipi(c, 0x40f1);
			WAIT_FOR(cpus[c].seen[0xf1] != n);
		}
		p[0] = 0xb8;
	}
	WAIT_FOR(seen_value > 100);
	stop = 1;
	for (uint32_t c = 1; c < cpu_count; c++)
		finish(c);
}
