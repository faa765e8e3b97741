// SPDX-License-Identifier: Apache-2.0
/* How interrupts arrive: order, nesting, masking, frames, stacks, signals, blocking, migration. */
#include "check.h"

#include <linux/io_uring.h>
#include <sys/eventfd.h>

static volatile unsigned long count[64], order[128], n;
static volatile uint64_t frame_rsp, frame_at;

static void HANDLER handler(frame_t *frame, vector_t vector)
{
	frame_rsp = frame->rsp;
	frame_at = (uint64_t)frame;
	order[n++ & 127] = vector;
	count[vector & 63]++;
}

static void HANDLER nesting(frame_t *frame, vector_t vector)
{
	(void)frame;
	order[n++ & 127] = vector;
	if (vector == 5) {
		_senduipi(60);
		_stui();
		while (count[60] == 0)
			;
	}
	count[vector & 63]++;
	order[n++ & 127] = vector + 100;
}

static void self(void *how, long flags)
{
	REQUIRE(!register_handler(how, flags));
	for (int v = 0; v < 64; v++)
		REQUIRE(register_self(v, 0) == v);
}

/* 64 pending come highest first. */
static void ordered(void)
{
	self(handler, 0);
	for (int v = 0; v < 64; v++)
		_senduipi(v);
	for (int v = 0; v < 64; v++)
		_senduipi(v); /* again: they coalesce */
	EXPECT(n, 0);
	_stui();
	EXPECT(becomes(&n, 64), true);
	for (int v = 0; v < 64; v++)
		EXPECT(order[v], 63 - v);
	EXPECT(_testui(), 1);
	_clui();
	EXPECT(_testui(), 0);
	_senduipi(3);
	usleep(1000);
	EXPECT(n, 64);
}

static void nested(void)
{
	static const unsigned long want[] = { 5, 60, 160, 105 };

	self(nesting, 0);
	_stui();
	_senduipi(5);
	EXPECT(becomes(&n, 4), true);
	for (int i = 0; i < 4; i++)
		EXPECT(order[i], want[i]);
}

/* 128 bytes below RSP stay, RFLAGS and registers too; the frame is aligned. */
static void red_zone(void)
{
	self(handler, 0);
	_stui();
	for (int i = 0; i < 200; i++) {
		unsigned long bad, flags_bad;
		volatile unsigned long before = n;

		asm volatile(
			"movq $0x5a5a5a5a, -8(%%rsp)\n movq $0x12345678, -128(%%rsp)\n movq %%rsp, %%r8\n xorl %%eax, %%eax\n"
			"stc\n .byte 0xf3, 0x0f, 0xc7, 0xf1\n" /* senduipi rcx */
			"setnc %%dl\n"
			"1: cmpq %3, %4\n je 1b\n"
			"cmpq $0x5a5a5a5a, -8(%%rsp)\n setne %%al\n"
			"cmpq $0x12345678, -128(%%rsp)\n setne %%ah\n"
			"cmpq %%rsp, %%r8\n je 2f\n movb $1, %%al\n 2:\n"
			"movzwl %%ax, %%eax\n movzbl %%dl, %%edx\n"
			: "=&a"(bad), "=&d"(flags_bad) : "c"((long)(i & 63)), "r"(before), "m"(n) : "r8", "memory", "cc");
		EXPECT(bad, 0);
		EXPECT(flags_bad, 0);
		EXPECT(frame_at & 7, 0);
		EXPECT(frame_rsp - frame_at >= 128, true);
	}
}

static void own_stack(void)
{
	size_t size = 1 << 20;
	char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	self(handler, 0);
	EXPECT(alt_stack(stack + size, size, 0), 0);
	_stui();
	for (int i = 0; i < 100; i++) {
		/* its pages go: delivery has to fault them in */
		REQUIRE(!madvise(stack, size, MADV_DONTNEED));
		_senduipi(1);
		EXPECT(becomes(&count[1], i + 1), true);
		EXPECT(frame_at >= (uint64_t)stack && frame_at < (uint64_t)stack + size, true);
	}
	EXPECT(alt_stack(NULL, 0, 0), 0);
	_senduipi(2);
	EXPECT(becomes(&count[2], 1), true);
	EXPECT(frame_at >= (uint64_t)stack && frame_at < (uint64_t)stack + size, false);
}

/* Frames that UIRET has to fault in. */
static void HANDLER swapping(frame_t *frame, vector_t vector)
{
	char *page = (char *)((uint64_t)frame & ~4095ull);

	if (madvise(page, 4096, MADV_PAGEOUT) && errno != EINVAL)
		_exit(7);
	count[vector & 63]++;
}

static void paged_out(void)
{
	self(swapping, 0);
	_stui();
	for (int i = 0; i < 20; i++) {
		_senduipi(1);
		EXPECT(becomes(&count[1], i + 1), true);
	}
}

static void bad_stack(void)
{
	self(handler, 0);
	alt_stack(4096, 0, 0);
	_stui();
	_senduipi(0);
	for (;;)
		usleep(1000);
}

static void bad_handler(void)
{
	self((void *)4096, 0);
	_stui();
	_senduipi(0);
	for (;;)
		usleep(1000);
}

static volatile unsigned long signals;

static void on_signal(int number)
{
	(void)number;
	signals++;
}

/* A signal comes while a handler runs: it sees UIF clear, and the handler goes on. */
static void HANDLER signalled(frame_t *frame, vector_t vector)
{
	unsigned long before = signals;

	(void)frame;
	raise(SIGUSR1);
	if (signals != before + 1 || _testui())
		_exit(7);
	count[vector & 63]++;
}

static void with_signals(void)
{
	signal(SIGUSR1, on_signal);
	self(signalled, 0);
	_stui();
	for (int i = 0; i < 100; i++) {
		_senduipi(4);
		EXPECT(becomes(&count[4], i + 1), true);
		EXPECT(signals, i + 1);
		EXPECT(_testui(), 1);
	}
}

/* A user interrupt comes while a signal's handler runs. */
static void inside(int number)
{
	(void)number;
	_senduipi(9);
	if (!becomes(&count[9], signals + 1))
		_exit(7);
	signals++;
}

static void in_signals(void)
{
	signal(SIGUSR1, inside);
	self(handler, 0);
	_stui();
	for (int i = 0; i < 100; i++)
		raise(SIGUSR1);
	EXPECT(signals, 100);
	EXPECT(_testui(), 1);
}

struct meeting {
	long index;
	volatile unsigned long go, stop, sent;
	int every_us;
};

static void *ringing(void *arg)
{
	struct meeting *m = arg;

	while (!m->stop) {
		if (m->go) {
			m->go = 0;
			usleep(m->every_us);
			m->sent++;
			_senduipi(m->index);
		}
		sched_yield();
	}
	return NULL;
}

/* Blocked in a call, receivers with either flag are woken, by EINTR, each time. */
static void blocked(long flags, bool own_call)
{
	struct meeting m = { .every_us = 3000 };
	int pipes[2], cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t thread;
	char byte;

	memset((void *)count, 0, sizeof(count));
	REQUIRE(!register_handler(handler, flags) && !pipe(pipes));
	m.index = register_self(20, 0);
	REQUIRE(m.index >= 0 && !pthread_create(&thread, NULL, ringing, &m));
	_stui();
	for (int i = 0; i < 50; i++) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(i % cpus, &set);
		sched_setaffinity(0, sizeof(set), &set);
		m.go = 1;
		if (own_call) {
			EXPECT(uintr_wait(20000000, 0), -EINTR);
		} else {
			EXPECT(read(pipes[0], &byte, 1), -1);
			EXPECT(errno, EINTR);
		}
		EXPECT(count[20], i + 1);
		EXPECT(m.sent, i + 1);
	}
	m.stop = 1;
	pthread_join(thread, NULL);
	EXPECT(unregister_sender(m.index, 0), 0);
	EXPECT(unregister_handler(0), 0);
}

static void wait_plain(void) { blocked(0, true); }
static void wait_receiver(void) { blocked(WAITING_RECEIVER, true); }
static void wait_sender(void) { blocked(WAITING_SENDER, true); }
static void read_receiver(void) { blocked(WAITING_RECEIVER, false); }
static void read_sender(void) { blocked(WAITING_SENDER, false); }
static void read_any(void) { blocked(WAITING_ANY, false); }

/* Without a flag a call that blocks stays, and the interrupt waits. */
static void unwoken(void)
{
	struct meeting m = { .every_us = 1000, .go = 1 };
	uint64_t before = now_ns();
	pthread_t thread;

	REQUIRE(!register_handler(handler, 0));
	m.index = register_self(20, 0);
	_stui();
	REQUIRE(!pthread_create(&thread, NULL, ringing, &m));
	EXPECT(usleep(100000), 0);
	EXPECT(now_ns() - before >= 100000000, true);
	EXPECT(becomes(&count[20], 1), true);
	m.stop = 1;
	pthread_join(thread, NULL);
}

/* Eventfds and io_uring's completions raise it. */
static void eventfds(void)
{
	int event = eventfd(0, 0), fd, other, none = -1;
	uint64_t one = 1;

	REQUIRE(!register_handler(handler, WAITING_RECEIVER));
	fd = vector_fd(30, 0);
	EXPECT(ioctl(fd, UVECFD_NOTIFY), 0);
	_stui();
	EXPECT(becomes(&count[30], 1), true);
	EXPECT(ioctl(fd, UVECFD_BIND_EVENTFD, &event), 0);
	other = event;
	EXPECT(ioctl(fd, UVECFD_BIND_EVENTFD, &other), -1);
	EXPECT(errno, EBUSY);
	for (int i = 0; i < 100; i++) {
		REQUIRE(write(event, &one, 8) == 8);
		EXPECT(becomes(&count[30], i + 2), true);
	}
	EXPECT(ioctl(fd, UVECFD_BIND_EVENTFD, &none), 0);
	REQUIRE(write(event, &one, 8) == 8);
	usleep(1000);
	EXPECT(count[30], 101);
}

static void uring(void)
{
	struct io_uring_params p = { 0 };
	int event = eventfd(0, 0), fd, ring = syscall(__NR_io_uring_setup, 8, &p);
	struct io_uring_sqe *sqes;
	char *sq, *cq;

	if (ring < 0 && errno == ENOSYS)
		return;
	REQUIRE(ring >= 0 && (p.features & IORING_FEAT_SINGLE_MMAP));
	sq = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	sqes = mmap(NULL, 8 * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
	if (sq == MAP_FAILED)
		sq = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	REQUIRE(sq != MAP_FAILED && sqes != MAP_FAILED);
	cq = sq;
	REQUIRE(!syscall(__NR_io_uring_register, ring, IORING_REGISTER_EVENTFD, &event, 1));
	REQUIRE(!register_handler(handler, WAITING_RECEIVER));
	fd = vector_fd(31, 0);
	EXPECT(ioctl(fd, UVECFD_BIND_EVENTFD, &event), 0);
	_stui();
	for (unsigned i = 0; i < 50; i++) {
		struct __kernel_timespec t = { .tv_nsec = 2000000 };

		sqes[i % 8] = (struct io_uring_sqe){ .opcode = i & 1 ? IORING_OP_TIMEOUT : IORING_OP_NOP, .addr = (uint64_t)&t, .len = 1 };
		((unsigned *)(sq + p.sq_off.array))[i % 8] = i % 8;
		__atomic_store_n((unsigned *)(sq + p.sq_off.tail), i + 1, __ATOMIC_RELEASE);
		REQUIRE(syscall(__NR_io_uring_enter, ring, 1, 0, 0, NULL, 0) == 1);
		EXPECT(becomes(&count[31], i + 1), true);
		EXPECT(__atomic_load_n((unsigned *)(cq + p.cq_off.tail), __ATOMIC_ACQUIRE), i + 1);
		__atomic_store_n((unsigned *)(cq + p.cq_off.head), i + 1, __ATOMIC_RELEASE);
	}
	/* Blocked in io_uring itself, with nothing to complete but a user interrupt. */
	EXPECT(ioctl(fd, UVECFD_NOTIFY), 0);
	EXPECT(becomes(&count[31], 51), true);
	{
		struct meeting m = { .every_us = 2000, .go = 1 };
		pthread_t thread;

		m.index = register_self(32, 0);
		REQUIRE(!pthread_create(&thread, NULL, ringing, &m));
		EXPECT(syscall(__NR_io_uring_enter, ring, 0, 60, IORING_ENTER_GETEVENTS, NULL, 0), -1);
		EXPECT(errno, EINTR);
		EXPECT(becomes(&count[32], 1), true);
		m.stop = 1;
		pthread_join(thread, NULL);
	}
}

int main(int argc, char **argv)
{
	static const struct { const char *name; void (*f)(void); } tests[] = {
#define T(f) { #f, f }
		T(ordered), T(nested), T(red_zone), T(own_stack), T(paged_out), T(with_signals), T(in_signals), T(wait_plain), T(wait_receiver),
		T(wait_sender), T(read_receiver), T(read_sender), T(read_any), T(unwoken), T(eventfds), T(uring),
#undef T
	};

	for (unsigned i = 0; i < sizeof(tests) / sizeof(*tests); i++) {
		int status;

		if (argc > 1 && strcmp(argv[1], tests[i].name))
			continue;
		status = in_child(tests[i].f);
		if (status)
			printf("in %s\n", tests[i].name);
		EXPECT(status, 0);
	}
	EXPECT_SIGNAL(bad_stack, SIGSEGV);
	EXPECT_SIGNAL(bad_handler, SIGSEGV);
	return verdict("receive");
}
