// SPDX-License-Identifier: Apache-2.0
// Runs the cases of uintr/uintrtest that the test put into memory, or, with soak=1, spins under
// notifications that the test sends and looks whether any of them is felt. With nested=1 a notification
// comes at each instruction of the microcode that the test names.
#include "user.h"
#include "../../../uintr/uintrtest/uintrtest.h"

#define CASES_MAX 256
#define DOORBELLS 256 /* one for each xAPIC id */
#define QUIET 0xffffffff
#define APIC_ISR 0xfffffffffee00100
#define APIC_IRR 0xfffffffffee00200
#define LOOP_ROUNDS 20000
#define SETTLING 64
#define RED_ZONE 128

enum { MSR_RR = 0x985, MSR_HANDLER, MSR_STACKADJUST, MSR_MISC, MSR_PD, MSR_TT };
enum { RAX, RBX, RCX, RDX, RSI, RDI, REGISTERS = 15 }; // as cases_entry.S has them

// The test's side: what it writes and reads.
struct ut_case cases[CASES_MAX];
uint64_t case_count;
struct ut_result results[CASES_MAX];
uint64_t lost_flags; /* of RFLAGS, by an IRETQ of the kernel's */
volatile uint32_t soak_stop;
volatile uint64_t soak_counts[64], soak_rounds;
uint64_t soak_uiret;
struct { uint64_t at, pushed; } nested_points[64]; /* pushed: bytes on the face's stack, or -1: not yet there */
uint64_t nested_count, nested_done;

// cases_entry.S
extern const struct ut_bases bases;
extern const uint64_t kernel_window, kernel_interrupts;
extern uint64_t case_registers[REGISTERS], case_rflags, case_rsp, case_entry;
extern volatile uint64_t ended_registers[REGISTERS], ended_rflags, ended_rsp, ended_rip;
extern volatile uint32_t ended_by_delivery, ended_by_fault;
extern char raise_interrupt[], case_fault[], soak_body[], soak_handler[];
void enter(void);

static volatile uint32_t doorbells[DOORBELLS][GVMM_PAGE / 4] __attribute__((aligned(GVMM_PAGE)));
static uint8_t stack_pages[2][GVMM_PAGE] __attribute__((aligned(GVMM_PAGE)));
static uint8_t fault_stack[1024] __attribute__((aligned(16)));
static struct fault fault = { .stack = (uint64_t)(fault_stack + sizeof fault_stack) };

static void poke(uint64_t to, const void *from, uint64_t n)
{
	system_call(SYS_POKE, to, n, (uint64_t)from);
}

static void poke64(uint64_t to, uint64_t v)
{
	poke(to, &v, sizeof v);
}

static void peek(uint64_t from, void *to, uint64_t n)
{
	system_call(SYS_PEEK, from, n, (uint64_t)to);
}

static uint64_t peek64(uint64_t from)
{
	uint64_t v;

	peek(from, &v, sizeof v);
	return v;
}

static void wrmsr(uint64_t msr, uint64_t v)
{
	if (system_call(SYS_WRMSR, msr, v, 0))
		die("an MSR does not take a case's value");
}

// prepare maps the scratch stack and puts pages of this program where doorbells would be.
static void prepare(void)
{
	enum { PRESENT_WRITE_USER = 7 };

	for (int i = 0; i < 2; i++)
		poke64(kernel_window + 8 * i, (uint64_t)stack_pages[i] | PRESENT_WRITE_USER);
	for (int i = 0; i < DOORBELLS; i++)
		doorbells[i][0] = QUIET;
	poke64(program_info->block + UC_DOORBELLS, (uint64_t)doorbells);
	poke64(program_info->block + UC_CPUS, DOORBELLS);
	system_call(SYS_FAULT, (uint64_t)case_fault, (uint64_t)&fault, 0);
}

// load makes the CPU's state and memory the case's. UIF last: nothing may be deliverable on the way.
static void load(const struct ut_case *c)
{
	const struct ut_state *s = &c->before;

	poke64(program_info->block + UC_UIF, 0);
	wrmsr(MSR_RR, s->uirr);
	wrmsr(MSR_HANDLER, s->handler);
	wrmsr(MSR_STACKADJUST, s->stackadjust);
	wrmsr(MSR_MISC, (uint64_t)s->uinv << 32 | s->uittsize);
	wrmsr(MSR_PD, s->upidaddr);
	wrmsr(MSR_TT, s->uittaddr);
	for (int i = 0; i < 2; i++)
		poke(bases.upid_array + 64 * i, c->upid[i], 16);
	poke(bases.uitt_array, c->uitt, sizeof c->uitt);
	if (c->flags & UT_FLAG_PLACE_FRAME)
		__builtin_memcpy((void *)c->rsp, c->frame, sizeof c->frame);
	poke64(program_info->block + UC_UIF, s->uif);
}

// look_for_lost_flags finds what a return from the kernel to a program leaves out, where CPL 0 is interpreted.
static void look_for_lost_flags(void)
{
	enum { USER_FLAGS = 0x244ed7 };
	uint64_t after;

	__asm__ volatile("push %1; popfq; int3; pushfq; pop %0; push $0x202; popfq"
			 : "=r"(after) : "r"((uint64_t)USER_FLAGS), "a"(-1ull) : "memory", "cc");
	lost_flags = USER_FLAGS & ~after;
}

// step enters at entry and wants every register but RAX back as it was.
static void step(uint64_t entry, uint64_t rflags, uint64_t rsp)
{
	case_entry = entry;
	case_rflags = rflags;
	case_rsp = rsp;
	ended_by_delivery = ended_by_fault = 0;
	enter();
	for (int i = RBX; i < REGISTERS; i++)
		if (ended_registers[i] != case_registers[i])
			die("a register is not what it was");
}

// raise has a vector arrive before the instruction at `at`, and tells whether the microcode took it.
static int raise(uint32_t vector, uint32_t uinv, uint64_t at, uint64_t rflags, uint64_t rsp)
{
	uint32_t waiting, served;
	uint64_t kernels = peek64(kernel_interrupts);

	system_call(SYS_GATE, vector, vector == uinv, 0);
	case_registers[RAX] = SYS_IPI;
	case_registers[RDI] = vector;
	case_registers[RSI] = at;
	step((uint64_t)raise_interrupt, rflags, rsp);
	peek(APIC_IRR + 16 * (vector / 32), &waiting, 4);
	peek(APIC_ISR + 16 * (vector / 32), &served, 4);
	if ((waiting | served) >> (vector % 32) & 1)
		die("an interrupt was not taken, or not ended");
	return peek64(kernel_interrupts) == kernels;
}

// rung looks which doorbell was stored to. In xAPIC mode NDST[15:8] is all that the place tells.
static void rung(struct ut_result *r)
{
	for (uint32_t i = 0; i < DOORBELLS; i++) {
		if (doorbells[i][0] == QUIET)
			continue;
		if (r->ipi_sent)
			die("two doorbells were rung");
		r->ipi_sent = 1;
		r->ipi_vector = doorbells[i][0];
		r->ipi_ndst = i << 8;
		doorbells[i][0] = QUIET;
	}
}

static void run(const struct ut_case *c, struct ut_result *r)
{
	for (int i = 0; i < REGISTERS; i++)
		case_registers[i] = 0x0101010101010101 * (i + 1);
	case_registers[RAX] = c->operand;
	load(c);
	if (c->op == UT_OP_NOTIFY)
		r->identified = raise(c->vector, c->before.uinv, bases.after[c->op], c->rflags, c->rsp);
	else
		step(bases.op[c->op], c->rflags, c->rsp);
	rung(r);
	if (r->ipi_sent && c->flags & UT_FLAG_LOOPBACK)
		r->identified = raise(r->ipi_vector, c->before.uinv, ended_rip, ended_rflags, ended_rsp);
}

static void report(struct ut_result *r)
{
	struct gvmm_cpu_block b;

	peek(program_info->block, &b, offsetof(struct gvmm_cpu_block, control));
	peek(program_info->block + UC_UIRR, &b.uirr, offsetof(struct gvmm_cpu_block, face_handler) - UC_UIRR);
	r->after = (struct ut_state){
		.uirr = b.uirr, .uif = b.uif, .handler = b.handler, .stackadjust = b.stackadjust, .upidaddr = b.pd,
		.uittaddr = b.tt, .uinv = b.misc >> 32, .uittsize = b.misc,
	};
	for (int i = 0; i < 2; i++)
		peek(bases.upid_array + 64 * i, r->upid[i], 16);
	r->rip = ended_rip;
	r->rsp = ended_rsp;
	r->rflags = ended_rflags;
	r->delivered = ended_by_delivery;
	if (ended_by_delivery)
		__builtin_memcpy(r->frame, (void *)ended_rsp, sizeof r->frame);
	if (ended_by_fault) {
		r->fault_vector = fault.vector;
		r->fault_error = fault.error;
		r->fault_address = fault.vector == 14 ? fault.address : 0;
		r->rip = fault.rip;
		r->rsp = fault.rsp;
		r->rflags = fault.rflags;
	}
	r->done = 1;
}

// spin is one look: a loop entered with flags and registers, under which the handler may run any number of times.
static void spin(uint64_t round)
{
	static uint64_t stack[64];
	static const uint64_t flags[] = { 0x202, 0x246, 0xa97, 0x693, 0x240202, 0x240ed7 };
	uint64_t *top = stack + 64, rflags = flags[round % (sizeof flags / sizeof *flags)];

	for (int i = 0; i < REGISTERS; i++)
		case_registers[i] = round ^ 0x9e3779b97f4a7c15 * (i + 1);
	case_registers[RCX] = LOOP_ROUNDS;
	for (int i = 1; i <= RED_ZONE / 8; i++)
		top[-i] = round * i;
	case_entry = (uint64_t)soak_body;
	case_rflags = rflags;
	case_rsp = (uint64_t)top;
	enter();
	case_registers[RCX] = 0;
	for (int i = 0; i < REGISTERS; i++)
		if (ended_registers[i] != case_registers[i])
			die("a register was changed under an interrupt");
	for (int i = 1; i <= RED_ZONE / 8; i++)
		if (top[-i] != round * i)
			die("the red zone was written to");
	if (ended_rsp != (uint64_t)top || ended_rflags != rflags)
		die("RSP or flags were changed under an interrupt");
}

static void soak(void)
{
	if (system_call(SYS_HANDLER, (uint64_t)soak_handler, 0, 0))
		die("no handler can be registered");
	soak_uiret = option("fast", 0) ? program_info->fast_uiret : 0;
	uintr_stui();
	soak_rounds = 1;
	while (!soak_stop)
		spin(soak_rounds++);
	for (int i = 0; i < SETTLING; i++)
		spin(soak_rounds++);
	uintr_clui();
	if (peek64(program_info->block + UC_UIRR) || peek64(program_info->upids + 8) || peek64(program_info->upids) & 1)
		die("a request was left over");
}

// nested has a notification with a request arrive at each of nested_points in uintr_enter, which a spurious one
// has brought the program to: the request must be delivered with the program's own context.
static void nested(void)
{
	enum { REQUEST = 9, UINV = 0xec, ON = 1 };
	const uint64_t rflags = 0xa97, rsp = bases.stack_top - 256, face_top = program_info->block + UC_FACE_TOP;
	volatile uint64_t *face = (uint64_t *)face_top;
	const struct ut_case c = {
		.before = { .uif = 1, .handler = bases.handler, .stackadjust = 128, .upidaddr = bases.upid_array, .uinv = UINV },
		.upid = { { ON | UINV << 16, 1 << REQUEST } },
	};

	for (; nested_done < nested_count; nested_done++) {
		uint64_t pushed = nested_points[nested_done].pushed;

		for (int i = 0; i < REGISTERS; i++)
			case_registers[i] = 0x0101010101010101 * (i + 1);
		load(&c);
		*(volatile uint64_t *)(program_info->block + UC_FACE_RIP) = bases.after[UT_OP_NOTIFY];
		*(volatile uint64_t *)(program_info->block + UC_FACE_RSP) = rsp;
		face[-1] = rflags;
		face[-2] = SYS_IPI;
		face[-3] = case_registers[RCX];
		raise(UINV, UINV, nested_points[nested_done].at, rflags, pushed == -1ull ? rsp : face_top - pushed);
		const uint64_t *frame = (uint64_t *)ended_rsp;
		if (!ended_by_delivery || frame[0] != REQUEST || frame[1] != bases.after[UT_OP_NOTIFY] || frame[3] != rsp ||
		    (frame[2] ^ rflags) & ~lost_flags || peek64(program_info->block + UC_UIRR))
			die("a request was lost, or came with another context");
	}
}

void on_user_interrupt(uint64_t vector, uint64_t tsc)
{
	(void)vector, (void)tsc;
	die("the common handler is not in use");
}

void thread_main(uint64_t cpu)
{
	(void)cpu;
}

int main(void)
{
	if (option("soak", 0)) {
		soak();
		return 0;
	}
	prepare();
	look_for_lost_flags();
	if (option("nested", 0)) {
		nested();
		return 0;
	}
	for (uint64_t i = 0; i < case_count && i < CASES_MAX; i++) {
		run(&cases[i], &results[i]);
		report(&results[i]);
	}
	return 0;
}
