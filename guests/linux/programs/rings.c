// SPDX-License-Identifier: Apache-2.0
// Requests to a server on another CPU and their completions: by shared rings in batches, with a
// user interrupt where one is asked for, against a system call and an interrupt of the kernel's for
// each request.
//
//	rings [requests=N] [rounds=N]
//
// call each: a request is written into shared memory and told by a write to an eventfd; the
// server, which sleeps in read, answers each by a queued signal. rings: a batch of requests is
// published at once and rings one bell, if the server asked for it; so do its completions. The
// server asks only when it has nothing to do, the client for the whole batch.
// A latency is from before a request is written to after its completion was judged. "bells" are
// what a request costs of calls, signals and user interrupts, "switches" of the scheduler's turns.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <uintr_ring.h>

#include "bench.h"

enum { ENTRIES = 256, MOST = 1000000, PATIENCE = 120 };

struct request {
	uint64_t number, begun;
	char data[48];
};

struct completion {
	uint64_t number, begun, result;
};

static struct {
	cpu_set_t allowed;
	uint32_t requests, batch, sleeping; // sleeping: whether both sides sleep where they wait
	bool rings;
	_Atomic int ready;
	// of rings
	struct uintr_pair client, server;
	int to_client, to_server;
	// of calls
	int bell;
	pid_t client_tid;
	struct request slots[ENTRIES];
	struct completion done[ENTRIES];
	_Atomic uint32_t taken;	 // signals that the client has had
	// results
	uint64_t latencies[MOST];
	uint64_t calls, signals, server_rung, server_switches;
} s;

static int check(int result, const char *what)
{
	if (result < 0)
		die("%s: %s", what, strerror(-result));
	return result;
}

static long switches(void)
{
	struct rusage u;

	must(getrusage(RUSAGE_THREAD, &u), "getrusage");
	return u.ru_nvcsw + u.ru_nivcsw;
}

static void meet(int parties)
{
	atomic_fetch_add(&s.ready, 1);
	while (atomic_load(&s.ready) < parties)
		sched_yield();
}

static void fill(struct request *r, uint64_t number)
{
	r->begun = ticks();
	r->number = number;
	memset(r->data, (int)(number & 0xff), sizeof r->data);
}

static void serve(const struct request *r, struct completion *c)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < sizeof r->data; i++)
		sum += (unsigned char)r->data[i];
	*c = (struct completion){.number = r->number, .begun = r->begun, .result = sum};
}

static void judge(const struct completion *c, uint64_t number)
{
	if (c->number != number || c->result != (number & 0xff) * sizeof s.slots[0].data)
		die("completion %lu has number %lu and result %lu", number, c->number, c->result);
	s.latencies[number] = ticks() - c->begun;
}

// A call and a signal each.

static void on_completion(int number)
{
	(void)number;
	atomic_fetch_add_explicit(&s.taken, 1, memory_order_release);
}

static void serve_calls(void)
{
	for (uint32_t n = 0; n < s.requests; n++) {
		uint64_t one;
		siginfo_t info = {.si_code = SI_QUEUE};

		if (read(s.bell, &one, sizeof one) != sizeof one)
			die("read of the eventfd: %s", strerror(errno));
		serve(&s.slots[n % ENTRIES], &s.done[n % ENTRIES]);
		must(syscall(SYS_rt_tgsigqueueinfo, getpid(), s.client_tid, SIGRTMIN, &info), "rt_tgsigqueueinfo");
	}
	s.signals = s.requests;
}

static void ask_by_calls(void)
{
	const uint64_t one = 1;
	sigset_t blocked, none;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &blocked, &none);
	sigdelset(&none, SIGRTMIN);
	for (uint32_t n = 0; n < s.requests; n += s.batch) {
		uint32_t end = n + s.batch < s.requests ? n + s.batch : s.requests;

		for (uint32_t i = n; i < end; i++) {
			fill(&s.slots[i % ENTRIES], i);
			must(write(s.bell, &one, sizeof one), "write to the eventfd");
		}
		for (uint32_t i = n; i < end; i++) {
			while (atomic_load_explicit(&s.taken, memory_order_acquire) <= i)
				sigsuspend(&none);
			judge(&s.done[i % ENTRIES], i);
		}
	}
	pthread_sigmask(SIG_UNBLOCK, &blocked, NULL);
	s.calls = s.requests;
}

// Rings.

static void serve_rings(void)
{
	uint32_t n = 0;

	while (n < s.requests) {
		const struct request *r;

		while ((r = uintr_ring_next(&s.server.sq))) {
			struct completion *c = uintr_ring_slot(&s.server.cq);

			if (!c)
				die("no room for a completion, of which no more are out than fit");
			serve(r, c);
			uintr_ring_push(&s.server.cq);
			uintr_ring_pop(&s.server.sq);
			n++;
		}
		uintr_ring_release(&s.server.sq);
		uintr_ring_publish(&s.server.cq);
		if (n < s.requests && s.sleeping)
			check(uintr_ring_wait(&s.server.sq, 1, UINTR_FOREVER), "uintr_ring_wait");
		else
			relax();
	}
	s.server_rung = s.server.sq.rung + s.server.cq.rung;
}

static void ask_by_rings(void)
{
	for (uint32_t n = 0, done = 0; n < s.requests;) {
		uint32_t end = n + s.batch < s.requests ? n + s.batch : s.requests, all = end - n;

		for (; n < end; n++) {
			struct request *r = uintr_ring_slot(&s.client.sq);

			if (!r)
				die("no room for a request, of which no more are out than fit");
			fill(r, n);
			uintr_ring_push(&s.client.sq);
		}
		uintr_ring_publish(&s.client.sq);
		while (s.sleeping && uintr_ring_ready(&s.client.cq) < all)
			check(uintr_ring_wait(&s.client.cq, all, UINTR_FOREVER), "uintr_ring_wait");
		while (done < end) {
			const struct completion *c = uintr_ring_next(&s.client.cq);

			if (!c) {
				relax();
				continue;
			}
			judge(c, done++);
			uintr_ring_pop(&s.client.cq);
		}
		uintr_ring_release(&s.client.cq);
	}
	s.calls = s.client.sq.rung + s.client.cq.rung;
}

// Both sides.

// The descriptor by which the other side reaches this one.
static int receive(void)
{
	check(uintr_receiver_start(0), "uintr_receiver_start");
	return check(uintr_channel_create(check(uintr_attach(UINTR_ANY, uintr_ring_doorbell, NULL), "uintr_attach")), "uintr_channel_create");
}

static void *server(void *unused)
{
	long before;

	pin(&s.allowed, 1);
	if (s.rings)
		s.to_server = receive();
	meet(2);
	if (s.rings) {
		s.server.sq.doorbell = s.server.cq.doorbell = check(uintr_channel_open(s.to_client), "uintr_channel_open");
	}
	meet(4);
	before = switches();
	(s.rings ? serve_rings : serve_calls)();
	s.server_switches = (uint64_t)(switches() - before);
	meet(6);
	if (s.rings) {
		check(uintr_channel_close(s.server.sq.doorbell), "uintr_channel_close");
		check(uintr_receiver_stop(), "uintr_receiver_stop");
	}
	return unused;
}

static void open_rings(void)
{
	int fd = check(uintr_pair_create(ENTRIES, sizeof(struct request), ENTRIES, sizeof(struct completion)), "uintr_pair_create");

	check(uintr_pair_open(&s.client, fd, -1), "uintr_pair_open");
	check(uintr_pair_open(&s.server, fd, -1), "uintr_pair_open");
	close(fd);
	s.to_client = receive();
}

static void close_rings(void)
{
	check(uintr_channel_close(s.client.sq.doorbell), "uintr_channel_close");
	check(uintr_receiver_stop(), "uintr_receiver_stop");
	close(s.to_client);
	close(s.to_server);
	uintr_pair_close(&s.client);
	uintr_pair_close(&s.server);
}

static void measure(bool rings, bool sleeping, uint32_t batch, int round, uint32_t requests)
{
	const char *way = rings ? sleeping ? "rings" : "rings, polled" : "call each";
	struct sigaction action = {.sa_handler = on_completion};
	char label[16];
	pthread_t thread;
	uint64_t begin, end;
	long before;

	bench_doing = way;
	s.rings = rings;
	s.sleeping = sleeping;
	s.batch = batch;
	s.requests = requests;
	s.ready = 0;
	s.taken = 0;
	s.calls = s.signals = s.server_rung = 0;
	s.client_tid = gettid();
	s.bell = (int)must(eventfd(0, EFD_SEMAPHORE), "eventfd");
	must(sigaction(SIGRTMIN, &action, NULL), "sigaction");
	alarm(PATIENCE);
	if (rings)
		open_rings();
	if ((errno = pthread_create(&thread, NULL, server, NULL)))
		die("pthread_create: %s", strerror(errno));
	meet(2);
	if (rings)
		s.client.sq.doorbell = s.client.cq.doorbell = check(uintr_channel_open(s.to_server), "uintr_channel_open");
	meet(4);
	before = switches();
	begin = ticks();
	(rings ? ask_by_rings : ask_by_calls)();
	end = ticks();
	before = switches() - before;
	meet(6);
	pthread_join(thread, NULL);
	if (rings)
		close_rings();
	alarm(0);
	close(s.bell);
	snprintf(label, sizeof label, "%u", batch);
	bench_measure(round, "way", way, "batch", label, NULL);
	bench_value("requests", requests);
	bench_value("per_second", 1e9 * requests / (tick() * (double)(end - begin)));
	bench_value("bells", (double)(s.calls + s.signals + s.server_rung) / requests);
	bench_value("switches", (double)((uint64_t)before + s.server_switches) / requests);
	bench_samples("latency", s.latencies, requests);
	bench_done();
}

static void on_alarm(int number)
{
	(void)number;
	dprintf(STDERR_FILENO, "rings: %s, batch %u: a request was lost: not done in %d s\n", bench_doing, s.batch, PATIENCE);
	_exit(1);
}

int main(int argc, char **argv)
{
	static const char *const known[] = {"requests", "rounds", NULL};
	static const uint32_t batches[] = {1, 8, 32, 128};
	uint32_t requests;
	int rounds;
	bool uintr;

	(void)argc;
	bench_doing = "rings";
	options(argv, known);
	requests = (uint32_t)option(argv, "requests", 4096, 1, MOST);
	rounds = (int)option(argv, "rounds", 3, 1, 1000);
	must(sched_getaffinity(0, sizeof s.allowed, &s.allowed), "sched_getaffinity");
	if (CPU_COUNT(&s.allowed) < 2)
		die("client and server want a CPU each");
	pin(&s.allowed, 0);
	signal(SIGALRM, on_alarm);
	bench_begin();
	uintr = have_uintr();
	for (int round = 0; round < rounds; round++)
		for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
			measure(false, true, batches[b], round, requests);
			if (uintr) {
				measure(true, true, batches[b], round, requests);
				measure(true, false, batches[b], round, requests);
			}
		}
	bench_end();
	return 0;
}
