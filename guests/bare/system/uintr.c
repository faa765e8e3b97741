// SPDX-License-Identifier: Apache-2.0
// User interrupts from the processor's side, by real instructions of a kernel and its program.
#include "system.h"

#define UINV 0xe5
enum { RR = 0x985, HANDLER, ADJUST, MISC, PD, TT };

extern char user_stack_top[], user_handler[];
USERDATA volatile uint64_t user_count, user_vectors[64], user_frame[4], user_nest;

// The handler notes the vector and the frame; user_nest has it allow nesting.
__asm__(
	".section .user.text,\"ax\"\n"
	"user_handler:\n"
	"	push %rax\n	push %rbx\n"
	"	mov 16(%rsp), %rax\n	mov user_count, %rbx\n	and $63, %ebx\n	mov %rax, user_vectors(,%rbx,8)\n	mov %rax, user_frame\n"
	"	mov 24(%rsp), %rax\n	mov %rax, user_frame+8\n	mov 32(%rsp), %rax\n	mov %rax, user_frame+16\n	mov 40(%rsp), %rax\n	mov %rax, user_frame+24\n"
	"	lock incq user_count\n"
	"	pop %rbx\n	pop %rax\n	add $8, %rsp\n	uiret\n"
	".text\n");

static uint64_t *upid, *uitt;
#define USER_SP ((uint64_t)user_stack_top - 8)

// arm makes a UPID and a UITT with one entry that names it as vector 5, and sets the MSRs.
static void arm(void)
{
	upid = (uint64_t *)page_alloc();
	uitt = (uint64_t *)page_alloc();
	uint64_t ndst = me()->x2apic ? me()->index : me()->index << 8;
	upid[0] = (uint64_t)UINV << 16 | ndst << 32;
	upid[1] = 0;
	uitt[0] = 5 << 8 | 1;
	uitt[1] = (uint64_t)upid;
	write_cr4(read_cr4() | CR4_UINTR);
	wrmsr(HANDLER, (uint64_t)user_handler);
	wrmsr(ADJUST, 128);
	wrmsr(MISC, (uint64_t)UINV << 32);
	wrmsr(PD, (uint64_t)upid);
	wrmsr(TT, (uint64_t)uitt | 1);
	wrmsr(RR, 0);
	user_count = 0;
	me()->seen[UINV] = 0;
}

static void disarm(void)
{
	wrmsr(MISC, 0);
	wrmsr(TT, 0);
	wrmsr(RR, 0);
	write_cr4(read_cr4() & ~CR4_UINTR);
}

#define SENDUIPI(r) __asm__ volatile("senduipi %0" : : "r"((uint64_t)(r)) : "memory")
USER static void send_and_see(uint64_t n)
{
	__asm__ volatile("stui");
	for (uint64_t i = 0; i < n; i++) {
		uint64_t was = user_count;
		SENDUIPI(0);
		for (uint64_t j = 0; user_count == was && j < 100000000; j++)
			__asm__ volatile("pause");
	}
	__asm__ volatile("clui");
}
static void senduipi(uint64_t n) { SENDUIPI(n); }
USER static void user_senduipi(uint64_t n) { SENDUIPI(n); }
USER static void wait_count(uint64_t n)
{
	__asm__ volatile("stui");
	for (uint64_t j = 0; user_count < n && j < 400000000; j++)
		__asm__ volatile("pause");
	__asm__ volatile("clui");
}
USER static void only_stui(uint64_t n) { (void)n; __asm__ volatile("stui; nop; clui"); }

TEST(uintr_senduipi_to_self, USERINT)
{
	for (int x2 = 0; x2 < 2; x2++) {
		if (x2)
			apic_x2(true);
		arm();
		CHECK(!user_at(send_and_see, 100, UCS, 0x202, USER_SP));
		CHECK_EQ(user_count, 100);
		CHECK_EQ(user_vectors[0], 5);
		CHECK_EQ(me()->seen[UINV], 0);
		CHECK_EQ(upid[0] & 3, 0);
		CHECK_EQ(upid[1], 0);
		CHECK_EQ(apic_read(0x100 + 0x10 * (UINV / 32)), 0); // EOI was given
		disarm();
	}
	apic_x2(false);
}

static volatile uint64_t parked;
static void receive(uint64_t n)
{
	if (n >> 32)
		apic_x2(true);
	arm();
	parked = (uint64_t)upid;
	CHECK(!user_at(wait_count, n & 0xffffffff, UCS, 0x202, USER_SP));
	disarm();
	if (n >> 32)
		apic_x2(false);
}

TEST(uintr_senduipi_between_CPUs_in_both_APIC_modes, USERINT | SMP)
{
	for (int x2 = 0; x2 < 2; x2++)
		for (uint32_t c = 1; c < cpu_count; c++) {
			parked = 0;
			on_cpu(c, receive, 50 | (uint64_t)x2 << 32);
			WAIT_FOR(parked);
			if (x2)
				apic_x2(true);
			uint64_t *table = (uint64_t *)page_alloc();
			uint64_t *theirs = (uint64_t *)parked;
			table[0] = 9 << 8 | 1, table[1] = parked;
			write_cr4(read_cr4() | CR4_UINTR);
			wrmsr(MISC, 0);
			wrmsr(TT, (uint64_t)table | 1);
			for (uint64_t i = 1; i <= 50; i++) {
				senduipi(0);
				WAIT_FOR(user_count >= i);
			}
			CHECK_EQ(theirs[0] & 1, 0);
			CHECK_EQ(user_vectors[3], 9);
			if (x2)
				apic_x2(false);
			finish(c);
			CHECK_EQ(cpus[c].seen[UINV], 0);
			disarm();
		}
}

static void uiret(uint64_t a) { (void)a; __asm__ volatile("uiret"); }
static void testui(uint64_t a) { (void)a; __asm__ volatile("testui"); }
static void clui(uint64_t a) { (void)a; __asm__ volatile("clui"); }
static void stui(uint64_t a) { (void)a; __asm__ volatile("stui"); }
USER static void user_testui(uint64_t a) { (void)a; __asm__ volatile("testui"); }

TEST(uintr_instructions_need_CR4, USERINT)
{
	arm();
	disarm();
	static void (*const all[])(uint64_t) = { senduipi, uiret, testui, clui, stui };
	for (int i = 0; i < 5; i++)
		TRAPS(UD, 0, all[i], 0);
	USER_TRAPS(UD, 0, user_testui, 0);
	write_cr4(read_cr4() | CR4_UINTR);
	RUNS(stui, 0);
	uint64_t f;
	__asm__ volatile("testui; pushfq; popq %0" : "=r"(f) : : "cc");
	CHECK_EQ(f & 0x8d5, 1);
	RUNS(clui, 0);
	__asm__ volatile("stc; testui; pushfq; popq %0" : "=r"(f) : : "cc");
	CHECK_EQ(f & 0x8d5, 0);
	wrmsr(TT, (uint64_t)uitt); // not enabled
	TRAPS(UD, 0, senduipi, 0);
	disarm();
}

static void wrmsr_pair(uint64_t p) { uint64_t *a = (uint64_t *)p; wrmsr(a[0], a[1]); }

TEST(uintr_MSRs_judge_what_they_are_given, USERINT)
{
	static const uint64_t wrong[][2] = {
		{ HANDLER, 1ull << 60 }, { ADJUST, 1ull << 60 }, { MISC, 1ull << 40 }, { MISC, 1ull << 63 }, { PD, 0x20 }, { PD, 1ull << 60 },
		{ TT, 2 }, { TT, 8 }, { TT, 1ull << 60 },
	};
	static const uint64_t right[][2] = {
		{ RR, ~0ull }, { HANDLER, 0xffff800000000000 }, { ADJUST, 0x1001 }, { MISC, 0xffffffffffull }, { PD, 0x1000040 }, { TT, 0x1000011 },
		{ RR, 0 }, { MISC, 0 }, { TT, 0 },
	};
	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
		if (!try(wrmsr_pair, (uint64_t)wrong[i]) || me()->trap.vector != GP)
			failed(__FILE__, __LINE__, "an MSR refuses", wrong[i][0], wrong[i][1], true);
	for (unsigned i = 0; i < sizeof right / sizeof *right; i++) { // also without CR4.UINTR
		RUNS(wrmsr_pair, (uint64_t)right[i]);
		CHECK_EQ(rdmsr(right[i][0]), right[i][1]);
	}
}

TEST(uintr_senduipi_judges_its_tables, USERINT)
{
	arm();
	TRAPS(GP, 0, senduipi, 1);
	TRAPS(GP, 0, senduipi, 1ull << 32);
	USER_TRAPS(GP, 0, user_senduipi, 1);
	static const uint64_t entries[][2] = { { 0, 0 }, { 1 | 2, 0 }, { 1 | 64 << 8, 0 }, { 1 | 1 << 16, 0 }, { 1, 32 } };
	for (int i = 0; i < 5; i++) {
		uitt[0] = entries[i][0], uitt[1] = (uint64_t)upid + entries[i][1];
		TRAPS(GP, 0, senduipi, 0);
	}
	uitt[0] = 1 | 7 << 8, uitt[1] = (uint64_t)upid;
	upid[0] |= 1 << 7; // reserved, Linux's mark
	uint64_t was = upid[0];
	TRAPS(GP, 0, senduipi, 0);
	CHECK_EQ(upid[0], was);
	CHECK_EQ(upid[1], 0);
	upid[0] &= ~(1ull << 7);
	upid[0] |= 2; // SN: kept, without a notification
	RUNS(senduipi, 0);
	CHECK_EQ(upid[1], 1 << 7);
	CHECK_EQ(upid[0] & 3, 2);
	upid[0] = (upid[0] & ~3ull) | 1; // ON: so too
	upid[1] = 0;
	RUNS(senduipi, 0);
	CHECK_EQ(upid[1], 1 << 7);
	sti();
	cli();
	CHECK_EQ(rdmsr(RR), 0);
	// Page faults are the supervisor's at any CPL.
	map(T, (uint64_t)uitt, P | W);
	wrmsr(TT, T | 1);
	uitt[1] = T + 0x1000;
	*entry_of(T + 0x1000, 1) = 0;
	TRAPS(PF, 2, senduipi, 0);
	USER_TRAPS(PF, 2, user_senduipi, 0);
	CHECK_EQ(me()->cr2, T + 0x1000);
	map(T + 0x1000, (uint64_t)upid, P);
	USER_TRAPS(PF, 3, user_senduipi, 0);
	*entry_of(T, 1) = 0;
	invlpg(T);
	USER_TRAPS(PF, 0, user_senduipi, 0);
	CHECK_EQ(me()->cr2, T);
	disarm();
}

TEST(uintr_requests_come_highest_first, USERINT)
{
	arm();
	wrmsr(RR, 1ull << 63 | 1ull << 5 | 1 | 1ull << 40);
	CHECK(!user_at(wait_count, 4, UCS, 0x202, USER_SP));
	CHECK_EQ(user_count, 4);
	CHECK_EQ(user_vectors[0], 63);
	CHECK_EQ(user_vectors[1], 40);
	CHECK_EQ(user_vectors[2], 5);
	CHECK_EQ(user_vectors[3], 0);
	CHECK_EQ(rdmsr(RR), 0);
	disarm();
}

TEST(uintr_delivery_asks_for_UIF_and_not_for_IF, USERINT)
{
	arm();
	wrmsr(RR, 2);
	USER_RUNS(user_read8, (uint64_t)user_stack_top - 64); // UIF is 0
	CHECK_EQ(user_count, 0);
	CHECK(!user_at(only_stui, 0, UCS, 2, USER_SP)); // IF is 0, and STUI has no shadow
	CHECK_EQ(user_count, 1);
	CHECK_EQ(user_frame[0], 1);
	CHECK_EQ(user_frame[2] & 0x200, 0);
	disarm();
}

USER static void where_from(uint64_t a)
{
	__asm__ volatile(".globl after_stui\nmov %%rsp, %%rbx; stui\nafter_stui: nop; clui; mov %%rbx, %%rsp" : : "D"(a) : "rbx", "memory");
}
extern char after_stui[];

TEST(uintr_frame_and_stack, USERINT)
{
	for (int load = 0; load < 2; load++) {
		arm();
		wrmsr(ADJUST, load ? ((uint64_t)user_stack_top - 0x2000) | 1 : 128);
		wrmsr(RR, 8);
		CHECK(!user_at(where_from, 0, UCS, 0x202, USER_SP));
		CHECK_EQ(user_count, 1);
		CHECK_EQ(user_frame[0], 3);
		CHECK_EQ(user_frame[1], after_stui);
		CHECK(USER_SP - user_frame[3] < 64);
		disarm();
	}
}

static uint64_t stack_page, push_faults;
static bool map_stack(struct frame *f)
{
	if (f->vector != PF)
		return false;
	push_faults++;
	me()->trap = *f;
	me()->cr2 = read_cr2();
	map(T, stack_page, P | W | U);
	return true;
}

TEST(uintr_a_fault_of_the_frame_leaves_all_as_it_was, USERINT)
{
	arm();
	stack_page = page_alloc();
	*entry_of(T, 1) = 0;
	wrmsr(ADJUST, (T + 0x800) | 1);
	wrmsr(RR, 8);
	CHECK(user_at(only_stui, 0, UCS, 0x202, USER_SP));
	CHECK_EQ(me()->trap.vector, PF);
	CHECK_EQ(me()->trap.error, 6); // the user's own write
	CHECK_EQ(me()->cr2, T + 0x7f8);
	CHECK_EQ(me()->trap.rsp, USER_SP);
	CHECK_EQ(rdmsr(RR), 8);
	push_faults = 0;
	me()->hook = map_stack;
	CHECK(!user_at(only_stui, 0, UCS, 0x202, USER_SP));
	CHECK_EQ(push_faults, 1);
	CHECK_EQ(user_count, 1);
	CHECK_EQ(user_frame[0], 3);
	me()->hook = 0;
	wrmsr(ADJUST, 128);
	write_cr4(read_cr4() & ~CR4_UINTR); // a handler that only 57 bits reach
	wrmsr(HANDLER, 1ull << 50);
	write_cr4(read_cr4() | CR4_UINTR);
	wrmsr(RR, 8);
	CHECK(user_at(only_stui, 0, UCS, 0x202, USER_SP));
	CHECK_EQ(me()->trap.vector, GP);
	CHECK_EQ(me()->trap.error, 0);
	disarm();
}

TEST(uintr_a_fault_of_notification_processing, USERINT)
{
	arm();
	upid[1] = 4;
	map(T, (uint64_t)upid, P | W);
	wrmsr(PD, T);
	*entry_of(T, 1) = 0;
	invlpg(T);
	apic_ipi(0, 0x44000 | UINV);
	bool trapped = try((void (*)(uint64_t))sti, 0);
	cli();
	CHECK(trapped);
	CHECK_EQ(me()->trap.vector, PF);
	CHECK_EQ(me()->trap.error, 2);
	CHECK_EQ(me()->cr2 & ~63ull, T);
	disarm();
}

TEST(uintr_a_timer_of_that_vector_notifies, USERINT)
{
	arm();
	upid[1] = 1 << 11;
	apic_write(0x3e0, 0xb);
	apic_write(0x320, UINV);
	apic_write(0x380, 200000);
	CHECK(!user_at(wait_count, 1, UCS, 0x202, USER_SP));
	CHECK_EQ(user_count, 1);
	CHECK_EQ(user_frame[0], 11);
	CHECK_EQ(me()->seen[UINV], 0);
	CHECK_EQ(upid[1], 0);
	// Periodic, posted anew by the program itself with SN set: each tick is a user interrupt.
	upid[0] |= 2;
	upid[1] = 1 << 5;
	apic_write(0x320, 1 << 17 | UINV);
	apic_write(0x380, 100000);
	for (uint64_t n = 2; n <= 11; n++) {
		CHECK(!user_at(wait_count, n, UCS, 0x202, USER_SP));
		CHECK_EQ(user_count, n);
		USER_RUNS(user_senduipi, 0);
	}
	apic_write(0x320, 1 << 16);
	apic_write(0x380, 0);
	CHECK_EQ(me()->seen[UINV], 0);
	disarm();
}

TEST(uintr_HLT_goes_on_over_a_notification, USERINT)
{
	arm();
	me()->seen[0x69] = 0;
	upid[1] = 1 << 9;
	apic_write(0x3e0, 0xb);
	apic_write(0x320, 0x69);
	apic_ipi(0, 0x44000 | UINV);
	apic_write(0x380, 300000);
	__asm__ volatile("sti; hlt; cli" : : : "memory");
	CHECK_EQ(me()->seen[0x69], 1); // that woke it, not the notification
	CHECK_EQ(rdmsr(RR), 1 << 9);
	CHECK_EQ(upid[1], 0);
	CHECK_EQ(me()->seen[UINV], 0);
	CHECK(!user_at(wait_count, 1, UCS, 2, USER_SP));
	CHECK_EQ(user_frame[0], 9);
	apic_write(0x320, 1 << 16);
	disarm();
}

TEST(uintr_without_UINV_the_vector_is_the_kernels, USERINT)
{
	arm();
	wrmsr(MISC, 0);
	upid[1] = 1;
	apic_ipi(0, 0x44000 | UINV);
	sti(), cli();
	CHECK_EQ(me()->seen[UINV], 1);
	CHECK_EQ(upid[1], 1);
	wrmsr(MISC, (uint64_t)UINV << 32);
	write_cr4(read_cr4() & ~CR4_UINTR);
	apic_ipi(0, 0x44000 | UINV);
	sti(), cli();
	CHECK_EQ(me()->seen[UINV], 2);
	disarm();
}

TEST(uintr_compatibility_mode_waits, USERINT)
{
	extern char user_32_stui[];

	arm();
	wrmsr(RR, 16);
	// UIF was set in 64-bit mode; compatibility code runs on undisturbed.
	__asm__ volatile("stui");
	CHECK(user_at(user_32_stui, 0, UCS32, 0x202, USER_SP));
	CHECK_EQ(me()->trap.vector, 0x80);
	CHECK_EQ(user_count, 0);
	CHECK_EQ(rdmsr(RR), 16);
	CHECK(!user_at(wait_count, 1, UCS, 0x202, USER_SP));
	CHECK_EQ(user_frame[0], 4);
	extern char user_32_testui[];
	CHECK(user_at(user_32_testui, 0, UCS32, 0x202, USER_SP));
	CHECK_EQ(me()->trap.vector, UD);
	disarm();
}
__asm__(".section .user.text,\"ax\"\n.code32\nuser_32_stui: nop\nnop\nmov $3, %ecx\n1: loop 1b\nint $0x80\nuser_32_testui: .byte 0xf3, 0x0f, 0x01, 0xed\nint $0x80\n.code64\n.text\n");

static uint8_t xsave_area[1024] __attribute__((aligned(64)));
static void xrstors(uint64_t mask) { __asm__ volatile("xrstors64 (%0)" : : "r"(xsave_area), "a"((uint32_t)mask), "d"(0) : "memory"); }

TEST(uintr_state_saved_and_restored, USERINT)
{
	arm();
	write_cr4(read_cr4() | CR4_OSXSAVE);
	wrmsr(0xda0, 1 << 14);
	wrmsr(RR, 0x123);
	wrmsr(MISC, (uint64_t)UINV << 32 | 7);
	__asm__ volatile("stui");
	fill(xsave_area, 0, sizeof xsave_area);
	__asm__ volatile("xsaves64 (%0)" : : "r"(xsave_area), "a"(1 << 14), "d"(0) : "memory");
	uint64_t *image = (uint64_t *)(xsave_area + 576), *header = (uint64_t *)(xsave_area + 512);
	CHECK_EQ(header[0], 1 << 14);
	CHECK_EQ(header[1], 1ull << 63 | 1 << 14);
	CHECK_EQ(image[0], user_handler);
	CHECK_EQ(image[1], 128);
	CHECK_EQ(image[2], 1ull << 63 | (uint64_t)UINV << 32 | 7);
	CHECK_EQ(image[3], upid);
	CHECK_EQ(image[4], 0x123);
	CHECK_EQ(image[5], (uint64_t)uitt | 1);
	CHECK_EQ(rdmsr(MISC), 7); // UINV went
	wrmsr(MISC, (uint64_t)UINV << 32);
	TRAPS(GP, 0, xrstors, 1 << 14); // and has to be 0
	wrmsr(MISC, 0);
	wrmsr(RR, 0), wrmsr(HANDLER, 0), wrmsr(ADJUST, 0), wrmsr(PD, 0), wrmsr(TT, 0);
	__asm__ volatile("clui");
	image[2] |= 1ull << 41;
	TRAPS(GP, 0, xrstors, 1 << 14);
	image[2] &= ~(1ull << 41);
	RUNS(xrstors, 1 << 14);
	CHECK_EQ(rdmsr(RR), 0x123);
	CHECK_EQ(rdmsr(HANDLER), user_handler);
	CHECK_EQ(rdmsr(MISC), (uint64_t)UINV << 32 | 7);
	CHECK_EQ(rdmsr(PD), upid);
	CHECK_EQ(rdmsr(TT), (uint64_t)uitt | 1);
	CHECK(!user_at(wait_count, 4, UCS, 2, USER_SP)); // UIF came back too; 4 requests
	CHECK_EQ(user_count, 4);
	wrmsr(MISC, 0);
	header[0] = 0; // the initial state
	RUNS(xrstors, 1 << 14);
	CHECK_EQ(rdmsr(HANDLER), 0);
	CHECK_EQ(rdmsr(TT), 0);
	wrmsr(0xda0, 0);
	header[0] = 1 << 14;
	TRAPS(GP, 0, xrstors, 1 << 14); // XCOMP_BV names what IA32_XSS does not
	disarm();
}

TEST(uintr_uiret_at_CPL_0_and_its_flags, USERINT)
{
	uint64_t f, sp;

	arm();
	__asm__ volatile("clui; mov %%rsp, %%rbx; push %%rbx; pushq $0x3ad7; lea 1f(%%rip), %%rax; push %%rax; uiret; 1: pushfq; popq %0; mov %%rsp, %1; mov %%rbx, %%rsp; pushq $2; popfq"
			 : "=&r"(f), "=&r"(sp) : : "rax", "rbx", "memory");
	cli();
	CHECK_EQ(f & 0x3200, 0); // neither IF nor IOPL
	CHECK_EQ(f & 0x8d5, 0x8d5 & 0x3ad7);
	__asm__ volatile("testui; pushfq; popq %0" : "=r"(f));
	CHECK_EQ(f & 1, 1);
	__asm__ volatile("clui");
	disarm();
}

extern char after_tpause[];
USER static void pause_long(uint64_t a)
{
	(void)a;
	__asm__ volatile("stui; mov $0xffffff, %%edx; xor %%eax, %%eax; xor %%ecx, %%ecx; tpause %%ecx\n.globl after_tpause\nafter_tpause: clui" : : : "rax", "rcx", "rdx", "cc", "memory");
}

TEST(uintr_a_user_interrupt_ends_a_wait, USERINT | NEEDS_WAITPKG)
{
	uint64_t limit = rdmsr(0xe1);

	wrmsr(0xe1, 0);
	for (int i = 0; i < 10; i++) {
		arm();
		upid[1] = 1 << 7;
		apic_write(0x3e0, 0xb);
		apic_write(0x320, UINV);
		apic_write(0x380, 10000 * (i + 1)); // in the wait's first slice, or a later one
		CHECK(!user_at(pause_long, 0, UCS, 0x202, USER_SP));
		CHECK_EQ(user_count, 1);
		CHECK_EQ(user_frame[0], 7);
		CHECK(user_frame[1] <= (uint64_t)after_tpause && user_frame[1] >= (uint64_t)pause_long);
		disarm();
	}
	CHECK_EQ(user_frame[1], after_tpause);
	apic_write(0x320, 1 << 16);
	wrmsr(0xe1, limit);
}
