// SPDX-License-Identifier: Apache-2.0
// Reads of 4 KiB, 4 MiB and 40 MiB mixed with work, and how the program hears of their completions.
//
//	aio [reads=N] [tasks=N] [rounds=N]
//
// Between one read and the next the program does its share of the tasks.
//
// sync: pread, and the work after it. io_uring: a submission that the kernel's thread (SQPOLL) takes
// up on another CPU; the program looks for completions when its tasks allow it, before the next read.
// io_uring+uintr: the same, and each completion is a user interrupt (its eventfd bound to a
// vector of the driver's), whose handler takes it at once.
//
// total is of all reads and tasks; a latency is from before a read is submitted to when its
// completion was taken. All reads are direct, each into a buffer of its own, and judged.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <uintr_user.h>

#include "../uintr/uintr_ioctl.h"
#include "bench.h"

enum { BLOCK = 4096, FILE_SIZE = 48 << 20, ENTRIES = 1024, MOST = 1000, PATIENCE = 300 };

enum way { SYNC, URING, URING_UINTR, WAYS };

static const char *const names[] = {"sync", "io_uring", "io_uring+uintr"};

static const struct { const char *name; size_t size; } classes[] = {{"small", 4 << 10}, {"medium", 4 << 20}, {"large", 40 << 20}};

enum { SMALL, MEDIUM, LARGE, CLASSES };

struct transfer {
	int class;
	off_t offset;
	char *buffer;
	uint64_t begun, latency;
};

static struct {
	int file;
	uint32_t reads, tasks;
	struct transfer transfers[MOST];
	volatile uint32_t done; // taken, by the program or its handler
	// io_uring
	int fd;
	_Atomic uint32_t *sq_head, *sq_tail, *sq_flags, *cq_head, *cq_tail;
	uint32_t sq_mask, cq_mask, *sq_array;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	void *sq, *cq;
	size_t sq_size, cq_size, sqes_size;
} s;

// The nth read's kind: one of 100 is large, one of 11 medium.
static int class_of(uint32_t n)
{
	return n % 100 == 50 ? LARGE : n % 11 == 5 ? MEDIUM : SMALL;
}

static void make_file(void)
{
	char name[] = "/var/tmp/gvmm-bench-XXXXXX";
	static char block[1 << 20] __attribute__((aligned(4096)));

	s.file = (int)must(mkostemp(name, O_DIRECT), "a file in /var/tmp for direct reads");
	must(unlink(name), "unlink");
	for (uint64_t at = 0; at < FILE_SIZE; at += sizeof block) {
		for (size_t i = 0; i < sizeof block; i += BLOCK)
			*(uint64_t *)(block + i) = (at + i) / BLOCK;
		if (must(pwrite(s.file, block, sizeof block, (off_t)at), "pwrite") != sizeof block)
			die("a short write: is /var/tmp full?");
	}
	must(fsync(s.file), "fsync");
}

static void make_transfers(void)
{
	for (uint32_t n = 0; n < s.reads; n++) {
		struct transfer *t = &s.transfers[n];
		size_t size;

		t->class = class_of(n);
		size = classes[t->class].size;
		t->offset = (off_t)(n * 37 * (uint64_t)BLOCK % (FILE_SIZE - size + BLOCK) / BLOCK * BLOCK);
		t->buffer = shared(size);
	}
}

static void judge(struct transfer *t)
{
	size_t size = classes[t->class].size;

	for (size_t at = 0; at < size; at += BLOCK)
		if (*(uint64_t *)(t->buffer + at) != ((uint64_t)t->offset + at) / BLOCK)
			die("a read of %zu bytes at %ld brought something else", size, (long)t->offset);
	memset(t->buffer, 0xff, BLOCK);
	*(uint64_t *)(t->buffer + size - BLOCK) = UINT64_MAX;
}

// A few milliseconds: most reads are done before the program has done its share.
static void task(void)
{
	static volatile uint64_t state = 1;
	uint64_t x = state;

	for (int i = 0; i < 1500000; i++)
		x = x * 6364136223846793005 + 1442695040888963407;
	state = x;
}

static void open_ring(const cpu_set_t *allowed)
{
	struct io_uring_params p = {.flags = IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF, .sq_thread_idle = 10000};
	char *sq, *cq;

	while (!CPU_ISSET(p.sq_thread_cpu, allowed))
		p.sq_thread_cpu++;
	do // the second that the program may use: the first is its own
		p.sq_thread_cpu++;
	while (!CPU_ISSET(p.sq_thread_cpu, allowed));
	s.fd = (int)must(syscall(SYS_io_uring_setup, ENTRIES, &p), "io_uring_setup");
	s.sq_size = p.sq_off.array + p.sq_entries * sizeof(uint32_t);
	s.cq_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	s.sqes_size = p.sq_entries * sizeof(struct io_uring_sqe);
	s.sq = mmap(NULL, s.sq_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, s.fd, IORING_OFF_SQ_RING);
	s.cq = mmap(NULL, s.cq_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, s.fd, IORING_OFF_CQ_RING);
	s.sqes = mmap(NULL, s.sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, s.fd, IORING_OFF_SQES);
	if (s.sq == MAP_FAILED || s.cq == MAP_FAILED || s.sqes == MAP_FAILED)
		die("mmap of the ring: %s", strerror(errno));
	sq = s.sq;
	cq = s.cq;
	s.sq_head = (void *)(sq + p.sq_off.head);
	s.sq_tail = (void *)(sq + p.sq_off.tail);
	s.sq_flags = (void *)(sq + p.sq_off.flags);
	s.sq_mask = *(uint32_t *)(sq + p.sq_off.ring_mask);
	s.sq_array = (void *)(sq + p.sq_off.array);
	s.cq_head = (void *)(cq + p.cq_off.head);
	s.cq_tail = (void *)(cq + p.cq_off.tail);
	s.cq_mask = *(uint32_t *)(cq + p.cq_off.ring_mask);
	s.cqes = (void *)(cq + p.cq_off.cqes);
}

static void close_ring(void)
{
	munmap(s.sq, s.sq_size);
	munmap(s.cq, s.cq_size);
	munmap(s.sqes, s.sqes_size);
	close(s.fd);
}

static void submit(uint32_t n)
{
	struct transfer *t = &s.transfers[n];
	uint32_t tail = atomic_load_explicit(s.sq_tail, memory_order_relaxed);

	while (tail - atomic_load_explicit(s.sq_head, memory_order_acquire) > s.sq_mask)
		relax();
	s.sqes[tail & s.sq_mask] = (struct io_uring_sqe){
		.opcode = IORING_OP_READ, .fd = s.file, .addr = (uintptr_t)t->buffer, .len = (uint32_t)classes[t->class].size, .off = (uint64_t)t->offset, .user_data = n,
	};
	s.sq_array[tail & s.sq_mask] = tail & s.sq_mask;
	t->begun = ticks();
	atomic_store(s.sq_tail, tail + 1); // before the flag is looked at
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(s.sq_flags) & IORING_SQ_NEED_WAKEUP)
		must(syscall(SYS_io_uring_enter, s.fd, 0, 0, IORING_ENTER_SQ_WAKEUP, NULL, 0), "io_uring_enter");
}

// Takes the completions that are there: in the program, or in its handler.
static void reap(void)
{
	uint32_t head = atomic_load_explicit(s.cq_head, memory_order_relaxed);

	while (head != atomic_load_explicit(s.cq_tail, memory_order_acquire)) {
		const struct io_uring_cqe *c = &s.cqes[head & s.cq_mask];
		struct transfer *t;

		if (c->user_data >= s.reads)
			die("a completion of read %llu", (unsigned long long)c->user_data);
		t = &s.transfers[c->user_data];
		if (c->res < 0 || (size_t)c->res != classes[t->class].size)
			die("a read of %zu bytes ended with %d", classes[t->class].size, c->res);
		t->latency = ticks() - t->begun;
		s.done++;
		atomic_store_explicit(s.cq_head, ++head, memory_order_release);
	}
}

static void on_completion(unsigned vector, void *context)
{
	(void)vector;
	(void)context;
	reap();
}

static bool all_done(void *context)
{
	(void)context;
	return s.done == s.reads;
}

static int check(int result, const char *what)
{
	if (result < 0)
		die("%s: %s", what, strerror(-result));
	return result;
}

static void read_now(uint32_t n)
{
	struct transfer *t = &s.transfers[n];
	size_t size = classes[t->class].size;

	t->begun = ticks();
	if ((size_t)must(pread(s.file, t->buffer, size, t->offset), "pread") != size)
		die("a short read of %zu bytes", size);
	t->latency = ticks() - t->begun;
	s.done++;
}

static void run(enum way way)
{
	uint32_t worked = 0;

	for (uint32_t n = 0; n < s.reads; n++) {
		if (way == SYNC)
			read_now(n);
		else
			submit(n);
		for (; worked < (uint64_t)s.tasks * (n + 1) / s.reads; worked++)
			task();
		if (way == URING)
			reap();
	}
	if (way == URING_UINTR)
		check(uintr_wait_until(all_done, NULL, UINTR_FOREVER), "uintr_wait_until");
	while (s.done < s.reads) {
		must(syscall(SYS_io_uring_enter, s.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0), "io_uring_enter");
		reap();
	}
}

static void report(enum way way, int round, uint64_t total)
{
	static uint64_t samples[MOST];
	double ns = tick();

	bench_measure(round, "way", names[way], NULL);
	bench_value("total_ns", ns * (double)total);
	for (int class = 0; class < CLASSES; class++) {
		char name[32];
		double sum = 0;
		size_t count = 0;

		for (uint32_t n = 0; n < s.reads; n++)
			if (s.transfers[n].class == class) {
				samples[count++] = s.transfers[n].latency;
				sum += ns * (double)s.transfers[n].latency;
			}
		if (!count)
			continue;
		snprintf(name, sizeof name, "%s_sum_ns", classes[class].name);
		bench_value(name, sum);
		bench_samples(classes[class].name, samples, count);
	}
	bench_done();
}

static void measure(enum way way, int round, const cpu_set_t *allowed)
{
	int event = -1, channel = -1;
	uint64_t begin, total;

	bench_doing = names[way];
	s.done = 0;
	alarm(PATIENCE);
	if (way != SYNC)
		open_ring(allowed);
	if (way == URING_UINTR) {
		event = (int)must(eventfd(0, EFD_NONBLOCK), "eventfd");
		must(syscall(SYS_io_uring_register, s.fd, IORING_REGISTER_EVENTFD, &event, 1), "io_uring_register");
		check(uintr_receiver_start(0), "uintr_receiver_start");
		channel = check(uintr_channel_create(check(uintr_attach(UINTR_ANY, on_completion, NULL), "uintr_attach")), "uintr_channel_create");
		must(ioctl(channel, UVECFD_BIND_EVENTFD, &event), "binding of the eventfd to the vector");
	}
	begin = ticks();
	run(way);
	total = ticks() - begin;
	if (way == URING_UINTR) {
		check(uintr_receiver_stop(), "uintr_receiver_stop");
		close(channel);
		close(event);
	}
	if (way != SYNC)
		close_ring();
	alarm(0);
	for (uint32_t n = 0; n < s.reads; n++)
		judge(&s.transfers[n]);
	report(way, round, total);
}

static void on_alarm(int number)
{
	(void)number;
	dprintf(STDERR_FILENO, "aio: %s: a completion was lost: %u of %u came in %d s\n", bench_doing, s.done, s.reads, PATIENCE);
	_exit(1);
}

int main(int argc, char **argv)
{
	static const char *const known[] = {"reads", "tasks", "rounds", NULL};
	cpu_set_t allowed;
	int rounds;
	bool uintr;

	(void)argc;
	bench_doing = "aio";
	options(argv, known);
	s.reads = (uint32_t)option(argv, "reads", 200, 1, MOST);
	s.tasks = (uint32_t)option(argv, "tasks", 1000, 0, 1000000);
	rounds = (int)option(argv, "rounds", 3, 1, 1000);
	must(sched_getaffinity(0, sizeof allowed, &allowed), "sched_getaffinity");
	if (CPU_COUNT(&allowed) < 2)
		die("the program and io_uring's thread want a CPU each");
	pin(&allowed, 0);
	signal(SIGALRM, on_alarm);
	make_file();
	make_transfers();
	bench_begin();
	uintr = have_uintr();
	for (int round = 0; round < rounds; round++)
		for (int way = SYNC; way < (uintr ? WAYS : URING_UINTR); way++)
			measure((enum way)way, round, &allowed);
	bench_end();
	return 0;
}
