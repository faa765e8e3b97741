// SPDX-License-Identifier: Apache-2.0
/* What a program should not do. The driver refuses it, or the program dies of it alone: none of it
 * may be heard of in the kernel's log. "misuse hold" registers and waits to be killed. */
#include "check.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>

static volatile unsigned long received;

static void HANDLER handler(frame_t *frame, vector_t vector)
{
	(void)frame, (void)vector;
	received++;
}

/* Descriptors close before, between and after what they stand for. */
static void odd_order(void)
{
	for (int i = 0; i < 50; i++) {
		long fd, index, table;

		REQUIRE(!register_handler(handler, i & 1 ? WAITING_ANY : 0));
		fd = vector_fd(i, 0);
		index = register_sender(fd, 0);
		table = ipi_fd(0);
		REQUIRE(fd >= 0 && index == 0 && table >= 0);
		if (i % 3 == 0)
			close(fd);
		_senduipi(index);
		if (i % 5)
			_stui();
		if (i % 3 == 1)
			EXPECT(unregister_handler(0), 0);
		_senduipi(index);
		EXPECT(unregister_sender(index, 0), 0);
		close(table);
		if (i % 3 != 1)
			EXPECT(unregister_handler(0), 0);
		if (i % 3)
			close(fd);
	}
}

static void *fleeting(void *arg)
{
	long fd;

	if (register_handler(handler, WAITING_RECEIVER))
		return NULL;
	fd = vector_fd(1, 0);
	*(volatile long *)arg = fd;
	_stui();
	sched_yield();
	return NULL; /* without a word */
}

/* Threads come and go while others send to them. */
static void short_lives(void)
{
	for (int i = 0; i < 200; i++) {
		volatile long fd = -1;
		pthread_t thread;
		long index = -1;

		REQUIRE(!pthread_create(&thread, NULL, fleeting, (void *)&fd));
		while (fd < 0)
			sched_yield();
		index = register_sender(fd, 0);
		if (index >= 0) {
			for (int k = 0; k < 20; k++)
				_senduipi(index);
			EXPECT(unregister_sender(index, 0), 0);
		} else {
			EXPECT(index, -ESHUTDOWN);
		}
		close(fd);
		pthread_join(thread, NULL);
	}
}

static void *spinning(void *index)
{
	for (;;)
		_senduipi((long)index);
	return NULL;
}

/* Everything ends in the midst of it. */
static void killed(void)
{
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();

		if (!pid) {
			pthread_t thread;
			long index;

			REQUIRE(!register_handler(handler, WAITING_ANY));
			index = register_self(1, 0);
			_stui();
			pthread_create(&thread, NULL, spinning, (void *)index);
			pthread_create(&thread, NULL, spinning, (void *)index);
			for (;;)
				uintr_wait(1000, 0);
		}
		usleep(20000);
		kill(pid, SIGKILL);
		REQUIRE(waitpid(pid, NULL, 0) == pid);
	}
}

/* Entries come and go under a thread that sends by them. */
static void *sending(void *done)
{
	while (!*(volatile unsigned long *)done) {
		_senduipi(0);
		sched_yield();
	}
	return NULL;
}

static void on_fault(int number)
{
	(void)number;
	_exit(0); /* what the sender was promised */
}

static void withdrawn(void)
{
	volatile unsigned long done = 0;
	pthread_t thread;

	signal(SIGSEGV, on_fault);
	REQUIRE(!register_handler(handler, 0) && register_self(1, 0) == 0);
	REQUIRE(!pthread_create(&thread, NULL, sending, (void *)&done));
	for (int i = 0; i < 1000; i++) {
		EXPECT(unregister_sender(0, 0), 0);
		EXPECT(register_self(1, 0), 0);
	}
	done = 1;
	pthread_join(thread, NULL);
}

/* UIRET, TESTUI and the rest by a thread that is nobody. */
static void unregistered_uiret(void)
{
	asm volatile("movq $16, %%rsp\n .byte 0xf3, 0x0f, 0x01, 0xec" ::: "memory");
}

static void uiret_from_nowhere(void)
{
	REQUIRE(!register_handler(handler, 0));
	unregistered_uiret();
}

static void uiret_to_kernel(void)
{
	static uint64_t frame[3] = { 0xffffffff81000000, 2, 0 };

	REQUIRE(!register_handler(handler, 0));
	asm volatile("movq %0, %%rsp\n .byte 0xf3, 0x0f, 0x01, 0xec" :: "r"(frame) : "memory");
}

static void locked(void)
{
	REQUIRE(!register_handler(handler, 0));
	asm volatile(".byte 0xf0, 0xf3, 0x0f, 0x01, 0xef");
}

static void vforked(void)
{
	int status;
	pid_t pid;

	REQUIRE(!register_handler(handler, 0) && register_self(3, 0) == 0);
	_stui();
	pid = vfork();
	if (!pid) {
		_senduipi(0); /* the table is the address space's */
		_exit(0);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	EXPECT(status, 0);
	EXPECT(becomes(&received, 1), true);
}

/* Filters see the numbers. */
static void filtered(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 471, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 476, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };

	REQUIRE(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
	EXPECT(register_handler(handler, 0), -EPERM);
	EXPECT(unregister_handler(0), -EINVAL);
	if (failures)
		_exit(1);
	uintr_wait(1, 0);
}

/* A tracer sees them too, can forbid one and change another. */
static void traced(void)
{
	struct user_regs_struct regs;
	int status, seen[16] = { 0 };
	pid_t pid = fork();

	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		EXPECT(register_handler(handler, 0), 0);
		EXPECT(vector_fd(1, 0), -ENOSYS);	/* forbidden */
		EXPECT(call(39, 0, 0, 0), -EINVAL);	/* getpid, changed to unregister_handler(1) */
		EXPECT(unregister_handler(0), 0);
		_exit(failures != 0);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD);
	for (bool enters = true;; enters = !enters) {
		ptrace(PTRACE_SYSCALL, pid, 0, 0);
		REQUIRE(waitpid(pid, &status, 0) == pid);
		if (WIFEXITED(status))
			break;
		if (!WIFSTOPPED(status) || WSTOPSIG(status) != (SIGTRAP | 0x80) || !enters)
			continue;
		ptrace(PTRACE_GETREGS, pid, 0, &regs);
		if (regs.orig_rax >= 471 && regs.orig_rax <= 479)
			seen[regs.orig_rax - 471]++;
		if (regs.orig_rax == 473) {
			regs.orig_rax = -1;
			ptrace(PTRACE_SETREGS, pid, 0, &regs);
		} else if (regs.orig_rax == 39 && seen[0]) {
			regs.orig_rax = 472;
			regs.rdi = 1;
			ptrace(PTRACE_SETREGS, pid, 0, &regs);
		}
	}
	EXPECT(status, 0);
	EXPECT(seen[0], 1);
	EXPECT(seen[1], 1);
	EXPECT(seen[2], 1);
}

/* In use, it stays. */
static void unloading(void)
{
	long fd;

	REQUIRE(!register_handler(handler, 0));
	EXPECT(call(SYS_delete_module, (long)"uintr", O_NONBLOCK, 0), -EWOULDBLOCK);
	fd = vector_fd(0, 0);
	EXPECT(unregister_handler(0), 0);
	EXPECT(call(SYS_delete_module, (long)"uintr", O_NONBLOCK, 0), -EWOULDBLOCK);
	close(fd);
}

static void hold(void)
{
	REQUIRE(!register_handler(handler, WAITING_ANY) && register_self(0, 0) == 0);
	_stui();
	_senduipi(0);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "hold"))
		hold();
	EXPECT_OK(odd_order);
	EXPECT_OK(short_lives);
	EXPECT_OK(killed);
	EXPECT_OK(withdrawn);
	EXPECT_OK(vforked);
	EXPECT_OK(traced);
	EXPECT_SIGNAL(filtered, SIGSYS);
	EXPECT_SIGNAL(uiret_from_nowhere, SIGSEGV);
	EXPECT_SIGNAL(uiret_to_kernel, SIGSEGV);
	EXPECT_SIGNAL(locked, SIGILL);
	EXPECT(WIFSIGNALED(in_child(unregistered_uiret)), true);
	if (!getuid())
		EXPECT_OK(unloading);
	return verdict("misuse");
}
