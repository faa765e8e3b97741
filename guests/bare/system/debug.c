// SPDX-License-Identifier: Apache-2.0
// Breakpoints, single steps, and the shadow of MOV SS.
#include "system.h"

static struct { uint64_t rip, dr6, rflags; } steps[64];
static uint32_t count;
static bool log_debug(struct frame *f)
{
	if (f->vector != DB)
		return false;
	if (count < 64) {
		steps[count].rip = f->rip;
		steps[count].rflags = f->rflags;
		steps[count].dr6 = read_dr6();
	}
	count++;
	write_dr6(0xffff0ff0);
	return true;
}

static bool log_and_resume(struct frame *f)
{
	bool done = log_debug(f);
	if (done)
		f->rflags |= 0x10000;
	return done;
}

static void begin(bool (*h)(struct frame *))
{
	count = 0;
	write_dr6(0xffff0ff0);
	me()->hook = h;
}

#define STEP(body) __asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq\n" body "\npushfq; andl $~0x100, (%%rsp); popfq" : : : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "memory")

TEST(debug_single_step, 0)
{
	extern char s1[], s2[], s3[];

	begin(log_debug);
	STEP("s0: nop\ns1: mov $1, %%eax\ns2: nop\ns3:");
	// POPFQ that sets TF is not stepped itself; the PUSHFQ, ANDL, POPFQ at the end are.
	CHECK_EQ(count, 6);
	CHECK_EQ(steps[0].rip, s1);
	CHECK_EQ(steps[1].rip, s2);
	CHECK_EQ(steps[2].rip, s3);
	for (int i = 0; i < 6; i++) {
		CHECK_EQ(steps[i].dr6 & 0xe00f, 0x4000);
		CHECK_EQ(steps[i].rflags & 0x100, i < 5 ? 0x100 : 0); // the last is behind the POPFQ
	}
}

TEST(debug_single_step_shows_each_iteration, 0)
{
	extern char rep0[], rep1[];
	static uint8_t buffer[8];

	begin(log_debug);
	__asm__ volatile("mov $3, %%ecx; mov %0, %%rdi; pushfq; orl $0x100, (%%rsp); popfq\nrep0: rep stosb\nrep1: pushfq; andl $~0x100, (%%rsp); popfq"
			 : : "r"(buffer) : "rcx", "rdi", "memory");
	CHECK_EQ(count, 6);
	CHECK_EQ(steps[0].rip, rep0);
	CHECK_EQ(steps[1].rip, rep0);
	CHECK_EQ(steps[2].rip, rep1);
}

TEST(debug_single_step_leaves_out_what_MOV_SS_covers, 0)
{
	extern char m0[], m1[], m2[], m3[];

	begin(log_debug);
	STEP("mov $0x18, %%eax\nm0: mov %%eax, %%ss\nm1: nop\nm2: nop\nm3:");
	CHECK_EQ(steps[0].rip, m0);
	CHECK_EQ(steps[1].rip, m2);
	CHECK_EQ(steps[2].rip, m3);
	(void)m1;
}

static bool stepped_int(struct frame *f)
{
	if (f->vector == 0x51) {
		steps[60].rip = f->rip;
		steps[60].rflags = f->rflags;
		return true;
	}
	return log_debug(f);
}

TEST(debug_single_step_over_INT_is_seen_behind_it, 0)
{
	extern char i1[], i2[];

	begin(stepped_int);
	STEP("i0: int $0x51\ni1: nop\ni2:");
	CHECK_EQ(steps[60].rip, i1);
	CHECK_EQ(steps[60].rflags & 0x100, 0x100);
	// The handler runs without TF; IRETQ sets it, and the trap comes behind the next instruction.
	CHECK_EQ(steps[0].rip, i2);
}

USER static void user_steps(uint64_t a) { __asm__ volatile("nop; nop; nop" : : "D"(a)); }
extern char user_stack_top[];

TEST(debug_single_step_at_CPL_3, 0)
{
	begin(log_debug);
	CHECK(!user_at(user_steps, 0, UCS, 0x102, (uint64_t)user_stack_top - 8));
	CHECK(count >= 4); // 3 NOP, RET; INT3 goes to its handler
	CHECK_EQ(steps[0].rip, (uint64_t)user_steps + 1);
	CHECK_EQ(steps[1].rip, (uint64_t)user_steps + 2);
}

TEST(debug_breakpoint_on_an_instruction, 0)
{
	extern char x0[];
	int runs = 0;

	begin(log_and_resume);
	for (int r = 0; r < 4; r++) {
		switch (r) {
		case 0: write_dr0((uint64_t)x0); break;
		case 1: write_dr1((uint64_t)x0); break;
		case 2: write_dr2((uint64_t)x0); break;
		case 3: write_dr3((uint64_t)x0); break;
		}
		write_dr7(0x400 | 2ull << 2 * r);
		count = 0;
		void (*volatile f)(uint64_t) = (void (*)(uint64_t))x0;
		f(0);
		runs++;
		write_dr7(0x400);
		CHECK_EQ(count, 1); // RF: once
		CHECK_EQ(steps[0].rip, x0);
		CHECK_EQ(steps[0].dr6 & 0xe00f, 1 << r);
		CHECK_EQ(steps[0].rflags >> 16 & 1, 0); // alone among faults
	}
}
__asm__(".text\nx0: nop\nx1: ret\n");

static uint64_t watched[4] __attribute__((aligned(64)));

TEST(debug_breakpoint_on_data, 0)
{
	static const struct { uint64_t rw, len; int size; } kinds[] = { { 1, 0, 1 }, { 1, 1, 2 }, { 1, 3, 4 }, { 1, 2, 8 }, { 3, 0, 1 }, { 3, 2, 8 } };

	begin(log_debug);
	write_dr1((uint64_t)&watched[1]);
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		write_dr7(0x400 | 2 << 2 | (kinds[i].rw | kinds[i].len << 2) << 20);
		for (int at = -8; at < 16; at++) {
			uint64_t a = (uint64_t)&watched[1] + at;
			bool in = at >= 0 && at < kinds[i].size;
			count = 0;
			__asm__ volatile("movb $1, (%0); nop" : : "r"(a) : "memory");
			CHECK_EQ(count, in);
			if (in)
				CHECK_EQ(steps[0].dr6 & 0xe00f, 2);
			count = 0;
			__asm__ volatile("movb (%0), %%al; nop" : : "r"(a) : "rax", "memory");
			CHECK_EQ(count, in && kinds[i].rw == 3);
		}
		count = 0; // an access that only ends there
		__asm__ volatile("movl %%eax, -3(%0); nop" : : "r"(&watched[1]) : "memory");
		CHECK_EQ(count, 1);
	}
	write_dr7(0x400);
	count = 0;
	watched[1] = 1;
	__asm__ volatile("" : : : "memory");
	CHECK_EQ(count, 0);
}

TEST(debug_breakpoint_on_data_is_a_trap, 0)
{
	extern char d0[];

	begin(log_debug);
	write_dr0((uint64_t)watched);
	write_dr7(0x400 | 2 | 0xdull << 16); // 4 bytes, writes
	__asm__ volatile("movl $5, watched\nd0: nop" : : : "memory");
	CHECK_EQ(count, 1);
	CHECK_EQ(steps[0].rip, d0);
	CHECK_EQ(watched[0] & 0xff, 5);
	// The string that writes it stops behind the iteration.
	uint64_t n = 16, to = (uint64_t)watched - 8;
	count = 0;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(1) : "memory");
	CHECK(count >= 1);
	write_dr7(0x400);
}

TEST(debug_breakpoint_on_data_waits_for_what_MOV_SS_covers, 0)
{
	extern char v1[], v2[];

	begin(log_debug);
	static uint16_t selector = KDS;
	write_dr0((uint64_t)&selector);
	write_dr7(0x400 | 2 | 7ull << 16); // 2 bytes, reads and writes
	__asm__ volatile("mov %c0, %%ss\nv1: nop\nv2: nop" : : "i"(&selector) : "memory");
	write_dr7(0x400);
	CHECK_EQ(count, 1);
	CHECK_EQ(steps[0].rip, v2);
	CHECK_EQ(steps[0].dr6 & 15, 1);
	(void)v1;
}

TEST(debug_breakpoint_on_what_MOV_SS_covers_is_suppressed, 0)
{
	extern char c1[], c2[];

	begin(log_and_resume);
	write_dr0((uint64_t)c1);
	write_dr1((uint64_t)c2);
	write_dr7(0x400 | 2 | 2 << 2);
	__asm__ volatile("mov $0x18, %%eax; mov %%eax, %%ss\nc1: nop\nc2: nop" : : : "rax", "memory");
	write_dr7(0x400);
	CHECK_EQ(count, 1);
	CHECK_EQ(steps[0].rip, c2);
}

static void dr7_read(uint64_t a) { (void)a; (void)read_dr7(); }
static void dr7_write(uint64_t a) { write_dr7(a); }
static void dr4_read(uint64_t a) { (void)a; __asm__ volatile("mov %%db4, %%rax" : : : "rax"); }
static void dr6_write(uint64_t a) { write_dr6(a); }

TEST(debug_registers_guarded, 0)
{
	write_dr6(0xffff0ff0);
	write_dr7(0x400 | 1 << 13); // GD
	TRAPS(DB, 0, dr7_read, 0);
	CHECK_EQ(read_dr7() >> 13 & 1, 0); // delivery cleared it
	CHECK_EQ(read_dr6() >> 13 & 1, 1);
	write_dr6(0xffff0ff0);
	TRAPS(GP, 0, dr7_write, 1ull << 32);
	TRAPS(GP, 0, dr6_write, 1ull << 32);
	RUNS(dr4_read, 0); // DR6's alias
	write_cr4(read_cr4() | CR4_DE);
	TRAPS(UD, 0, dr4_read, 0);
	write_cr4(read_cr4() & ~CR4_DE);
	write_dr7(0);
	CHECK_EQ(read_dr7(), 0x400);
	write_dr6(0);
	CHECK_EQ(read_dr6() & 0xffff0ff0, 0xffff0ff0);
	write_dr6(0xffff0ff0);
}

TEST(debug_breakpoint_on_ports, PC)
{
	begin(log_debug);
	write_cr4(read_cr4() | CR4_DE);
	write_dr0(0x80);
	write_dr7(0x400 | 2 | 2ull << 16);
	outb(0x81, 0);
	CHECK_EQ(count, 0);
	outb(0x80, 0);
	CHECK_EQ(count, 1);
	inb(0x80);
	CHECK_EQ(count, 2);
	write_dr7(0x400);
	write_cr4(read_cr4() & ~CR4_DE);
}

static volatile uint64_t before_ipi;
static bool note_rip(struct frame *f) { before_ipi = f->rip; return false; }

TEST(debug_sti_and_mov_ss_hold_interrupts_for_one_instruction, 0)
{
	extern char h1[], h2[], h4[];

	me()->hook = note_rip;
	cli();
	apic_ipi(0, 0x44091); // to self
	__asm__ volatile("sti\nh1: nop\nh2: nop; cli" : : : "memory");
	CHECK_EQ(before_ipi, h2);
	(void)h1;
	before_ipi = 0;
	apic_ipi(0, 0x44091);
	__asm__ volatile("sti; cli" : : : "memory"); // nothing gets between
	CHECK_EQ(before_ipi, 0);
	__asm__ volatile("mov $0x18, %%eax; sti; mov %%eax, %%ss; nop\nh4: nop; cli" : : : "rax", "memory");
	CHECK(before_ipi != 0);
	(void)h4;
}

TEST(debug_popf_and_cr8_let_interrupts_in_at_once, 0)
{
	extern char p1[], p2[];

	me()->hook = note_rip;
	before_ipi = 0;
	apic_ipi(0, 0x44091);
	__asm__ volatile("pushfq; orl $0x200, (%%rsp); popfq\np1: nop; cli" : : : "memory");
	CHECK_EQ(before_ipi, p1);
	write_cr8(15);
	sti();
	apic_ipi(0, 0x44091);
	before_ipi = 0;
	__asm__ volatile("xor %%eax, %%eax; mov %%rax, %%cr8\np2: nop; cli" : : : "rax", "memory");
	CHECK_EQ(before_ipi, p2);
}
