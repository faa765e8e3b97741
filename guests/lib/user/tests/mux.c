/* SPDX-License-Identifier: Apache-2.0 */
/* Thousands of sources on one vector: none is lost, and few notify. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "test.h"

enum { SOURCES = 1000, SENDERS = 3, SENDS = 20000 };

/* What senders post: a source's bit says that its number grew. */
struct board {
	struct uintr_mux_shared mux;
	_Atomic uint32_t posted[SOURCES];
};

static uint32_t seen[SOURCES];
static uint64_t handled;
static struct board *board;

static void on_source(unsigned source, void *context)
{
	CHECK(source < SOURCES);
	CHECK(context == &seen[source]);
	seen[source] = board->posted[source];
	handled++;
}

static void post(int index, uint64_t seed)
{
	for (int i = 0; i < SENDS; i++) {
		unsigned source = random_below(&seed, i % 2 ? SOURCES : 70);

		atomic_fetch_add_explicit(&board->posted[source], 1, memory_order_relaxed);
		uintr_mux_send(&board->mux, index, source);
		if (random_below(&seed, 64) == 0)
			sched_yield();
	}
}

struct sender {
	pthread_t thread;
	int index;
	uint64_t seed;
};

static void *send_all(void *context)
{
	struct sender *s = context;

	post(s->index, s->seed);
	return NULL;
}

static bool all_seen(void *context)
{
	(void)context;
	for (int i = 0; i < SOURCES; i++)
		if (seen[i] != board->posted[i])
			return false;
	return true;
}

/* The last of all sends was before this: what is not handled now is on its way. */
static void settle(void)
{
	uint64_t sum = 0;

	CHECK_EQUAL(uintr_wait_until(all_seen, NULL, 60000000), 0);
	for (int i = 0; i < SOURCES; i++)
		sum += seen[i];
	CHECK_EQUAL(sum, SENDERS * SENDS);
	CHECK(handled > 0 && handled <= sum);
}

static void reset(void)
{
	memset(board, 0, sizeof(*board));
	memset(seen, 0, sizeof(seen));
	handled = 0;
}

static void threads_lose_nothing(int index)
{
	struct sender senders[SENDERS];

	reset();
	for (int i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){ .index = index, .seed = 77 + (uint64_t)i };
		CHECK_EQUAL(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]), 0);
	}
	for (int i = 0; i < SENDERS; i++)
		pthread_join(senders[i].thread, NULL);
	settle();
}

static void processes_lose_nothing(int fd)
{
	pid_t children[SENDERS];

	reset();
	for (int i = 0; i < SENDERS; i++) {
		children[i] = fork();
		if (!children[i]) {
			int index = uintr_channel_open(fd);

			CHECK(index >= 0);
			post(index, 99 + (uint64_t)i);
			_exit(0);
		}
	}
	for (int i = 0; i < SENDERS; i++)
		join_process(children[i]);
	settle();
}

static void strangers_and_leftovers(struct uintr_mux *mux, int index)
{
	reset();
	uintr_mux_send(&board->mux, index, SOURCES + 5); /* beyond the receiver's count */
	CHECK_EQUAL(handled, 0);
	mux->sources[3].handler = NULL;
	uintr_mux_send(&board->mux, index, 3);
	CHECK_EQUAL(handled, 0);
	mux->sources[3].handler = on_source;
	/* A sender that was killed before it notified: its word is stuck until a sweep. */
	atomic_fetch_or(&board->mux.words[0], 1 << 9);
	uintr_mux_send(&board->mux, index, 10);
	CHECK_EQUAL(handled, 0);
	CHECK_EQUAL(uintr_mux_sweep(mux), 2);
	CHECK_EQUAL(uintr_mux_sweep(mux), 0);
	uintr_mux_send(&board->mux, index, 10);
	CHECK_EQUAL(handled, 3);
	/* One that was killed a step later: all are. */
	atomic_fetch_or(&board->mux.words[1], 1);
	atomic_fetch_or(&board->mux.summary, 2);
	uintr_mux_send(&board->mux, index, 200);
	CHECK_EQUAL(handled, 3);
	CHECK_EQUAL(uintr_mux_sweep(mux), 2);
	uintr_mux_send(&board->mux, index, 200);
	CHECK_EQUAL(handled, 6);
}

int main(void)
{
	static struct uintr_mux_source sources[SOURCES];
	struct uintr_mux mux;
	int vector, index, fd;

	begin();
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(board != MAP_FAILED);
	for (int i = 0; i < SOURCES; i++)
		sources[i] = (struct uintr_mux_source){ on_source, &seen[i] };
	CHECK_EQUAL(uintr_receiver_start(0), 0);
	CHECK_EQUAL(uintr_mux_start(&mux, UINTR_ANY, &board->mux, sources, UINTR_MUX_SOURCES + 1), -EINVAL);
	vector = uintr_mux_start(&mux, UINTR_ANY, &board->mux, sources, SOURCES);
	CHECK_EQUAL(vector, 0);
	fd = uintr_channel_create(vector);
	index = uintr_channel_open(fd);
	CHECK(fd >= 0 && index >= 0);
	strangers_and_leftovers(&mux, index);
	threads_lose_nothing(index);
	printf("mux: %d sends by threads, %llu handled\n", SENDERS * SENDS, (unsigned long long)handled);
	processes_lose_nothing(fd);
	printf("mux: %d sends by processes, %llu handled\n", SENDERS * SENDS, (unsigned long long)handled);
	CHECK_EQUAL(uintr_mux_stop(&mux), 0);
	CHECK_EQUAL(uintr_receiver_stop(), 0);
	puts("ok mux");
	return 0;
}
