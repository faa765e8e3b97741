// SPDX-License-Identifier: Apache-2.0
// Exceptions of every vector, their error codes and stacks, and those that meet each other.
#include "system.h"

#define CODE(name, text) static void name(uint64_t a) { __asm__ volatile(text : : "D"(a) : "rax", "rcx", "rdx", "memory", "cc"); }
#define BOTH(name, text) CODE(name, text) \
	USER static void user_##name(uint64_t a) { __asm__ volatile(text : : "D"(a) : "rax", "rcx", "rdx", "memory", "cc"); }

BOTH(divide_by_zero, "xor %%ecx, %%ecx; xor %%edx, %%edx; mov $1, %%eax; div %%ecx")
CODE(divide_overflow, "mov $1, %%ecx; mov $1, %%edx; xor %%eax, %%eax; div %%ecx")
CODE(divide_least, "mov $-1, %%ecx; mov $0x80000000, %%eax; cdq; idiv %%ecx")
CODE(divide_byte, "mov $0x7fff, %%eax; mov $1, %%cl; div %%cl")
BOTH(ud2, "ud2")
BOTH(into, ".byte 0xce")
BOTH(lock_nop, ".byte 0xf0, 0x90")
CODE(lock_register, ".byte 0xf0, 0x01, 0xc0")
BOTH(too_long, ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66; nop")
CODE(fninit, "fninit")
BOTH(sse, ".byte 0x0f, 0x57, 0xc0")
BOTH(load_ds, "mov %%edi, %%ds")
BOTH(load_ss, "mov %%edi, %%ss")
BOTH(ltr, "ltr %%di")
BOTH(lldt, "lldt %%di")
CODE(far_call, "mov %%edi, -12(%%rsp); movl $0x100000, -16(%%rsp); lcall *-16(%%rsp)")

TEST(exception_divide_error, 0)
{
	TRAPS(DE, 0, divide_by_zero, 0);
	TRAPS(DE, 0, divide_overflow, 0);
	TRAPS(DE, 0, divide_least, 0);
	TRAPS(DE, 0, divide_byte, 0);
	USER_TRAPS(DE, 0, user_divide_by_zero, 0);
}

TEST(exception_invalid_opcode, 0)
{
	TRAPS(UD, 0, ud2, 0);
	TRAPS(UD, 0, into, 0);
	TRAPS(UD, 0, lock_nop, 0);
	TRAPS(UD, 0, lock_register, 0);
	USER_TRAPS(UD, 0, user_ud2, 0);
	USER_TRAPS(UD, 0, user_lock_nop, 0);
	USER_TRAPS(UD, 0, user_into, 0);
}

TEST(exception_too_long_an_instruction, 0)
{
	TRAPS(GP, 0, too_long, 0);
	USER_TRAPS(GP, 0, user_too_long, 0);
}

TEST(exception_no_device, 0)
{
	write_cr0(read_cr0() | CR0_TS);
	TRAPS(NM, 0, fninit, 0);
	TRAPS(NM, 0, sse, 0);
	USER_TRAPS(NM, 0, user_sse, 0);
	__asm__ volatile("clts");
	RUNS(fninit, 0);
	RUNS(sse, 0);
	write_cr0(read_cr0() | CR0_EM);
	TRAPS(NM, 0, fninit, 0);
	TRAPS(UD, 0, sse, 0);
	write_cr0(read_cr0() & ~CR0_EM);
	write_cr4(read_cr4() & ~CR4_OSFXSR);
	TRAPS(UD, 0, sse, 0);
}

CODE(wait_, "fwait")
TEST(exception_wait_with_TS, 0)
{
	write_cr0(read_cr0() | CR0_TS);
	TRAPS(NM, 0, wait_, 0);
	write_cr0(read_cr0() & ~CR0_MP);
	RUNS(wait_, 0);
}

CODE(x87_error, "fninit; fnstcw -8(%%rsp); andw $0xffc0, -8(%%rsp); fldcw -8(%%rsp); fldz; fld1; fdiv %%st(1); fwait")
USER static void user_x87_error(uint64_t a)
{
	__asm__ volatile("fninit; fnstcw -8(%%rsp); andw $0xffc0, -8(%%rsp); fldcw -8(%%rsp); fldz; fld1; fdiv %%st(1); fwait" : : "D"(a) : "memory");
}

TEST(exception_x87_is_raised_by_the_next_instruction, 0)
{
	TRAPS(MF, 0, x87_error, 0);
	CHECK_EQ(*(uint8_t *)me()->trap.rip, 0x9b); // WAIT
	__asm__ volatile("fnclex; fninit");
	USER_TRAPS(MF, 0, user_x87_error, 0);
	__asm__ volatile("fnclex; fninit");
}

CODE(simd_error, "movl $0x1d80, -8(%%rsp); ldmxcsr -8(%%rsp); xorps %%xmm0, %%xmm0; movl $0x3f800000, -8(%%rsp); movss -8(%%rsp), %%xmm1; divss %%xmm0, %%xmm1")
TEST(exception_simd, 0)
{
	uint32_t m = 0x1f80;

	TRAPS(XM, 0, simd_error, 0);
	__asm__ volatile("stmxcsr %0" : "=m"(m));
	CHECK_EQ(m & 0x3f, 4); // ZE
	write_cr4(read_cr4() & ~CR4_OSXMMEXCPT);
	m = 0x1f80;
	__asm__ volatile("ldmxcsr %0" : : "m"(m));
	TRAPS(UD, 0, simd_error, 0);
	write_cr4(read_cr4() | CR4_OSXMMEXCPT);
	__asm__ volatile("ldmxcsr %0" : : "m"(m));
}

USER static void misaligned(uint64_t a) { __asm__ volatile("movl %%eax, 1(%0)" : : "r"(a) : "memory"); }
USER static void aligned(uint64_t a) { __asm__ volatile("movl %%eax, 4(%0)" : : "r"(a) : "memory"); }
extern char user_stack[], user_stack_top[];

TEST(exception_alignment, 0)
{
	uint64_t sp = (uint64_t)user_stack_top - 8, at = (uint64_t)user_stack;

	CHECK(!user_at(misaligned, at, UCS, 0x40002, sp)); // CR0.AM is 0
	write_cr0(read_cr0() | CR0_AM);
	CHECK(user_at(misaligned, at, UCS, 0x40002, sp));
	CHECK_EQ(me()->trap.vector, AC);
	CHECK_EQ(me()->trap.error, 0);
	CHECK(!user_at(aligned, at, UCS, 0x40002, sp));
	CHECK(!user_at(misaligned, at, UCS, 2, sp));
	__asm__ volatile("pushfq; orl $0x40000, (%%rsp); popfq; movl %%eax, 1(%0); pushfq; andl $~0x40000, (%%rsp); popfq" : : "r"(at) : "memory");
}

USER static void int3(uint64_t a) { (void)a; __asm__ volatile("int3"); }
static struct frame last;
static uint32_t events;
static bool keep(struct frame *f) { last = *f; events++; return true; }

TEST(exception_breakpoint_returns_behind_itself, 0)
{
	extern char behind[];

	events = 0;
	me()->hook = keep;
	__asm__ volatile("int3\nbehind: nop" : : : "memory");
	CHECK_EQ(events, 1);
	CHECK_EQ(last.vector, BP);
	CHECK_EQ(last.rip, behind);
	USER_RUNS(int3, 0);
	CHECK_EQ(events, 2);
	CHECK_EQ(last.cs, UCS);
	CHECK_EQ(last.ss, UDS);
}

TEST(exception_icebp, 0)
{
	extern char behind_icebp[];

	me()->hook = keep;
	write_dr6(0xffff0ff0);
	__asm__ volatile(".byte 0xf1\nbehind_icebp: nop" : : : "memory");
	CHECK_EQ(last.vector, DB);
	CHECK_EQ(last.rip, behind_icebp);
	CHECK_EQ(read_dr6() & 0xe00f, 0);
}

static uint8_t stub[16];
static void call_stub(uint64_t v)
{
	stub[0] = 0xcd, stub[1] = v, stub[2] = 0xc3; // INT v; RET
	execute((uint64_t)stub);
}

static bool has_code(int v) { return v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21 || v == 29 || v == 30; }

TEST(exception_int_n_reaches_every_vector, 0)
{
	me()->hook = keep;
	for (int v = 0; v < 256; v++) {
		if (has_code(v)) // INT n pushes none
			continue;
		events = 0;
		call_stub(v);
		CHECK_EQ(events, 1);
		CHECK_EQ(last.vector, v);
		CHECK_EQ(last.rip, stub + 2);
		CHECK_EQ(last.error, 0);
	}
	for (int v = 0; v < 32; v++)
		if (has_code(v)) {
			gate(v, trap_entries + 16 * 0x90, 0, 0, IDT_INTERRUPT, KCS);
			call_stub(v);
			CHECK_EQ(last.vector, 0x90);
			CHECK_EQ(last.rip, stub + 2);
		}
}

USER static void user_int(uint64_t v)
{
	switch (v) {
	case 0x80: __asm__ volatile("int $0x80"); break;
	case 0x30: __asm__ volatile("int $0x30"); break;
	case 14: __asm__ volatile("int $14"); break;
	case 1: __asm__ volatile(".byte 0xf1"); break;
	}
}

TEST(exception_gates_judge_the_privilege_of_INT, 0)
{
	USER_TRAPS(0x80, 0, user_int, 0x80);
	USER_TRAPS(GP, 0x30 * 8 + 2, user_int, 0x30);
	CHECK_EQ(*(uint16_t *)me()->trap.rip, 0x30cd);
	USER_TRAPS(GP, 14 * 8 + 2, user_int, 14);
	USER_TRAPS(DB, 0, user_int, 1); // INT1 is not judged
}

TEST(exception_gates_that_are_not_there, 0)
{
	idt[0x40].low &= ~(1ull << 47);
	TRAPS(NP, 0x40 * 8 + 2, call_stub, 0x40);
	gate(0x40, trap_entries, 0, 0, IDT_INTERRUPT, 0);
	TRAPS(GP, 0, call_stub, 0x40);
	gate(0x40, trap_entries, 0, 0, IDT_INTERRUPT, KDS); // no code
	TRAPS(GP, KDS, call_stub, 0x40);
	gate(0x40, trap_entries, 0, 0, IDT_INTERRUPT, KCS32); // not 64-bit
	TRAPS(GP, KCS32, call_stub, 0x40);
	gate(0x40, trap_entries, 0, 0, IDT_INTERRUPT, UCS & ~3); // DPL 3 from CPL 0
	TRAPS(GP, UCS & ~3, call_stub, 0x40);
	gate(0x40, trap_entries, 0, 0, IDT_INTERRUPT, 0xff8); // behind the GDT
	TRAPS(GP, 0xff8, call_stub, 0x40);
	gate(0x40, trap_entries, 0, 0, 12, KCS); // a call gate
	TRAPS(GP, 0x40 * 8 + 2, call_stub, 0x40);
	spare(0, 0x00af1b000000ffff); // code that is not present
	gate(0x40, trap_entries, 0, 0, IDT_INTERRUPT, SPARE);
	TRAPS(NP, SPARE, call_stub, 0x40);
	own_idt(0x40 * 16 + 14); // one byte short
	TRAPS(GP, 0x40 * 8 + 2, call_stub, 0x40);
	own_idt(0x1000 - 1);
	// Where an external interrupt or an exception meets it, EXT is set.
	gate(UD, trap_entries, 0, 0, IDT_INTERRUPT, KDS);
	TRAPS(GP, KDS + 1, ud2, 0);
	idt[UD].low &= ~(1ull << 47);
	TRAPS(NP, UD * 8 + 3, ud2, 0);
	idt[0x90].low &= ~(1ull << 47);
	TRAPS(NP, 0x90 * 8 + 3, (void (*)(uint64_t))sti, (apic_ipi(0, 0x44090), 0));
	apic_write(0xb0, 0);
}

TEST(exception_interrupt_and_trap_gates, 0)
{
	me()->hook = keep;
	for (int kind = IDT_INTERRUPT; kind <= IDT_TRAP; kind++) {
		extern char probe_flags[];
		static uint64_t inside;
		gate(0x41, probe_flags, 0, 0, kind, KCS);
		__asm__ volatile("sti; int $0x41; cli; jmp 1f\nprobe_flags: pushfq; popq %0; iretq; 1:" : "=m"(inside) : : "memory");
		CHECK_EQ(inside >> 9 & 1, kind == IDT_TRAP);
		CHECK_EQ(inside & 0x4100, 0); // NT, TF
	}
}

static uint64_t stack_seen;
static bool where(struct frame *f) { stack_seen = (uint64_t)f; last = *f; return true; }

TEST(exception_stacks, 0)
{
	uint64_t ist = page_alloc();

	me()->hook = where;
	gate(0x42, trap_entries + 16 * 0x42, 0, 3, IDT_INTERRUPT, KCS);
	me()->tss.ist[2] = ist + 4096 - 3; // it is aligned
	call_stub(0x42);
	CHECK_EQ(stack_seen, ist + 4080 - sizeof last);
	CHECK_EQ(last.ss, KDS);
	// The same stack is aligned too, wherever RSP is.
	gate(0x42, trap_entries + 16 * 0x42, 0, 0, IDT_INTERRUPT, KCS);
	for (int off = 0; off < 16; off++) {
		__asm__ volatile("mov %%rsp, %%rbx; sub $256, %%rsp; and $-16, %%rsp; sub %0, %%rsp; int $0x42; mov %%rbx, %%rsp" : : "r"((uint64_t)off) : "rbx", "memory");
		CHECK_EQ((stack_seen + sizeof last) & 15, 0);
		CHECK_EQ(last.rsp & 15, (uint64_t)-off & 15);
	}
	USER_RUNS(int3, 0);
	CHECK_EQ(stack_seen + sizeof last, (*(uint64_t *)((uint64_t)&me()->tss + 4)) & ~15ull);
	// An IST pointer that is not canonical is #SS inside the delivery: then on another stack.
	gate(SS, trap_entries + 16 * SS, 0, 1, IDT_INTERRUPT, KCS);
	me()->tss.ist[0] = ist + 4096;
	me()->hook = 0;
	gate(0x42, trap_entries + 16 * 0x42, 0, 3, IDT_INTERRUPT, KCS);
	me()->tss.ist[2] = 1ull << 50;
	TRAPS(SS, 0, call_stub, 0x42);
	me()->tss.ist[2] = ist + 4096;
}

TEST(exception_segments, 0)
{
	TRAPS(GP, 0xff8, load_ds, 0xff8);
	TRAPS(GP, 0xffc, load_ds, 0xfff); // an LDT that is not there
	TRAPS(GP, TSS(0), load_ds, TSS(0));
	spare(0, 0x00cf13000000ffff); // not present
	TRAPS(NP, SPARE, load_ds, SPARE);
	TRAPS(SS, SPARE, load_ss, SPARE);
	TRAPS(GP, UDS & ~3, load_ss, UDS);
	TRAPS(GP, KCS, load_ss, KCS);
	RUNS(load_ss, 0); // 64-bit code at CPL 0 may
	__asm__ volatile("mov %0, %%ss; mov %0, %%ds; mov %0, %%es" : : "r"(KDS));
	USER_TRAPS(GP, KDS, user_load_ds, KDS);
	USER_TRAPS(GP, 0, user_load_ss, 0);
	USER_RUNS(user_load_ds, 0);
	USER_RUNS(user_load_ds, UDS);
	TRAPS(GP, KDS, ltr, KDS);
	TRAPS(GP, 0, ltr, 0);
	TRAPS(GP, TSS(0), ltr, TSS(0)); // busy
	TRAPS(GP, KDS, lldt, KDS);
	USER_TRAPS(GP, 0, user_lldt, 0);
	USER_TRAPS(GP, 0, user_ltr, 0);
	TRAPS(GP, KDS, far_call, KDS);
	TRAPS(GP, 0, far_call, 0);
	TRAPS(GP, 0xff8, far_call, 0xff8);
	TRAPS(GP, UCS & ~3, far_call, UCS);
	spare(0, 0x00af1b000000ffff);
	TRAPS(NP, SPARE, far_call, SPARE);
}

TEST(exception_accessed_bits_of_descriptors, 0)
{
	spare(0, 0x00cf92000000ffff);
	load_ds(SPARE);
	CHECK_EQ(gdt[SPARE / 8], 0x00cf93000000ffff);
	load_ds(KDS);
}

static void df_setup(void)
{
	gate(DF, trap_entries + 16 * DF, 0, 1, IDT_INTERRUPT, KCS);
	me()->tss.ist[0] = page_alloc() + 4096;
}

TEST(exception_double_fault, 0)
{
	df_setup();
	// Contributory while contributory.
	idt[GP].low &= ~(1ull << 47);
	TRAPS(DF, 0, load_ds, 0xff8);
	idt[DE].low &= ~(1ull << 47);
	gate(NP, trap_entries, 0, 0, IDT_INTERRUPT, 0xff8);
	gate(GP, trap_entries + 16 * GP, 0, 0, IDT_INTERRUPT, KCS);
	TRAPS(DF, 0, divide_by_zero, 0);
	// Page fault, then contributory.
	gate(PF, trap_entries, 0, 0, IDT_INTERRUPT, 0xff8);
	TRAPS(DF, 0, read8, T);
	CHECK_EQ(read_cr2(), T);
	// Page fault, then page fault.
	gate(PF, trap_entries + 16 * PF, 0, 2, IDT_INTERRUPT, KCS);
	me()->tss.ist[1] = T + 0x800;
	*entry_of(T, 1) = 0;
	TRAPS(DF, 0, read8, T + 0x1000);
	CHECK(read_cr2() - (T + 0x7c0) < 64); // the second's
	// Contributory, then page fault, is the page fault.
	gate(PF, trap_entries + 16 * PF, 0, 0, IDT_INTERRUPT, KCS);
	gate(GP, trap_entries + 16 * GP, 0, 2, IDT_INTERRUPT, KCS);
	TRAPS(PF, 2, load_ds, 0xff8);
	CHECK(me()->cr2 - (T + 0x7c0) < 64);
	// Benign, then contributory, one after the other.
	gate(UD, trap_entries, 0, 0, IDT_INTERRUPT, 0xff8);
	gate(GP, trap_entries + 16 * GP, 0, 0, IDT_INTERRUPT, KCS);
	TRAPS(GP, 0xff9, ud2, 0);
}

static bool nest(struct frame *f)
{
	if (f->vector == PF && read_cr2() == T) { // a fault in the handler of a fault
		*(volatile uint8_t *)(T + 0x1000);
		map_new(T, P | W);
		return true;
	}
	if (f->vector == PF && read_cr2() == T + 0x1000) {
		last = *f;
		map_new(T + 0x1000, P | W);
		return true;
	}
	return false;
}

TEST(exception_handlers_may_fault_themselves, 0)
{
	*entry_of(T, 1) = *entry_of(T + 0x1000, 1) = 0;
	me()->hook = nest;
	store64(T, 0x1234);
	CHECK_EQ(load64(T), 0x1234);
	CHECK_EQ(last.vector, PF);
}

static bool skip_ud(struct frame *f) { last = *f; f->rip += 2; f->rflags &= ~0x10000ull; return true; }

TEST(exception_resume_flag_in_the_image, 0)
{
	me()->hook = skip_ud;
	__asm__ volatile("ud2");
	CHECK_EQ(last.rflags >> 16 & 1, 1); // a fault
	me()->hook = keep;
	__asm__ volatile("int $0x50");
	CHECK_EQ(last.rflags >> 16 & 1, 0); // no fault
	__asm__ volatile("int3");
	CHECK_EQ(last.rflags >> 16 & 1, 0);
}

#define PRIVILEGED(name, text) USER static void p_##name(uint64_t a) { __asm__ volatile(text : : "D"(a) : "rax", "rcx", "rdx", "memory"); }
PRIVILEGED(hlt, "hlt") PRIVILEGED(cli, "cli") PRIVILEGED(sti, "sti") PRIVILEGED(in, "in $0x80, %%al") PRIVILEGED(out, "out %%al, $0x80")
PRIVILEGED(lgdt, "lgdt (%%rdi)") PRIVILEGED(lidt, "lidt (%%rdi)") PRIVILEGED(cr, "mov %%cr0, %%rax") PRIVILEGED(to_cr, "mov %%rax, %%cr3")
PRIVILEGED(dr, "mov %%dr0, %%rax") PRIVILEGED(rdmsr, "rdmsr") PRIVILEGED(wrmsr, "wrmsr") PRIVILEGED(invlpg, "invlpg (%%rdi)")
PRIVILEGED(wbinvd, "wbinvd") PRIVILEGED(invd, "invd") PRIVILEGED(clts, "clts") PRIVILEGED(lmsw, "lmsw %%di") PRIVILEGED(swapgs, "swapgs")
PRIVILEGED(sysret, "sysretq") PRIVILEGED(sysexit, "sysexitl") PRIVILEGED(insb, "insb") PRIVILEGED(cr8, "mov %%cr8, %%rax")
static const struct { const char *name; void (*f)(uint64_t); } privileged[] = {
#define X(n) { #n, p_##n },
	X(hlt) X(cli) X(sti) X(in) X(out) X(lgdt) X(lidt) X(cr) X(to_cr) X(dr) X(rdmsr) X(wrmsr) X(invlpg) X(wbinvd) X(invd) X(clts) X(lmsw)
	X(swapgs) X(sysret) X(sysexit) X(insb) X(cr8)
};

TEST(exception_privileged_instructions, 0)
{
	for (unsigned i = 0; i < sizeof privileged / sizeof *privileged; i++) {
		bool trapped = user((void *)privileged[i].f, (uint64_t)user_stack);
		if (!trapped || me()->trap.vector != GP || me()->trap.error)
			failed(__FILE__, __LINE__, privileged[i].name, trapped ? me()->trap.vector : 0, GP, true);
	}
}

PRIVILEGED(sgdt, "sgdt (%%rdi)") PRIVILEGED(sidt, "sidt (%%rdi)") PRIVILEGED(sldt, "sldt %%eax") PRIVILEGED(str, "str %%eax") PRIVILEGED(smsw, "smsw %%eax")

TEST(exception_umip, NEEDS_UMIP)
{
	static void (*const all[])(uint64_t) = { p_sgdt, p_sidt, p_sldt, p_str, p_smsw };

	for (int i = 0; i < 5; i++)
		USER_RUNS(all[i], user_stack);
	write_cr4(read_cr4() | CR4_UMIP);
	for (int i = 0; i < 5; i++)
		USER_TRAPS(GP, 0, all[i], user_stack);
	write_cr4(read_cr4() & ~CR4_UMIP);
}

PRIVILEGED(rdtsc, "rdtsc")
TEST(exception_time_stamp_disable, 0)
{
	USER_RUNS(p_rdtsc, 0);
	write_cr4(read_cr4() | CR4_TSD);
	USER_TRAPS(GP, 0, p_rdtsc, 0);
	(void)rdtsc();
	write_cr4(read_cr4() & ~CR4_TSD);
}

TEST(exception_io_permission, 0)
{
	struct tss *t = &me()->tss;
	uint64_t sp = (uint64_t)user_stack_top - 8;

	t->io_bitmap = 104;
	fill(t->bitmap, 0xff, sizeof t->bitmap);
	USER_TRAPS(GP, 0, p_in, 0);
	t->bitmap[0x80 / 8] &= ~1;
	USER_RUNS(p_in, 0);
	USER_RUNS(p_out, 0);
	t->bitmap[0x80 / 8] |= 1;
	USER_TRAPS(GP, 0, p_in, 0);
	t->io_bitmap = 0xffff; // beyond the TSS's limit
	USER_TRAPS(GP, 0, p_in, 0);
	CHECK(!user_at(p_in, 0, UCS, 0x3002, sp)); // IOPL 3
	CHECK(!user_at(p_cli, 0, UCS, 0x3202, sp));
	CHECK(!user_at(p_sti, 0, UCS, 0x3002, sp));
}
