// A child process that executes cases natively: registers are loaded, the code at a
// fixed address runs, and what came of it is stored. Faults come as signals.
//
// File descriptor 3 is memory shared with the parent, laid out as struct shared. A
// 32-bit number on standard input has that many cases run; a byte on standard output
// says that they are done.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define SCRATCH 0x10000000UL
#define SCRATCH_SIZE 0x4000
#define CODE 0x20000000UL
#define START 0x800
#define STATE 0x5ab3c000UL
#define LEAVE 0x5ab3d000UL
#define LEAVE32 0x800 // the same for 32-bit code
#define CS64 0x33     // Linux's
#define CS32 0x23
#define SS 0x2b
#define BATCH 512

struct test {
	uint64_t gpr[16], rflags;
	uint32_t len, narrow; // narrow: in a 32-bit code segment
	uint8_t code[64];
	uint8_t fx[512];
};

struct result {
	uint64_t gpr[16], rflags, rip, cr2;
	uint32_t trap, error, from, to;
	uint64_t unused;
	uint8_t fx[512];
};

struct shared {
	uint32_t wide, current; // 57-bit addresses; the case under way
	uint8_t unused[4088];
	uint8_t memory[SCRATCH_SIZE];
	struct test tests[BATCH];
	struct result results[BATCH];
	uint8_t changed[BATCH][SCRATCH_SIZE];
};

// block is at an address that instructions can name without a register.
struct block {
	uint64_t gpr[16], rflags, host; // 0, 0x80, 0x88
	uint64_t frame[5];              // 0x90: RIP, CS, RFLAGS, RSP, SS for IRETQ
	uint32_t mxcsr, trap, error, busy;
	uint64_t rip, cr2;
	uint8_t unused[0x200 - 0xd8];
	uint8_t fx[512]; // 0x200
};

#define state ((volatile struct block *)STATE)

extern char leave[], leave_end[], resume[];
void enter(void);

// enter loads everything from the state and goes to its frame by IRETQ, which
// serialises: the code was written through another mapping. leave is copied to a
// page where each case jumps in the end.
__asm__(
	".text\n"
	"enter:\n"
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"mov %rsp, 0x5ab3c088\n"
	"fxrstor64 0x5ab3c200\n"
	"mov 0x5ab3c000, %rax; mov 0x5ab3c008, %rcx; mov 0x5ab3c010, %rdx; mov 0x5ab3c018, %rbx\n"
	"mov 0x5ab3c028, %rbp; mov 0x5ab3c030, %rsi; mov 0x5ab3c038, %rdi; mov 0x5ab3c040, %r8\n"
	"mov 0x5ab3c048, %r9; mov 0x5ab3c050, %r10; mov 0x5ab3c058, %r11; mov 0x5ab3c060, %r12\n"
	"mov 0x5ab3c068, %r13; mov 0x5ab3c070, %r14; mov 0x5ab3c078, %r15\n"
	"mov $0x5ab3c090, %esp\n"
	"iretq\n"
	"leave:\n"
	"mov %rax, 0x5ab3c000; mov %rcx, 0x5ab3c008; mov %rdx, 0x5ab3c010; mov %rbx, 0x5ab3c018\n"
	"mov %rsp, 0x5ab3c020; mov %rbp, 0x5ab3c028; mov %rsi, 0x5ab3c030; mov %rdi, 0x5ab3c038\n"
	"mov %r8, 0x5ab3c040; mov %r9, 0x5ab3c048; mov %r10, 0x5ab3c050; mov %r11, 0x5ab3c058\n"
	"mov %r12, 0x5ab3c060; mov %r13, 0x5ab3c068; mov %r14, 0x5ab3c070; mov %r15, 0x5ab3c078\n"
	"mov 0x5ab3c088, %rsp\n"
	"pushfq; pop %rax; mov %rax, 0x5ab3c080\n"
	"fxsave64 0x5ab3c200\n"
	"push $0x202; popfq\n"
	"fninit; ldmxcsr 0x5ab3c0b8\n"
	"pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"ret\n"
	"leave_end:\n"
	"resume:\n"
	"push $0x202; popfq\n"
	"fninit; ldmxcsr 0x5ab3c0b8\n"
	"pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"ret\n");

_Static_assert(offsetof(struct block, host) == 0x88 && offsetof(struct block, frame) == 0x90 &&
	offsetof(struct block, mxcsr) == 0xb8 && offsetof(struct block, fx) == 0x200, "the assembly knows");

static struct shared *shared;
static uint8_t *code; // the code's pages, writable
static uint64_t fsbase;

static void restore_fs(void)
{
	if (fsbase)
		__asm__ volatile("wrfsbase %0" ::"r"(fsbase));
}

static void caught(int sig, siginfo_t *info, void *context)
{
	restore_fs();
	ucontext_t *u = context;
	greg_t *g = u->uc_mcontext.gregs;
	static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
		REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
	if (!state->busy)
		_exit(100 + sig);
	for (int i = 0; i < 16; i++)
		state->gpr[i] = g[order[i]];
	state->rflags = g[REG_EFL];
	state->rip = g[REG_RIP];
	state->cr2 = g[REG_CR2];
	state->trap = g[REG_TRAPNO];
	state->error = g[REG_ERR];
	memcpy((void *)state->fx, u->uc_mcontext.fpregs, 512);
	g[REG_RIP] = (greg_t)resume;
	g[REG_RSP] = state->host;
	g[REG_EFL] = 0x202;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffL) | CS64;
}

// changes finds what differs from the memory that every case starts with, and puts
// that back.
static void changes(struct result *r, uint8_t *to)
{
	uint64_t *m = (uint64_t *)SCRATCH, *old = (uint64_t *)shared->memory;
	size_t from = 0, end = SCRATCH_SIZE / 8;
	r->from = r->to = 0;
	if (!memcmp(m, old, SCRATCH_SIZE))
		return;
	while (m[from] == old[from])
		from++;
	while (m[end - 1] == old[end - 1])
		end--;
	r->from = from * 8;
	r->to = end * 8;
	memcpy(to, m + from, r->to - r->from);
	memcpy(m + from, old + from, r->to - r->from);
}

static void run(uint32_t n)
{
	struct test *t = &shared->tests[n];
	struct result *r = &shared->results[n];
	uint8_t *at = code + START;
	int32_t distance = LEAVE + (t->narrow ? LEAVE32 : 0) - (CODE + START + t->len + 5);

	memcpy(at, t->code, t->len);
	at[t->len] = 0xe9;
	memcpy(at + t->len + 1, &distance, 4);
	memcpy((void *)state->gpr, t->gpr, sizeof t->gpr);
	memcpy((void *)state->fx, t->fx, sizeof t->fx);
	state->frame[0] = CODE + START;
	state->frame[1] = t->narrow ? CS32 : CS64;
	state->frame[2] = t->rflags;
	state->frame[3] = t->gpr[4];
	state->trap = ~0u;
	state->error = 0;
	state->cr2 = 0;
	state->rip = CODE + START + t->len;
	state->busy = 1;
	enter();
	state->busy = 0;
	restore_fs();
	memcpy(r->gpr, (void *)state->gpr, sizeof r->gpr);
	memcpy(r->fx, (void *)state->fx, sizeof r->fx);
	r->rflags = state->rflags;
	r->rip = state->rip;
	r->cr2 = state->cr2;
	r->trap = state->trap;
	r->error = state->error;
	changes(r, shared->changed[n]);
	memset(at, 0xcc, t->len + 5);
}

static int sandbox(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

// wide reports 57-bit linear addresses: one with bit 50 set is canonical.
static uint32_t wide(void)
{
	static const uint8_t load[] = {0x48, 0x8b, 0x00}; // mov (%rax),%rax
	struct test *t = &shared->tests[0];
	memset(t, 0, sizeof *t);
	t->gpr[0] = 1UL << 50;
	t->rflags = 0x202;
	t->len = sizeof load;
	memcpy(t->code, load, sizeof load);
	t->fx[0] = 0x7f;
	t->fx[1] = 0x03;
	t->fx[24] = 0x80;
	t->fx[25] = 0x1f;
	run(0);
	return shared->results[0].trap == 14;
}

int main(void)
{
	static uint8_t stack[65536];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
	struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
	const int fixed = MAP_FIXED_NOREPLACE | MAP_POPULATE, anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
	uint32_t n, mxcsr = 0x1f80;

	int fd = memfd_create("code", 0);
	if (fd < 0 || ftruncate(fd, 0x2000))
		return 2;
	shared = mmap(0, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, 3, 0);
	code = mmap(0, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED || code == MAP_FAILED)
		return 2;
	if (mmap((void *)SCRATCH, SCRATCH_SIZE, PROT_READ | PROT_WRITE, anonymous | fixed, -1, 0) != (void *)SCRATCH ||
		mmap((void *)STATE, 4096, PROT_READ | PROT_WRITE, anonymous | fixed, -1, 0) != (void *)STATE ||
		mmap((void *)LEAVE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, anonymous | fixed, -1, 0) != (void *)LEAVE ||
		mmap((void *)CODE, 0x2000, PROT_READ | PROT_EXEC, MAP_SHARED | fixed, fd, 0) != (void *)CODE)
		return 3;
	memset(code, 0xcc, 0x2000);
	memcpy((void *)LEAVE, leave, leave_end - leave);
	memcpy((void *)(LEAVE + LEAVE32), "\xea\x00\xd0\xb3\x5a\x33\x00", 7); // ljmp $CS64, $LEAVE

	state->frame[4] = SS;
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"(SS)); // 32-bit code needs them
	state->mxcsr = mxcsr;
	if (getauxval(AT_HWCAP2) & 2)
		__asm__ volatile("rdfsbase %0" : "=r"(fsbase));
	if (sigaltstack(&alternate, 0))
		return 4;
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		if (sigaction(signals[i], &action, 0))
			return 4;
	if (sandbox())
		return 5;
	memcpy((void *)SCRATCH, shared->memory, SCRATCH_SIZE);
	shared->wide = wide();
	if (write(1, "", 1) != 1)
		return 6;
	while (read(0, &n, sizeof n) == sizeof n) {
		memcpy((void *)SCRATCH, shared->memory, SCRATCH_SIZE);
		for (uint32_t i = 0; i < n && i < BATCH; i++) {
			shared->current = i;
			run(i);
		}
		if (write(1, "", 1) != 1)
			return 6;
	}
	return 0;
}
