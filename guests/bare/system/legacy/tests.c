// SPDX-License-Identifier: Apache-2.0
// Segments, gates, tasks, and the 16-bit modes.
#include "legacy.h"

#define CODE(name, text) static void name(uint32_t a) { __asm__ volatile(text : : "c"(a) : "eax", "edx", "memory", "cc"); }

CODE(into_of, "mov $0x7fffffff, %%eax; inc %%eax; into")
CODE(into_no, "xor %%eax, %%eax; into")
CODE(divide, "xor %%eax, %%eax; cltd; div %%eax")
CODE(far_jump_null, "ljmp $0, $0")
CODE(load_fs, "mov %%cx, %%fs")
CODE(load_ss, "mov %%cx, %%ss")
CODE(syscall_, "syscall")
CODE(sysenter_null, "sysenter")
CODE(arpl_like, "lar %%cx, %%eax; jnz 1f; movl $1, lar_ok; 1:")
uint32_t lar_ok;

static void bound(uint32_t v)
{
	static const int32_t bounds[2] = { -5, 10 };
	__asm__ volatile("bound %0, %1" : : "r"(v), "m"(bounds));
}

TEST(exceptions_of_32_bit_code)
{
	TRAPS(OF, 0, into_of, 0);
	RUNS(into_no, 0);
	RUNS(bound, 10);
	RUNS(bound, -5);
	TRAPS(BR, 0, bound, 11);
	TRAPS(BR, 0, bound, -6);
	TRAPS(DE, 0, divide, 0);
	TRAPS(GP, 0, far_jump_null, 0);
	TRAPS(UD, 0, syscall_, 0); // Intel's: in 64-bit mode only
	wrmsr(0x174, 0);
	TRAPS(GP, 0, sysenter_null, 0);
	USER_TRAPS(OF, 0, into_of, 0);
	CHECK_EQ(last.cs, UCS);
	CHECK_EQ(last.ss, UDS);
	USER_TRAPS(GP, 0, load_ss, 0);
	USER_TRAPS(GP, KDS, load_fs, KDS);
}

// Each loads FS anew: a trap leaves it null.
static uint32_t fs_selector;
static void read_fs(uint32_t off) { __asm__ volatile("mov fs_selector, %%fs; mov %%fs:(%0), %%al" : : "r"(off) : "eax"); }
static void write_fs(uint32_t off) { __asm__ volatile("mov fs_selector, %%fs; mov %%al, %%fs:(%0)" : : "r"(off) : "eax", "memory"); }
static void read4_fs(uint32_t off) { __asm__ volatile("mov fs_selector, %%fs; mov %%fs:(%0), %%eax" : : "r"(off) : "eax"); }

TEST(segments_limits_and_types)
{
	spare(0, segment(0x1000, 0xfff, 0x92, 4)); // bytes, up to FFFH
	fs_selector = SPARE;
	RUNS(read_fs, 0xfff);
	TRAPS(GP, 0, read_fs, 0x1000);
	RUNS(read4_fs, 0xffc);
	TRAPS(GP, 0, read4_fs, 0xffd);
	TRAPS(GP, 0, read4_fs, 0xfffffffe);
	spare(1, segment(0, 0xfff, 0x96, 4)); // expand down: above FFFH
	fs_selector = SPARE + 8;
	TRAPS(GP, 0, read_fs, 0xfff);
	RUNS(read_fs, 0x1000);
	TRAPS(GP, 0, read4_fs, 0xffffffff); // wraps
	spare(2, segment(0, 0xfffff, 0x90, 12)); // read only
	fs_selector = SPARE + 16;
	RUNS(read_fs, 0);
	TRAPS(GP, 0, write_fs, 0);
	spare(3, segment(0, 0xfffff, 0x98, 12)); // execute only
	TRAPS(GP, SPARE + 24, load_fs, SPARE + 24);
	spare(3, segment(0, 0xfffff, 0x9a, 12)); // readable code
	fs_selector = SPARE + 24;
	RUNS(read_fs, 0);
	TRAPS(GP, 0, write_fs, 0);
	fs_selector = 0;
	TRAPS(GP, 0, read_fs, 0);
	spare(4, segment(0, 0xfffff, 0x12, 12));
	TRAPS(NP, SPARE + 32, load_fs, SPARE + 32);
	TRAPS(SS, SPARE + 32, load_ss, SPARE + 32);
	TRAPS(GP, 0, load_ss, 0);
	CHECK_EQ(gdt[SPARE / 8] >> 40 & 1, 1); // accessed
}

static uint32_t stack_at;
static void push_there(uint32_t sel) { __asm__ volatile("mov %%esp, %%ebx; mov %%ss, %%edx; mov %w0, %%ss; mov %1, %%esp; push %%eax; mov %%edx, %%ss; mov %%ebx, %%esp" : : "r"(sel), "m"(stack_at) : "ebx", "edx", "memory"); }

TEST(segments_stack_limit)
{
	spare(0, segment(0, 0x7ff, 0x92, 12)); // 8 MiB
	stack_at = 0x300000;
	RUNS(push_there, SPARE);
	// #SS on that stack would not be delivered: a task takes it.
	static uint32_t other[256];
	tss2.eip = (uint32_t)trap_entries + 16 * SS, tss2.cs = KCS, tss2.ss = tss2.ds = tss2.es = KDS;
	tss2.esp = (uint32_t)(other + 256), tss2.eflags = 2;
	gate(SS, 0, 0, 5, TSS2);
	stack_at = 2; // wraps below 0
	TRAPPED(try(push_there, SPARE), SS, 0);
	__asm__ volatile("clts; pushf; andl $~0x4000, (%%esp); popf" : : : "memory");
}

static uint32_t params[6];
extern char gate_target[], gate_target_16[], conforming_target[];
__asm__(
	".text\n"
	"gate_target:\n	mov 8(%esp), %eax\n	mov %eax, params\n	mov 12(%esp), %eax\n	mov %eax, params+4\n	mov 16(%esp), %eax\n	mov %eax, params+8\n"
	"	mov 20(%esp), %eax\n	mov %eax, params+12\n	mov %cs, %eax\n	mov %eax, params+16\n	mov 24(%esp), %eax\n	mov %eax, params+20\n	lret $12\n"
	"conforming_target:\n	mov %cs, %eax\n	mov %eax, params\n	lret\n");
static struct { uint32_t offset; uint16_t sel; } __attribute__((packed)) far_gate = { 0, SPARE | 3 };
static void call_gate(uint32_t a)
{
	(void)a;
	__asm__ volatile("mov %%esp, %%ebx; pushl $0x333; pushl $0x222; pushl $0x111; lcall *%0; sub %%esp, %%ebx; mov %%ebx, params+4; add %%ebx, %%esp" : : "m"(far_gate) : "ebx", "eax", "memory");
}

TEST(gates_calls_with_parameters)
{
	uint32_t e = (uint32_t)gate_target;
	uint64_t g = (e & 0xffff) | (uint64_t)KCS << 16 | 3ull << 32 | 0xecull << 40 | (uint64_t)(e >> 16) << 48;

	spare(0, g);
	USER_RUNS(call_gate, 0);
	CHECK_EQ(params[0], 0x111);
	CHECK_EQ(params[2], 0x333);
	CHECK_EQ(params[4], KCS);
	CHECK_EQ(params[5], UDS); // SS, above ESP
	CHECK_EQ(params[1], 0);   // RETF 12 took them off the user's stack
	spare(0, g & ~(3ull << 45)); // DPL 0
	USER_TRAPS(GP, SPARE, call_gate, 0);
	spare(0, g & ~(1ull << 47));
	USER_TRAPS(NP, SPARE, call_gate, 0);
	spare(0, g);
	tss.ss0 = 0;
	spare(1, 0); // #TS needs a stack to be delivered on: a task
	static uint32_t other[256];
	tss2.eip = (uint32_t)trap_entries + 16 * TS, tss2.cs = KCS, tss2.ss = tss2.ds = tss2.es = KDS;
	tss2.esp = (uint32_t)(other + 256), tss2.eflags = 2;
	gate(TS, 0, 0, 5, TSS2);
	TRAPPED(user(call_gate, 0), TS, 0);
	tss.ss0 = KDS;
}

static struct { uint32_t offset; uint16_t sel; } __attribute__((packed)) far_code = { 0, SPARE + 8 };
static void call_code(uint32_t a) { (void)a; __asm__ volatile("lcall *%0" : : "m"(far_code) : "eax", "memory"); }

TEST(gates_conforming_code_keeps_the_privilege)
{
	spare(1, segment(0, 0xfffff, 0x9e, 12));
	far_code.offset = (uint32_t)conforming_target;
	USER_RUNS(call_code, 0);
	CHECK_EQ(params[0], SPARE + 8 + 3);
	spare(1, segment(0, 0xfffff, 0x9a, 12)); // not conforming
	USER_TRAPS(GP, SPARE + 8, call_code, 0);
	spare(1, segment(0, 0x10, 0x9e, 4));
	TRAPS(GP, 0, call_code, 0); // past the limit
}

static struct { uint32_t offset; uint16_t sel; } __attribute__((packed)) far_task = { 0, TSS2 };
static void call_task(uint32_t a) { (void)a; __asm__ volatile("lcall *%0" : : "m"(far_task) : "memory"); }
extern char task_body[];
static uint32_t task_saw[8], task_stack[256];
__asm__(
	".text\n"
	"task_body:\n	mov %eax, task_saw\n	mov %esp, task_saw+4\n	pushf\n	popl task_saw+8\n	str %eax\n	mov %eax, task_saw+12\n	mov %cr0, %eax\n	mov %eax, task_saw+16\n"
	"	incl task_saw+20\n	clts\n	mov $0x5555, %eax\n	iret\n	jmp task_body\n"
	);

static void make_task(struct tss *t, void *eip)
{
	t->eip = (uint32_t)eip, t->cs = KCS, t->ss = t->ds = t->es = KDS, t->eflags = 2, t->esp = (uint32_t)(task_stack + 256), t->eax = 0xabcd;
}

TEST(tasks_called_and_left)
{
	fill(task_saw, 0, sizeof task_saw);
	make_task(&tss2, task_body);
	RUNS(call_task, 0);
	CHECK_EQ(task_saw[0], 0xabcd);
	CHECK_EQ(task_saw[1], task_stack + 256);
	CHECK_EQ(task_saw[2] & 0x4000, 0x4000); // NT
	CHECK_EQ(task_saw[3], TSS2);
	CHECK_EQ(task_saw[4] & 8, 8);           // TS
	CHECK_EQ(tss2.link & 0xffff, TSS);
	CHECK_EQ(tss2.eax, 0x5555);             // saved when it was left
	CHECK_EQ(tss2.eflags & 0x4000, 0);
	CHECK_EQ(gdt[TSS / 8] >> 41 & 1, 1);    // busy
	CHECK_EQ(gdt[TSS2 / 8] >> 41 & 1, 0);
	uint32_t tr;
	__asm__ volatile("str %0" : "=r"(tr));
	CHECK_EQ(tr & 0xffff, TSS);
	RUNS(call_task, 0); // it goes on behind its IRET
	CHECK_EQ(task_saw[5], 2);
	gdt[TSS2 / 8] |= 1ull << 41;
	TRAPS(GP, TSS2, call_task, 0);
	gdt[TSS2 / 8] &= ~(1ull << 41);
	gdt[TSS2 / 8] &= ~(1ull << 47);
	TRAPS(NP, TSS2, call_task, 0);
	gdt[TSS2 / 8] |= 1ull << 47;
	gdt[TSS2 / 8] = segment((uint32_t)&tss2, 0x66, 0x89, 0);
	TRAPS(TS, TSS2, call_task, 0); // too short
}

TEST(tasks_by_gates)
{
	fill(task_saw, 0, sizeof task_saw);
	make_task(&tss2, task_body);
	spare(0, (uint64_t)TSS2 << 16 | 0xe5ull << 40); // a task gate, DPL 3
	far_task.sel = SPARE | 3;
	RUNS(call_task, 0);
	CHECK_EQ(task_saw[5], 1);
	USER_RUNS(call_task, 0);
	CHECK_EQ(task_saw[5], 2);
	far_task.sel = TSS2;
	USER_TRAPS(GP, TSS2, call_task, 0); // DPL 0
	gate(0x60, 0, 0, 5, TSS2);
	__asm__ volatile("int $0x60" : : : "memory");
	CHECK_EQ(task_saw[5], 3);
}

__asm__(".text\ntask_fix:\n	popl task_saw+24\n	movl $0x0000ffff, fs_slot\n	movl $0x00cf9300, fs_slot+4\n	incl task_saw+20\n	clts\n	iret\n	jmp task_fix\n.globl fs_slot\n.set fs_slot, gdt + 0x40\n");
extern char task_fix[];

TEST(tasks_take_exceptions_with_error_codes)
{
	fill(task_saw, 0, sizeof task_saw);
	make_task(&tss2, task_fix);
	gate(GP, 0, 0, 5, TSS2);
	load_fs(SPARE); // #GP: the task makes the descriptor, and the instruction restarts
	CHECK_EQ(task_saw[5], 1);
	CHECK_EQ(task_saw[6], SPARE);
	uint32_t fs;
	__asm__ volatile("mov %%fs, %0" : "=r"(fs));
	CHECK_EQ(fs & 0xffff, SPARE);
	load_fs(0);
}

static uint32_t bt;
static bool see_bt(struct frame *f)
{
	if (f->vector != DB)
		return false;
	bt = read_dr6();
	write_dr6(0xffff0ff0);
	return true;
}

TEST(tasks_with_the_trap_bit)
{
	fill(task_saw, 0, sizeof task_saw);
	make_task(&tss2, task_body);
	tss2.trap = 1;
	hook = see_bt;
	bt = 0;
	RUNS(call_task, 0);
	CHECK_EQ(bt & 0xe000, 0x8000);
	CHECK_EQ(task_saw[5], 1);
}

static void segments_of_ldt(uint32_t sel) { __asm__ volatile("lldt %w0" : : "r"(sel)); }

TEST(segments_of_a_local_table)
{
	static uint64_t ldt[4];
	ldt[1] = segment(0x8000, 0xfff, 0x92, 4);
	spare(0, segment((uint32_t)ldt, sizeof ldt - 1, 0x82, 0));
	TRAPS(GP, 0xc, load_fs, 0xc); // no LDT yet
	RUNS(segments_of_ldt, SPARE);
	*(volatile uint32_t *)0x8010 = 0xfeed;
	RUNS(load_fs, 0xc);
	uint32_t v;
	__asm__ volatile("mov %%fs:0x10, %0" : "=r"(v));
	CHECK_EQ(v, 0xfeed);
	TRAPS(GP, 0x24, load_fs, 0x24); // past its limit
	TRAPS(GP, KDS, segments_of_ldt, KDS);
	segments_of_ldt(0);
	lar_ok = 0;
	arpl_like(KDS);
	CHECK_EQ(lar_ok, 1);
}

static uint32_t calls_16;

// A 16-bit gate pushes words, and its offset has 16 bits: the code is in a segment at LOW.
TEST(gates_of_16_bits)
{
	uint8_t *handler = (uint8_t *)(LOW + 0xc00);
	uint32_t counter = (uint32_t)&calls_16;

	copy(handler, "\xff\x05", 2); // INCL; IRETW
	copy(handler + 2, &counter, 4);
	copy(handler + 6, "\x66\xcf", 2);
	copy((void *)(LOW + 0xc10), "\xcd\x62\xcb", 3); // INT 62H; RETF
	spare(0, segment(LOW, 0xffff, 0x9a, 4));
	for (int kind = 6; kind < 8; kind++) {
		gate(0x62, (void *)0xc00, 0, kind, SPARE);
		calls_16 = 0;
		far_code.offset = 0xc10, far_code.sel = SPARE;
		RUNS(call_code, 0);
		far_code.sel = SPARE + 8;
		CHECK_EQ(calls_16, 1);
	}
}

#define LOWOF(l) ({ extern char l[]; (uint32_t)(l - low_begin); })

TEST(real_mode_and_back)
{
	CHECK_EQ(real_mode(LOWOF(low_sum)), 5050 + 0x1234 + (load(0) & 0));
	CHECK_EQ(read_cr0() & 1, 1);
	for (int i = 0; i < 20; i++)
		CHECK_EQ(real_mode(LOWOF(low_sum)), 5050 + 0x1234);
}

TEST(real_mode_interrupts_and_exceptions)
{
	CHECK_EQ(real_mode(LOWOF(low_int)), 6);
	CHECK_EQ(real_mode(LOWOF(low_divide)), 0x77);
	CHECK_EQ(real_mode(LOWOF(low_undefined)), 0x77);
	CHECK_EQ(real_mode(LOWOF(low_wrap)), 0x13);
	CHECK_EQ(real_mode(LOWOF(low_step)), 7); // the last is behind the POPF that ends it
}

TEST(real_mode_with_a_big_segment)
{
	store(0x200000, 0);
	CHECK_EQ(real_mode(LOWOF(low_flat)), 0x11335577);
	CHECK_EQ(load(0x200000), 0x11335577);
}

TEST(v86_runs_16_bit_code)
{
	*(volatile uint16_t *)(LOW + 16 + 0xe00) = 0;
	CHECK(!enter_v86(LOWOF(low_v86), 0x3000));
	CHECK_EQ(last.eax, 5050);
	CHECK_EQ(last.ebx & 0xffff, 5050); // by another segment
	CHECK_EQ(last.eflags >> 17 & 1, 1);
	CHECK_EQ(last.cs, LOW / 16);
	CHECK_EQ(last.ss, LOW / 16);
	CHECK_EQ(last.esp, 0xf00);
	CHECK(!enter_v86(LOWOF(low_v86_segments), 0x3000));
	CHECK_EQ(last.eax & 0xffff, LOW / 16);
	CHECK_EQ(last.ebx & 0xffff, LOW / 16);
	CHECK_EQ(last.ecx & 0xffff, LOW / 16 + 1);
	CHECK_EQ(last.edx & 0xffff, LOW / 16 + 2);
	CHECK_EQ(last.esi & 0xffff, LOW / 16 + 3);
	CHECK_EQ(last.v86_es, LOW / 16 + 1);
	CHECK_EQ(last.v86_ds, LOW / 16);
	CHECK_EQ(last.v86_fs, LOW / 16 + 2);
	CHECK_EQ(last.v86_gs, LOW / 16 + 3);
}

static uint32_t handled, segments_there;
static bool from_v86(struct frame *f)
{
	if (f->vector != 0x81)
		return false;
	uint32_t fs, gs;
	__asm__ volatile("mov %%fs, %0; mov %%gs, %1" : "=r"(fs), "=r"(gs));
	segments_there = (fs | gs | f->ds | f->es) & 0xffff;
	handled++;
	f->eax = 0x4321;
	return true;
}

TEST(v86_privileges)
{
	hook = from_v86;
	handled = 0, segments_there = 1;
	CHECK(!enter_v86(LOWOF(low_v86_int), 0x3000));
	CHECK_EQ(handled, 1);
	CHECK_EQ(segments_there, 0); // null in the handler
	CHECK_EQ(last.eax & 0xffff, 0x4321);
	hook = 0;
	TRAPPED(enter_v86(LOWOF(low_v86_int), 0), GP, 0); // IOPL 0: INT n
	TRAPPED(enter_v86(LOWOF(low_v86_cli), 0), GP, 0);
	TRAPPED(enter_v86(LOWOF(low_v86_flags), 0), GP, 0);
	TRAPPED(enter_v86(LOWOF(low_v86_iret), 0), GP, 0);
	TRAPPED(enter_v86(LOWOF(low_v86_hlt), 0x3000), GP, 0);
	TRAPPED(enter_v86(LOWOF(low_v86_limit), 0x3000), GP, 0);
	TRAPPED(enter_v86(LOWOF(low_v86_out), 0x3000), GP, 0); // the bitmap, whatever IOPL
	CHECK(!enter_v86(LOWOF(low_v86_cli), 0x3200));
	CHECK_EQ(last.eflags >> 9 & 1, 0);
	CHECK(!enter_v86(LOWOF(low_v86_iret), 0x3000));
	CHECK_EQ(last.eax, 0x99);
	gate(0x81, trap_entries + 16 * 0x81, 3, 14, UCS & ~3); // a handler that is not at CPL 0
	TRAPPED(enter_v86(LOWOF(low_v86_int), 0x3000), GP, UCS & ~3);
}

// Tables for long mode: 4 MiB by 2 MiB pages.
extern char long_body[];
__asm__(".text\n.code64\nlong_body:\n	mov $0x123456789abcdef0, %rax\n	mov %rax, %r15\n	shr $32, %r15\n	mov %r15d, %eax\n	ret\n.code32\n");

static uint32_t long_tables(void)
{
	uint32_t root = page_alloc(), pdpt = page_alloc(), pd = page_alloc();
	*(uint32_t *)root = pdpt | 3;
	*(uint32_t *)pdpt = pd | 3;
	for (uint32_t i = 0; i < 512; i++)
		*(uint32_t *)(pd + 8 * i) = i << 21 | 0x83;
	return root;
}

TEST(long_mode_and_back)
{
	uint32_t root = long_tables();
	for (int i = 0; i < 10; i++) {
		CHECK_EQ(long_mode(root, long_body), 0x12345678);
		CHECK_EQ(read_cr0() >> 31, 0);
		CHECK_EQ((uint32_t)rdmsr(0xc0000080), 0);
		CHECK_EQ(real_mode(LOWOF(low_sum)), 5050 + 0x1234);
	}
}

extern char sysenter_entry[];
__asm__(".text\nsysenter_entry:\n	mov %cs, %eax\n	mov %eax, params\n	mov %ss, %eax\n	mov %eax, params+4\n	mov %esp, params+8\n	mov %esi, %edx\n	mov %edi, %ecx\n	sysexit\n");
static void user_sysenter(uint32_t a)
{
	(void)a;
	__asm__ volatile("mov %%esp, %%edi; mov $1f, %%esi; sysenter; 1: mov %%cs, %%eax; mov %%eax, params+12; mov %%ss, %%eax; mov %%eax, params+16" : : : "eax", "ecx", "edx", "esi", "edi", "memory");
}

TEST(sysenter_and_sysexit)
{
	static uint32_t stack[64];
	wrmsr(0x174, KCS), wrmsr(0x175, (uint32_t)(stack + 64)), wrmsr(0x176, (uint32_t)sysenter_entry);
	USER_RUNS(user_sysenter, 0);
	CHECK_EQ(params[0], KCS);
	CHECK_EQ(params[1], KDS);
	CHECK_EQ(params[2], stack + 64);
	CHECK_EQ(params[3], UCS);
	CHECK_EQ(params[4], UDS);
}
