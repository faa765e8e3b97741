// SPDX-License-Identifier: Apache-2.0
// A receiver that has work to do, under a storm of events from another CPU.
//
//	storm [items=N] [rounds=N]
//
// Items come through a ring as fast as it takes them. How the receiver hears of them:
// signal: a signal of the kernel's for each item. edge: a user interrupt for each, sent whatever the
// receiver does; its handler takes all that is there. level: one while something is there: the
// handler takes a few, lets the next one come, and raises it again itself if something is left.
// napi: the handler only says that there is something, and no interrupt follows; between two pieces
// of its work the receiver takes a few, until nothing is left, and asks for an interrupt again.
// coalesced: the same, but the interrupt is asked for when COALESCED items are there; what is fewer
// is taken after HELD_NS.
//
// work is what the receiver got done of its own meanwhile, interrupts what an item cost of them, and
// spurious those that found nothing.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <uintr_ring.h>

#include "bench.h"

enum { ENTRIES = 256, BUDGET = 16, COALESCED = 16, HELD_NS = 50000, MOST = 1000000, PATIENCE = 120 };

enum way { SIGNAL, EDGE, LEVEL, NAPI, COALESCE, WAYS };

static const char *const names[] = {"signal", "edge", "level", "napi", "coalesced"};

struct item {
	uint64_t number, begun;
};

static struct {
	cpu_set_t allowed;
	enum way way;
	uint32_t items;
	_Atomic int ready;
	int channel, vector, self;
	pid_t tid;
	void *memory;
	size_t size;
	struct uintr_ring producer, consumer;
	// the receiver's
	volatile uint32_t taken;
	uint64_t interrupts, spurious, units;
	volatile bool polling;
	uint64_t begin, end;
	uint64_t latencies[MOST];
} s;

static int check(int result, const char *what)
{
	if (result < 0)
		die("%s: %s", what, strerror(-result));
	return result;
}

static void meet(int parties)
{
	atomic_fetch_add(&s.ready, 1);
	while (atomic_load(&s.ready) < parties)
		sched_yield();
}

// Takes at most budget items, and says how many.
static uint32_t take(uint32_t budget)
{
	const struct item *i;
	uint32_t n;

	for (n = 0; n < budget && (i = uintr_ring_next(&s.consumer)); n++) {
		if (i->number != s.taken)
			die("item %lu came in the place of item %u", i->number, s.taken);
		s.latencies[s.taken] = ticks() - i->begun;
		uintr_ring_pop(&s.consumer);
		s.taken++;
	}
	uintr_ring_release(&s.consumer);
	return n;
}

static void on_event(unsigned vector, void *context)
{
	uint32_t n;

	(void)vector;
	(void)context;
	s.interrupts++;
	switch (s.way) {
	case LEVEL:
		n = take(BUDGET);
		if (!uintr_ring_arm(&s.consumer, 1))
			uintr_send(s.self);
		break;
	case NAPI:
	case COALESCE:
		s.polling = true;
		n = 1; // judged where it is polled
		break;
	default:
		n = take(ENTRIES);
	}
	s.spurious += n == 0;
}

static void on_signal(int number)
{
	on_event((unsigned)number, NULL);
}

// A piece of the receiver's own work.
static void work(void)
{
	static volatile uint64_t state = 1;
	uint64_t x = state;

	for (int i = 0; i < 100; i++)
		x = x * 6364136223846793005 + 1442695040888963407;
	state = x;
	s.units++;
}

// After an interrupt: no more of them until nothing is left.
static void poll_ring(void)
{
	uint32_t want = s.way == COALESCE ? COALESCED : 1;

	if (take(BUDGET) == 0) {
		s.polling = false;
		if (!uintr_ring_arm(&s.consumer, want))
			s.polling = true;
	}
}

static void receive(void)
{
	uint64_t looked = ticks(), held = (uint64_t)(HELD_NS / tick());

	while (s.taken < s.items) {
		work();
		if (s.way < NAPI)
			continue;
		if (s.polling) {
			poll_ring();
			looked = ticks();
		} else if (s.way == COALESCE && ticks() - looked > held) {
			looked = ticks();
			s.polling = uintr_ring_ready(&s.consumer) > 0;
		}
	}
}

static void *receiver(void *unused)
{
	struct sigaction action = {.sa_handler = on_signal};

	pin(&s.allowed, 1);
	s.tid = gettid();
	if (s.way == SIGNAL) {
		must(sigaction(SIGUSR1, &action, NULL), "sigaction");
	} else {
		check(uintr_receiver_start(0), "uintr_receiver_start");
		s.vector = check(uintr_attach(UINTR_ANY, on_event, NULL), "uintr_attach");
		s.channel = check(uintr_channel_create(s.vector), "uintr_channel_create");
		s.self = check(uintr_channel_self(s.vector), "uintr_channel_self");
	}
	if (s.way >= LEVEL && !uintr_ring_arm(&s.consumer, s.way == COALESCE ? COALESCED : 1))
		die("the ring is not empty");
	meet(2);
	meet(4);
	s.units = 0;
	receive();
	s.end = ticks();
	meet(6);
	if (s.way != SIGNAL) {
		check(uintr_receiver_stop(), "uintr_receiver_stop");
		check(uintr_channel_close(s.self), "uintr_channel_close");
		close(s.channel);
	}
	return unused;
}

static void storm(int index)
{
	for (uint32_t n = 0; n < s.items; n++) {
		struct item *i;

		while (!(i = uintr_ring_slot(&s.producer)))
			relax();
		i->number = n;
		i->begun = ticks();
		uintr_ring_push(&s.producer);
		uintr_ring_publish(&s.producer);
		if (s.way == SIGNAL)
			must(tgkill(getpid(), s.tid, SIGUSR1), "tgkill");
		else if (s.way == EDGE)
			uintr_send(index);
	}
}

static void measure(enum way way, int round, uint32_t items)
{
	pthread_t thread;
	int index = -1;

	bench_doing = names[way];
	s.way = way;
	s.items = items;
	s.ready = 0;
	s.taken = 0;
	s.interrupts = s.spurious = 0;
	s.polling = false;
	check(uintr_ring_format(s.memory, ENTRIES, sizeof(struct item)), "uintr_ring_format");
	check(uintr_ring_open(&s.producer, s.memory, s.size, -1), "uintr_ring_open");
	check(uintr_ring_open(&s.consumer, s.memory, s.size, -1), "uintr_ring_open");
	alarm(PATIENCE);
	if ((errno = pthread_create(&thread, NULL, receiver, NULL)))
		die("pthread_create: %s", strerror(errno));
	meet(2);
	if (way != SIGNAL)
		index = check(uintr_channel_open(s.channel), "uintr_channel_open");
	if (way >= LEVEL)
		s.producer.doorbell = index;
	meet(4);
	s.begin = ticks();
	storm(index);
	meet(6);
	pthread_join(thread, NULL);
	alarm(0);
	if (index >= 0)
		check(uintr_channel_close(index), "uintr_channel_close");
	if (s.taken != items)
		die("%u items came, %u were sent", s.taken, items);
	bench_measure(round, "way", names[way], NULL);
	bench_value("items", items);
	bench_value("per_second", 1e9 * items / (tick() * (double)(s.end - s.begin)));
	bench_value("interrupts", (double)s.interrupts / items);
	bench_value("spurious", (double)s.spurious / items);
	bench_value("work", 1e9 * (double)s.units / (tick() * (double)(s.end - s.begin)));
	bench_samples("latency", s.latencies, items);
	bench_done();
}

static void on_alarm(int number)
{
	(void)number;
	dprintf(STDERR_FILENO, "storm: %s: an item was lost: %u of %u came in %d s\n", bench_doing, s.taken, s.items, PATIENCE);
	_exit(1);
}

int main(int argc, char **argv)
{
	static const char *const known[] = {"items", "rounds", NULL};
	uint32_t items;
	int rounds;
	bool uintr;

	(void)argc;
	bench_doing = "storm";
	options(argv, known);
	items = (uint32_t)option(argv, "items", 20000, 1, MOST);
	rounds = (int)option(argv, "rounds", 3, 1, 1000);
	must(sched_getaffinity(0, sizeof s.allowed, &s.allowed), "sched_getaffinity");
	if (CPU_COUNT(&s.allowed) < 2)
		die("storm and receiver want a CPU each");
	pin(&s.allowed, 0);
	signal(SIGALRM, on_alarm);
	s.size = uintr_ring_size(ENTRIES, sizeof(struct item));
	s.memory = shared(s.size);
	bench_begin();
	uintr = have_uintr();
	for (int round = 0; round < rounds; round++)
		for (int way = SIGNAL; way < (uintr ? WAYS : EDGE); way++)
			measure((enum way)way, round, items);
	bench_end();
	return 0;
}
