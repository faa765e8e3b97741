// SPDX-License-Identifier: Apache-2.0
// Messages between two threads, or two processes, by each way that a program has: user interrupt,
// futex, eventfd, signal, pipe, FIFO, socket. The ways alternate within a round; the two parties
// have a CPU each.
//
//	ipc [messages=N] [rounds=N]
//
// ping-pong: each message is answered before the next; per_second counts pairs, a message there
// and one back. one-way: as fast as the ring or pipe takes them; per_second counts messages. A
// latency is from before a message is written to after it was read, by one clock. "spinning"
// receivers run all the time (futex: on the word itself, with no kernel; descriptors: on read);
// "blocking" ones sleep in the kernel.
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "link.h"

enum { WARM = 32, MOST = 100000, PATIENCE = 120 };

enum pattern { PING_PONG, ONE_WAY };

// One measure, in memory that both parties have.
struct measure {
	struct link there, back;
	const struct way *way;
	enum pattern pattern;
	uint32_t messages, size;
	_Atomic int ready, finished;
	uint64_t begin, end;	     // ticks of the first message that counts and of the last
	uint64_t stamps[MOST + WARM]; // of the messages there
	uint64_t answers[MOST + WARM];
	uint64_t latencies[2 * MOST];
	uint32_t samples;
};

static struct measure *m;
static cpu_set_t allowed;

static void meet(_Atomic int *count)
{
	atomic_fetch_add(count, 1);
	while (atomic_load(count) % 2)
		sched_yield();
}

// What a message has in it derives from its number and place.
static void fill(char *message, uint32_t number)
{
	memset(message, (int)(number & 0xff), m->size);
	message[m->size - 1] = (char)(number * 7);
}

static void judge(const char *message, uint32_t number)
{
	if (message[m->size - 1] != (char)(number * 7) || (m->size > 1 && message[0] != (char)number))
		die("message %u is not what was sent", number);
}

static void give(struct link *l, uint64_t *stamps, uint32_t number)
{
	char message[LARGEST];

	fill(message, number);
	__atomic_store_n(&stamps[number], ticks(), __ATOMIC_RELEASE);
	send_message(m->way, l, message, m->size);
}

static void take(struct link *l, const uint64_t *stamps, uint32_t number)
{
	char message[LARGEST];
	uint64_t now;

	receive_message(m->way, l, message, m->size);
	now = ticks();
	judge(message, number);
	if (number >= WARM)
		m->latencies[m->samples++] = now - __atomic_load_n(&stamps[number], __ATOMIC_ACQUIRE);
}

static void first(void)
{
	uint32_t all = m->messages + WARM;

	pin(&allowed, 0);
	if (m->pattern == PING_PONG)
		m->way->listen(&m->back);
	m->way->aim(&m->there);
	meet(&m->ready);
	for (uint32_t i = 0; i < all; i++) {
		if (i == WARM)
			m->begin = ticks();
		give(&m->there, m->stamps, i);
		if (m->pattern == PING_PONG)
			take(&m->back, m->answers, i);
	}
	if (m->pattern == PING_PONG)
		m->end = ticks();
	meet(&m->finished);
	if (m->pattern == PING_PONG)
		m->way->leave(&m->back);
}

static void second(void)
{
	uint32_t all = m->messages + WARM;

	pin(&allowed, 1);
	m->way->listen(&m->there);
	if (m->pattern == PING_PONG)
		m->way->aim(&m->back);
	meet(&m->ready);
	for (uint32_t i = 0; i < all; i++) {
		take(&m->there, m->stamps, i);
		if (m->pattern == PING_PONG)
			give(&m->back, m->answers, i);
	}
	if (m->pattern == ONE_WAY)
		m->end = ticks();
	meet(&m->finished);
	m->way->leave(&m->there);
}

static void *second_thread(void *unused)
{
	second();
	return unused;
}

static void between_threads(void)
{
	pthread_t thread;
	int status;

	if ((errno = pthread_create(&thread, NULL, second_thread, NULL)))
		die("pthread_create: %s", strerror(errno));
	first();
	if ((status = pthread_join(thread, NULL)))
		die("pthread_join: %s", strerror(status));
}

static void between_processes(void)
{
	pid_t child, parent = getpid();
	int status;

	child = (pid_t)must(fork(), "fork");
	if (child == 0) {
		must(prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl");
		if (getppid() != parent)
			_exit(1);
		second();
		_exit(0);
	}
	first();
	must(waitpid(child, &status, 0), "waitpid");
	if (status)
		die("the other process ended with status %#x", (unsigned)status);
}

// A party that failed ends both: the other one would wait for ever.
static void on_child(int number)
{
	(void)number;
	if (m->way && atomic_load(&m->finished) == 0)
		_exit(1);
}

static void on_alarm(int number)
{
	(void)number;
	dprintf(STDERR_FILENO, "%s: a message was lost: %u of %u have arrived after %d s\n", bench_doing, m->samples, m->messages, PATIENCE);
	_exit(1);
}

static void report(int round, bool processes, bool blocking)
{
	uint32_t expected = m->pattern == PING_PONG ? 2 * m->messages : m->messages;
	char size[16];

	if (m->samples != expected)
		die("%u messages arrived, %u were sent", m->samples, expected);
	snprintf(size, sizeof size, "%u B", m->size);
	bench_measure(round, "way", m->way->name, "between", processes ? "processes" : "threads", "receiver", blocking ? "blocking" : "spinning",
		      "payload", size, "pattern", m->pattern == PING_PONG ? "ping-pong" : "one-way", NULL);
	bench_value("messages", m->messages);
	bench_value("per_second", 1e9 * m->messages / (tick() * (double)(m->end - m->begin)));
	bench_value("rung", m->there.rung);
	bench_samples("latency", m->latencies, m->samples);
	bench_done();
}

static void measure(const struct way *w, int round, uint32_t messages, bool processes, bool blocking, uint32_t size, enum pattern pattern)
{
	static char doing[128];

	snprintf(doing, sizeof doing, "ipc: %s, %s, %s, %u B, %s", w->name, processes ? "processes" : "threads", blocking ? "blocking" : "spinning", size,
		 pattern == PING_PONG ? "ping-pong" : "one-way");
	bench_doing = doing;
	memset(&m->there, 0, sizeof m->there);
	memset(&m->back, 0, sizeof m->back);
	m->way = w;
	m->pattern = pattern;
	m->messages = messages;
	m->size = size;
	m->samples = 0;
	m->ready = m->finished = 0;
	m->there.blocking = m->back.blocking = blocking;
	m->there.between_processes = m->back.between_processes = processes;
	w->make(&m->there);
	w->make(&m->back);
	alarm(PATIENCE);
	(processes ? between_processes : between_threads)();
	alarm(0);
	unmake(w, &m->there);
	unmake(w, &m->back);
	report(round, processes, blocking);
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"messages", "rounds", NULL};
	static const uint32_t sizes[] = {1, LARGEST};
	uint32_t messages;
	int rounds;
	bool uintr;

	(void)argc;
	bench_doing = "ipc";
	options(argv, names);
	messages = (uint32_t)option(argv, "messages", 1000, 1, MOST);
	rounds = (int)option(argv, "rounds", 3, 1, 1000);
	must(sched_getaffinity(0, sizeof allowed, &allowed), "sched_getaffinity");
	if (CPU_COUNT(&allowed) < 2)
		die("two parties want two CPUs");
	m = shared(sizeof *m);
	signal(SIGALRM, on_alarm);
	signal(SIGCHLD, on_child);
	bench_begin();
	uintr = have_uintr();
	for (int round = 0; round < rounds; round++)
		for (int pattern = PING_PONG; pattern <= ONE_WAY; pattern++)
			for (int processes = 1; processes >= 0; processes--)
				for (int blocking = 0; blocking <= 1; blocking++)
					for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
						for (int w = uintr ? 0 : 1; w < WAYS; w++)
							measure(&ways[w], round, messages, processes, blocking, sizes[s], (enum pattern)pattern);
	bench_end();
	return 0;
}
