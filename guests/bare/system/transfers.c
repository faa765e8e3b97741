// SPDX-License-Identifier: Apache-2.0
// Ways between privilege levels and modes: SYSCALL, SYSENTER, call gates, IRET, compatibility mode.
#include "system.h"

extern char user_stack_top[];
static uint64_t entered[6]; // RSP, RCX, R11, CS, SS, RFLAGS as the entry found them
extern char syscall_entry[], sysenter_entry[], gate_entry[];

__asm__(
	".text\n"
	"syscall_entry:\n"
	"	mov %rsp, entered\n	mov %rcx, entered+8\n	mov %r11, entered+16\n"
	"	mov %cs, %eax\n	mov %rax, entered+24\n	mov %ss, %eax\n	mov %rax, entered+32\n"
	"	mov syscall_kernel_stack, %rsp\n	pushfq\n	popq entered+40\n"
	"	mov entered, %rsp\n"
	"	cmpl $32, syscall_width\n	je 1f\n	sysretq\n"
	"1:	sysretl\n"
	"sysenter_entry:\n"
	"	mov %rsp, entered\n	mov %cs, %eax\n	mov %rax, entered+24\n	mov %ss, %eax\n	mov %rax, entered+32\n"
	"	pushfq\n	popq entered+40\n"
	"	mov %rdi, %rcx\n	mov %rsi, %rdx\n"
	"	cmpl $32, syscall_width\n	je 1f\n	sysexitq\n"
	"1:	sysexitl\n"
	"gate_entry:\n"
	"	mov %rsp, entered\n	mov (%rsp), %rax\n	mov %rax, entered+8\n	mov 8(%rsp), %rax\n	mov %rax, entered+16\n"
	"	mov 16(%rsp), %rax\n	mov %rax, entered+40\n"
	"	mov %cs, %eax\n	mov %rax, entered+24\n	mov %ss, %eax\n	mov %rax, entered+32\n"
	"	lretq\n");

uint64_t syscall_kernel_stack;
uint32_t syscall_width;

USERDATA static volatile uint64_t user_saw[4];
extern char after_syscall[];
USER static void user_syscall(uint64_t a)
{
	__asm__ volatile("stc; syscall\n.globl after_syscall\nafter_syscall: pushfq; popq %0; mov %%cs, %%eax; mov %%rax, %1; mov %%ss, %%eax; mov %%rax, %2"
			 : "=m"(user_saw[0]), "=m"(user_saw[1]), "=m"(user_saw[2]) : "D"(a) : "rax", "rcx", "r11", "memory");
}

static void syscall_setup(void)
{
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
	wrmsr(0xc0000081, (uint64_t)(UCS32) << 48 | (uint64_t)KCS << 32);
	wrmsr(0xc0000082, (uint64_t)syscall_entry);
	wrmsr(0xc0000083, (uint64_t)syscall_entry);
	wrmsr(0xc0000084, 0x4701); // also CF
	syscall_kernel_stack = page_alloc() + 4096;
	syscall_width = 64;
}

TEST(transfer_syscall_and_sysret, 0)
{
	syscall_setup();
	USER_RUNS(user_syscall, 0);
	CHECK_EQ(entered[1], after_syscall);
	CHECK_EQ(entered[2] & 1, 1);      // R11 has what was masked
	CHECK_EQ(entered[3], KCS);
	CHECK_EQ(entered[4], KDS);
	CHECK_EQ(entered[5] & 0x4701, 0); // and RFLAGS has not
	CHECK_EQ(user_saw[0] & 1, 1);
	CHECK_EQ(user_saw[1], UCS);
	CHECK_EQ(user_saw[2], UDS);
	wrmsr(0xc0000080, rdmsr(0xc0000080) & ~1ull);
	USER_TRAPS(UD, 0, user_syscall, 0);
}

// 32-bit code at CPL 3: syscall (or what is asked), then INT3 at user_return's place of its own.
__asm__(
	".section .user.text,\"ax\"\n.code32\n"
	"user_32:\n"
	"	mov $0x12345678, %eax\n	push %eax\n	pop %ecx\n	inc %ecx\n" // INC is a REX prefix in 64-bit code
	"	mov %ecx, user_result\n	mov %esp, user_result+4\n	int $0x80\n"
	"user_32_syscall:\n	syscall\n	int $0x80\n"
	"user_32_sysenter:\n	mov %esp, %edi\n	mov $1f, %esi\n	sysenter\n1:	mov %esp, user_result\n	mov %cs, %eax\n	mov %eax, user_result+4\n	int $0x80\n"
	"user_32_limit:\n	mov %ds:0x3ffff8, %eax\n	int $0x80\n"
	".code64\n.text\n");
USERDATA volatile uint32_t user_result[4];
extern char user_32[], user_32_syscall[], user_32_sysenter[], user_32_limit[];

TEST(transfer_compatibility_mode, 0)
{
	CHECK(user_at(user_32, 0, UCS32, 2, (uint64_t)user_stack_top - 8));
	CHECK_EQ(me()->trap.vector, 0x80);
	CHECK_EQ(me()->trap.cs, UCS32);
	CHECK_EQ(me()->trap.rax, 0x12345678);
	CHECK_EQ(user_result[0], 0x12345679);
	CHECK_EQ(user_result[1], (uint64_t)user_stack_top - 8);
	// Limits count there: a data segment of 4 MiB - 4 bytes.
	spare(0, 0x0040f30000000000 | 0x003 << 0 | 0x0fff);
	uint64_t d = 0x00c0f300000003fe; // limit 3feH pages
	spare(0, d);
	__asm__ volatile("" : : : "memory");
	CHECK(user_at(user_32_limit, 0, UCS32, 2, (uint64_t)user_stack_top - 8));
	CHECK_EQ(me()->trap.vector, PF); // a flat DS: the page is the kernel's
}

TEST(transfer_syscall_from_compatibility_mode, 0)
{
	syscall_setup();
	bool intel = cpuid(0, 0).c == 0x6c65746e;
	syscall_width = 32;
	CHECK(user_at(user_32_syscall, 0, UCS32, 2, (uint64_t)user_stack_top - 8));
	CHECK_EQ(me()->trap.vector, intel ? UD : 0x80);
}

USER static void user_sysenter(uint64_t a)
{
	__asm__ volatile("mov %%rsp, %%rdi; lea 1f(%%rip), %%rsi; sysenter; 1: mov %%cs, %%eax; mov %%rax, %0; mov %%ss, %%eax; mov %%rax, %1"
			 : "=m"(user_saw[1]), "=m"(user_saw[2]) : "D"(a) : "rax", "rcx", "rdx", "rsi", "memory");
}

TEST(transfer_sysenter_and_sysexit, 0)
{
	uint64_t stack = page_alloc() + 4096;

	wrmsr(0x174, KCS);
	wrmsr(0x175, stack);
	wrmsr(0x176, (uint64_t)sysenter_entry);
	syscall_width = 64;
	bool trapped = user((void *)user_sysenter, 0);
	if (trapped && me()->trap.vector == UD && cpuid(0, 0).c != 0x6c65746e)
		return; // not in long mode, on AMD's
	CHECK(!trapped);
	CHECK_EQ(entered[0], stack);
	CHECK_EQ(entered[3], KCS);
	CHECK_EQ(entered[4], KDS);
	CHECK_EQ(entered[5] & 0x20200, 0);
	CHECK_EQ(user_saw[1], KCS + 32 + 3);
	CHECK_EQ(user_saw[2], KCS + 40 + 3);
	syscall_width = 32;
	CHECK(user_at(user_32_sysenter, 0, UCS32, 2, (uint64_t)user_stack_top - 8));
	CHECK_EQ(me()->trap.vector, 0x80);
	CHECK_EQ(user_result[0], (uint64_t)user_stack_top - 8);
	CHECK_EQ(user_result[1], KCS + 16 + 3);
	wrmsr(0x174, 0);
	USER_TRAPS(GP, 0, user_sysenter, 0);
	wrmsr(0x174, KCS);
}

USERDATA static struct { uint32_t offset; uint16_t selector; } __attribute__((packed)) user_far = { 0, SPARE | 3 };
USER static void call_gate(uint64_t a) { __asm__ volatile("lcall *(%0)" : : "r"(a) : "rax", "memory"); }
static void kernel_call_gate(uint64_t a) { __asm__ volatile("lcall *(%0)" : : "r"(a) : "rax", "memory"); }

TEST(transfer_call_gate, 0)
{
	uint64_t e = (uint64_t)gate_entry;
	uint64_t low = (e & 0xffff) | (uint64_t)KCS << 16 | 0xecull << 40 | (e >> 16 & 0xffff) << 48; // DPL 3

	spare(0, low);
	spare(1, e >> 32);
	USER_RUNS(call_gate, &user_far);
	CHECK_EQ(entered[2], UCS);
	CHECK_EQ(entered[3], KCS);
	CHECK_EQ(entered[4], 0); // 64-bit mode loads a null SS
	CHECK(entered[5] - ((uint64_t)user_stack_top - 4096) < 4096);
	RUNS(kernel_call_gate, &user_far);
	spare(0, low & ~(3ull << 45)); // DPL 0
	USER_TRAPS(GP, SPARE, call_gate, &user_far);
	spare(0, low & ~(1ull << 47));
	USER_TRAPS(NP, SPARE, call_gate, &user_far);
	spare(0, low);
	spare(1, 1ull << 40); // a type in the upper half must be 0
	USER_TRAPS(GP, SPARE, call_gate, &user_far);
}

static void iret_to(uint64_t p)
{
	__asm__ volatile("pushq 32(%0); pushq 24(%0); pushq 16(%0); pushq 8(%0); pushq (%0); iretq" : : "r"(p) : "memory");
}
static void sysret_to(uint64_t rcx) { __asm__ volatile("mov %0, %%rcx; mov $2, %%r11d; sysretq" : : "r"(rcx) : "rcx", "r11"); }
extern char iret_target[];
USER static void nothing(uint64_t a) { (void)a; }

TEST(transfer_iret_refuses, 0)
{
	uint64_t sp = (uint64_t)user_stack_top - 8, good[5] = { (uint64_t)nothing, UCS, 2, sp, UDS };
	static const struct { int i; uint64_t v, vector, code; } wrong[] = {
		{ 1, 0, GP, 0 }, { 1, 0xfff, GP, 0xffc }, { 1, KDS, GP, KDS }, { 1, UCS & ~3, GP, UCS & ~3 }, { 1, KCS | 3, GP, KCS },
		{ 0, 1ull << 47, GP, 0 }, { 4, KDS, GP, KDS }, { 4, 0, GP, 0 }, { 4, 3, GP, 0 }, { 4, UCS, GP, UCS & ~3 }, { 4, SPARE | 3, SS, SPARE },
	};

	spare(0, 0x00cf73000000ffff); // not present
	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		uint64_t f[5];
		copy(f, good, sizeof f);
		f[wrong[i].i] = wrong[i].v;
		if (!try(iret_to, (uint64_t)f) || me()->trap.vector != wrong[i].vector)
			failed(__FILE__, __LINE__, "IRET refuses", wrong[i].v, me()->trap.vector, true);
		CHECK_EQ(me()->trap.error, wrong[i].code);
		CHECK_EQ(me()->trap.cs, KCS);
	}
	__asm__ volatile("pushfq; orl $0x4000, (%%rsp); popfq" : : : "memory"); // NT
	bool trapped = try(iret_to, (uint64_t)good);
	__asm__ volatile("pushfq; andl $~0x4000, (%%rsp); popfq" : : : "memory");
	CHECK(trapped);
	CHECK_EQ(me()->trap.vector, GP);
	CHECK_EQ(me()->trap.error, 0);
}

TEST(transfer_iret_within_a_level_loads_the_stack, 0)
{
	uint64_t rsp, ss;

	__asm__ volatile("mov %%rsp, %%rbx; pushq $0; lea -64(%%rbx), %%rax; push %%rax; pushfq; pushq %2; pushq $1f; iretq; 1: mov %%rsp, %0; mov %%ss, %%eax; mov %%rax, %1; mov %%rbx, %%rsp; mov %3, %%ss"
			 : "=&r"(rsp), "=&r"(ss) : "i"(KCS), "r"(KDS) : "rax", "rbx", "memory");
	CHECK_EQ(ss, 0);
	CHECK_EQ(rsp & 15, ((uint64_t)rsp) & 15);
}

USER static void user_iret(uint64_t a)
{
	__asm__ volatile("mov %%rsp, %%rbx; pushq %1; push %%rbx; pushq $0x3202; pushq %2; lea 1f(%%rip), %%rax; push %%rax; iretq; 1: pushfq; popq %0"
			 : "=m"(user_saw[3]) : "i"(UDS), "i"(UCS), "D"(a) : "rax", "rbx", "memory");
}

TEST(transfer_iret_keeps_what_is_not_the_users, 0)
{
	CHECK(!user_at(user_iret, 0, UCS, 2, (uint64_t)user_stack_top - 8));
	CHECK_EQ(user_saw[3] & 0x3200, 0); // neither IOPL nor IF changed
}

static void sysret_64(uint64_t a) { sysret_to(a); }
TEST(transfer_sysret_refuses_an_address, 0)
{
	if (cpuid(0, 0).c != 0x6c65746e)
		return; // AMD's faults in the user's place
	syscall_setup();
	TRAPS(GP, 0, sysret_64, 1ull << 47);
	CHECK_EQ(me()->trap.cs, KCS);
}

static void far_return(uint64_t p) { __asm__ volatile("pushq 24(%0); pushq 16(%0); pushq 8(%0); pushq (%0); lretq" : : "r"(p) : "memory"); }

TEST(transfer_far_return_to_the_user, 0)
{
	uint64_t f[4] = { (uint64_t)user_return, UCS, (uint64_t)user_stack_top - 8, UDS };

	*(uint64_t *)((uint64_t)&me()->tss + 4) = page_alloc() + 4096;
	CHECK(!try(far_return, (uint64_t)f)); // it ends by the INT3 of one who returns
	f[1] = UCS & ~3;
	TRAPS(GP, UCS & ~3, far_return, f);
}

static void wrfsbase(uint64_t v) { __asm__ volatile("wrfsbase %0" : : "r"(v)); }

TEST(transfer_bases, NEEDS_FSGSBASE)
{
	uint64_t v;

	TRAPS(UD, 0, wrfsbase, 5);
	write_cr4(read_cr4() | CR4_FSGSBASE);
	RUNS(wrfsbase, 0x12345000);
	CHECK_EQ(rdmsr(0xc0000100), 0x12345000);
	TRAPS(GP, 0, wrfsbase, 1ull << 60);
	uint64_t self = (uint64_t)me();
	wrmsr(0xc0000102, 0x777000);
	__asm__ volatile("swapgs; rdgsbase %0; swapgs" : "=r"(v));
	CHECK_EQ(v, 0x777000);
	CHECK_EQ((uint64_t)me(), self);
	CHECK_EQ(rdmsr(0xc0000102), 0x777000);
	wrmsr(0xc0000100, 0);
}
