// SPDX-License-Identifier: Apache-2.0
// How long an event takes to run its handler, and the program that waits for it.
//
//	wake [samples=N] [rounds=N]
//
// An event is raised on one CPU; who is to handle it is on another.
//
// threaded: an eventfd wakes a handler thread, which does the handling and wakes the waiting
// thread by a futex: two turns of the scheduler, as with threaded interrupts.
// poll: the waiting thread is woken by the eventfd itself and handles the event.
// in context: the waiting thread sleeps in uintr_wait() and handles in its own user interrupt.
// direct: its user interrupt comes while it computes; nobody is scheduled.
//
// handler is from the event to the handler's first instruction, waiter to when the waiting thread
// goes on with the event handled.
#define _GNU_SOURCE
#include <pthread.h>

#include "link.h"

enum { WARM = 16, MOST = 100000, PATIENCE = 120 };

enum target { THREADED, POLL, IN_CONTEXT, DIRECT, TARGETS };

static const char *const names[] = {"threaded", "poll", "in context", "direct"};

static struct {
	struct link link; // raises the event
	enum target target;
	cpu_set_t allowed;
	_Alignas(64) _Atomic uint32_t handled; // events, the futex of threaded
	_Alignas(64) _Atomic uint32_t resumed; // events that the waiting thread has gone on from
	_Atomic int listening, leave;
	uint64_t raised_at, handled_at;
	uint64_t handler[MOST], waiter[MOST];
	uint32_t samples;
} s;

// The handler: of a thread, or of a user interrupt.
HANDLER_CODE static void handle(void)
{
	s.handled_at = ticks();
	atomic_fetch_add_explicit(&s.handled, 1, memory_order_release);
}

__attribute__((interrupt)) HANDLER_CODE static void on_event(struct __uintr_frame *frame, unsigned long long vector)
{
	(void)frame;
	(void)vector;
	handle();
}

static void *handler_thread(void *unused)
{
	uint64_t count;

	pin(&s.allowed, 1);
	atomic_fetch_add(&s.listening, 1);
	while (read(s.link.read, &count, sizeof count) == sizeof count && !atomic_load(&s.leave)) {
		handle();
		must(syscall(SYS_futex, &s.handled, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), "futex wake");
	}
	return unused;
}

// Until more than n events are handled.
static void wait_threaded(uint32_t n)
{
	while (atomic_load_explicit(&s.handled, memory_order_acquire) == n)
		if (syscall(SYS_futex, &s.handled, FUTEX_WAIT_PRIVATE, n, NULL, NULL, 0) < 0 && errno != EAGAIN && errno != EINTR)
			die("futex wait: %s", strerror(errno));
}

static void wait_poll(uint32_t n)
{
	uint64_t count;

	(void)n;
	if (read(s.link.read, &count, sizeof count) != sizeof count)
		die("read of the eventfd: %s", strerror(errno));
	handle();
}

static void wait_in_context(uint32_t n)
{
	while (atomic_load_explicit(&s.handled, memory_order_acquire) == n)
		hear_uintr(&s.link);
}

static void wait_direct(uint32_t n)
{
	while (atomic_load_explicit(&s.handled, memory_order_acquire) == n)
		relax();
}

static void (*const wait_for[])(uint32_t n) = {wait_threaded, wait_poll, wait_in_context, wait_direct};

static void *waiting_thread(void *all)
{
	bool uintr = s.target >= IN_CONTEXT;

	pin(&s.allowed, 1);
	if (uintr) {
		must(syscall(UINTR_REGISTER_HANDLER, on_event, 0), "uintr_register_handler");
		s.link.vector = (int)must(syscall(UINTR_VECTOR_FD, 0, 0), "uintr_vector_fd");
		if (s.target == DIRECT)
			_stui();
	}
	atomic_fetch_add(&s.listening, 1);
	for (uint32_t n = 0; n < *(uint32_t *)all; n++) {
		uint64_t now;

		wait_for[s.target](n);
		now = ticks();
		if (atomic_load(&s.handled) != n + 1)
			die("%u events were handled, %u were raised", atomic_load(&s.handled), n + 1);
		if (n >= WARM) {
			s.handler[s.samples] = s.handled_at - s.raised_at;
			s.waiter[s.samples++] = now - s.raised_at;
		}
		atomic_store_explicit(&s.resumed, n + 1, memory_order_release);
	}
	if (uintr) {
		_clui();
		must(syscall(UINTR_UNREGISTER_HANDLER, 0), "uintr_unregister_handler");
	}
	return NULL;
}

// A pause long enough for who waits to be asleep.
static void let_sleep(void)
{
	struct timespec pause = {.tv_nsec = 200000};

	nanosleep(&pause, NULL);
}

static void raise_events(uint32_t all)
{
	for (uint32_t n = 0; n < all; n++) {
		let_sleep();
		s.raised_at = ticks();
		if (s.target >= IN_CONTEXT)
			ring_uintr(&s.link);
		else
			ring_eventfd(&s.link);
		while (atomic_load_explicit(&s.resumed, memory_order_acquire) != n + 1)
			relax();
	}
}

static void measure(enum target target, int round, uint32_t samples)
{
	pthread_t handler, waiter;
	uint32_t all = samples + WARM;
	int parties = target == THREADED ? 2 : 1;

	bench_doing = names[target];
	s.target = target;
	s.handled = s.resumed = s.samples = 0;
	s.listening = s.leave = 0;
	s.link.blocking = true;
	make_eventfd(&s.link);
	alarm(PATIENCE);
	if (target == THREADED && (errno = pthread_create(&handler, NULL, handler_thread, NULL)))
		die("pthread_create: %s", strerror(errno));
	if ((errno = pthread_create(&waiter, NULL, waiting_thread, &all)))
		die("pthread_create: %s", strerror(errno));
	while (atomic_load(&s.listening) != parties)
		sched_yield();
	if (target >= IN_CONTEXT)
		s.link.uitt = must(syscall(UINTR_REGISTER_SENDER, s.link.vector, 0), "uintr_register_sender");
	raise_events(all);
	pthread_join(waiter, NULL);
	if (target == THREADED) {
		atomic_store(&s.leave, 1);
		ring_eventfd(&s.link);
		pthread_join(handler, NULL);
	}
	alarm(0);
	if (target >= IN_CONTEXT) {
		must(syscall(UINTR_UNREGISTER_SENDER, s.link.uitt, 0), "uintr_unregister_sender");
		close(s.link.vector);
	}
	close(s.link.read);
	bench_measure(round, "way", names[target], NULL);
	bench_value("samples", s.samples);
	bench_samples("handler", s.handler, s.samples);
	bench_samples("waiter", s.waiter, s.samples);
	bench_done();
}

static void on_alarm(int number)
{
	(void)number;
	dprintf(STDERR_FILENO, "wake: %s: an event was lost: %u were handled in %d s\n", bench_doing, s.samples, PATIENCE);
	_exit(1);
}

int main(int argc, char **argv)
{
	static const char *const known[] = {"samples", "rounds", NULL};
	uint32_t samples;
	int rounds;
	bool uintr;

	(void)argc;
	bench_doing = "wake";
	options(argv, known);
	samples = (uint32_t)option(argv, "samples", 1000, 1, MOST);
	rounds = (int)option(argv, "rounds", 3, 1, 1000);
	must(sched_getaffinity(0, sizeof s.allowed, &s.allowed), "sched_getaffinity");
	if (CPU_COUNT(&s.allowed) < 2)
		die("who raises an event and who handles it want a CPU each");
	pin(&s.allowed, 0);
	signal(SIGALRM, on_alarm);
	bench_begin();
	uintr = have_uintr();
	for (int round = 0; round < rounds; round++)
		for (int target = THREADED; target < (uintr ? TARGETS : IN_CONTEXT); target++)
			measure((enum target)target, round, samples);
	bench_end();
	return 0;
}
