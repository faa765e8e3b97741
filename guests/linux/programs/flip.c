// SPDX-License-Identifier: Apache-2.0
// Handing a buffer over by remapping its pages against copying it, by size.
//
//	flip [samples=N] [rounds=N]
//
// copy: memcpy into the receiver's buffer. remap: mremap moves the pages to the receiver's address;
// this CPU's translations of them go. shoot-down: the same while another thread of the process
// runs on another CPU, which must be interrupted to drop its translations too. In all ways the
// receiver then reads a word of each page, so that the refill of what was dropped is in the time.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>

#include "bench.h"

enum { PAGE = 4096, LARGEST = 4 << 20, WARM = 4, MOST = 100000, PATIENCE = 120 };

enum way { COPY, REMAP, SHOOT_DOWN, WAYS };

static const char *const names[] = {"copy", "remap", "shoot-down"};

static cpu_set_t allowed;
static _Atomic bool running, leave;
static uint64_t times[MOST];

// A thread that is there: its CPU has the process's page tables loaded.
static void *bystander(void *unused)
{
	pin(&allowed, 1);
	atomic_store(&running, true);
	while (!atomic_load_explicit(&leave, memory_order_relaxed))
		relax();
	return unused;
}

// Two places for a buffer in one reservation; pages small, and there.
static char *reserve(size_t size)
{
	// Room to have both begin at a multiple of 2 MiB: the kernel may then move whole tables.
	const size_t align = 2 << 20, span = (size + align - 1) / align * align;
	char *p = mmap(NULL, 2 * span + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	return p + (align - (uintptr_t)p % align) % align;
}

static void populate(char *p, size_t size)
{
	if (mmap(p, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	(void)madvise(p, size, MADV_NOHUGEPAGE); // a kernel without huge pages does not know of it
	memset(p, 1, size);
}

static void mark(char *p, size_t size, uint64_t number)
{
	for (size_t at = 0; at < size; at += PAGE)
		*(uint64_t *)(p + at) = number + at;
}

static void judge(const char *p, size_t size, uint64_t number)
{
	for (size_t at = 0; at < size; at += PAGE)
		if (*(const volatile uint64_t *)(p + at) != number + at)
			die("page %zu of %zu is not what was handed over", at / PAGE, size / PAGE);
}

static void hand_over(enum way way, char *to, char *from, size_t size)
{
	if (way == COPY)
		memcpy(to, from, size);
	else if (mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
		die("mremap: %s", strerror(errno));
}

static void measure(enum way way, int round, size_t size, uint32_t samples)
{
	const size_t align = 2 << 20, span = (size + align - 1) / align * align;
	char *base = reserve(size), *from = base, *to = base + span, label[32];
	pthread_t thread;

	bench_doing = names[way];
	alarm(PATIENCE);
	populate(from, size);
	if (way == COPY)
		populate(to, size);
	running = leave = false;
	if (way == SHOOT_DOWN) {
		if ((errno = pthread_create(&thread, NULL, bystander, NULL)))
			die("pthread_create: %s", strerror(errno));
		while (!atomic_load(&running))
			sched_yield();
	}
	for (uint32_t n = 0; n < samples + WARM; n++) {
		uint64_t begin;
		char *was = from;

		mark(from, size, n);
		begin = ticks();
		hand_over(way, to, from, size);
		judge(to, size, n);
		if (n >= WARM)
			times[n - WARM] = ticks() - begin;
		from = to;
		to = was;
	}
	if (way == SHOOT_DOWN) {
		atomic_store(&leave, true);
		pthread_join(thread, NULL);
	}
	alarm(0);
	must(munmap(base, 2 * span), "munmap");
	snprintf(label, sizeof label, "%zu", size);
	bench_measure(round, "way", names[way], "bytes", label, NULL);
	bench_value("samples", samples);
	bench_samples("time", times, samples);
	bench_done();
}

static void on_alarm(int number)
{
	(void)number;
	dprintf(STDERR_FILENO, "flip: %s: not done in %d s\n", bench_doing, PATIENCE);
	_exit(1);
}

int main(int argc, char **argv)
{
	static const char *const known[] = {"samples", "rounds", NULL};
	uint32_t samples;
	int rounds, ways;

	(void)argc;
	bench_doing = "flip";
	options(argv, known);
	samples = (uint32_t)option(argv, "samples", 200, 1, MOST);
	rounds = (int)option(argv, "rounds", 3, 1, 1000);
	must(sched_getaffinity(0, sizeof allowed, &allowed), "sched_getaffinity");
	ways = CPU_COUNT(&allowed) < 2 ? SHOOT_DOWN : WAYS;
	pin(&allowed, 0);
	signal(SIGALRM, on_alarm);
	bench_begin();
	if (ways < WAYS)
		bench_absent("shoot-down", "the other thread wants a second CPU");
	for (int round = 0; round < rounds; round++)
		for (size_t size = PAGE; size <= LARGEST; size *= 2)
			for (int way = COPY; way < ways; way++)
				measure((enum way)way, round, size, samples);
	bench_end();
	return 0;
}
