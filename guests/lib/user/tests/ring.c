/* SPDX-License-Identifier: Apache-2.0 */
/* Rings: indices, doorbells, hostile peers, and random work over threads and processes. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "test.h"
#include "uintr_ring.h"

enum { LINE = 64 };

static void *memory_of(size_t size)
{
	void *m = aligned_alloc(LINE, (size + LINE - 1) & ~(size_t)(LINE - 1));

	CHECK(m);
	memset(m, 0xa5, size);
	return m;
}

struct both {
	struct uintr_ring producer, consumer;
	void *memory;
};

static void open_both(struct both *b, uint32_t entries, uint32_t entry_size)
{
	size_t size = uintr_ring_size(entries, entry_size);

	CHECK(size);
	b->memory = memory_of(size);
	CHECK_EQUAL(uintr_ring_format(b->memory, entries, entry_size), 0);
	CHECK_EQUAL(uintr_ring_open(&b->producer, b->memory, size, -1), 0);
	CHECK_EQUAL(uintr_ring_open(&b->consumer, b->memory, size, -1), 0);
}

/* As if so many entries had gone through. */
static void begin_at(struct both *b, uint32_t index)
{
	struct uintr_ring_shared *s = b->memory;

	s->tail = s->head = index;
	s->tail_event = s->head_event = index - 1;
	b->producer.local = b->producer.published = b->producer.seen = index;
	b->consumer.local = b->consumer.published = b->consumer.seen = index;
}

static void sizes_are_judged(void)
{
	static _Alignas(LINE) unsigned char memory[4096];
	struct uintr_ring_shared *s = (void *)memory;
	struct uintr_ring r;

	CHECK_EQUAL(uintr_ring_size(0, 8), 0);
	CHECK_EQUAL(uintr_ring_size(3, 8), 0);
	CHECK_EQUAL(uintr_ring_size(UINTR_RING_ENTRIES_MAX * 2, 8), 0);
	CHECK_EQUAL(uintr_ring_size(8, 0), 0);
	CHECK_EQUAL(uintr_ring_size(8, 12), 0);
	CHECK_EQUAL(uintr_ring_size(8, UINTR_RING_ENTRY_MAX + 8), 0);
	CHECK_EQUAL(uintr_ring_size(8, 16), sizeof(struct uintr_ring_shared) + 128);
	CHECK_EQUAL(uintr_ring_format(memory, 5, 8), -EINVAL);
	CHECK_EQUAL(uintr_ring_format(memory + 8, 8, 8), -EINVAL);
	CHECK_EQUAL(uintr_ring_format(memory, 8, 16), 0);
	CHECK_EQUAL(uintr_ring_open(&r, memory, sizeof(*s) + 127, -1), -EPROTO);
	CHECK_EQUAL(uintr_ring_open(&r, memory + 8, sizeof(memory) - 8, -1), -EPROTO);
	CHECK_EQUAL(uintr_ring_open(&r, memory, 8, -1), -EPROTO);
	CHECK_EQUAL(uintr_ring_open(&r, memory, sizeof(*s) + 128, -1), 0);
	s->entries = 1u << 31;
	CHECK_EQUAL(uintr_ring_open(&r, memory, sizeof(memory), -1), -EPROTO);
	s->entries = 8;
	s->magic++;
	CHECK_EQUAL(uintr_ring_open(&r, memory, sizeof(memory), -1), -EPROTO);
}

static void fills_and_empties(uint32_t first)
{
	struct both b;

	open_both(&b, 8, 8);
	begin_at(&b, first);
	CHECK(!uintr_ring_next(&b.consumer));
	for (uint64_t i = 0; i < 8; i++) {
		uint64_t *p = uintr_ring_slot(&b.producer);

		CHECK(p);
		*p = i;
		uintr_ring_push(&b.producer);
	}
	CHECK(!uintr_ring_slot(&b.producer));
	CHECK(!uintr_ring_next(&b.consumer)); /* not published */
	uintr_ring_publish(&b.producer);
	for (uint64_t i = 0; i < 8; i++) {
		const uint64_t *c = uintr_ring_next(&b.consumer);

		CHECK(c);
		CHECK_EQUAL(*c, i);
		uintr_ring_pop(&b.consumer);
	}
	CHECK(!uintr_ring_next(&b.consumer));
	CHECK(!uintr_ring_slot(&b.producer)); /* not released */
	uintr_ring_release(&b.consumer);
	CHECK_EQUAL(uintr_ring_room(&b.producer), 8);
	free(b.memory);
}

static volatile long bells;

static void on_bell(unsigned vector, void *context)
{
	(void)vector;
	(void)context;
	bells++;
}

static void push_published(struct uintr_ring *r, int n)
{
	while (n--) {
		CHECK(uintr_ring_slot(r));
		uintr_ring_push(r);
	}
	uintr_ring_publish(r);
}

static void pop_released(struct uintr_ring *r, int n)
{
	while (n--) {
		CHECK(uintr_ring_next(r));
		uintr_ring_pop(r);
	}
	uintr_ring_release(r);
}

/* This thread rings itself, so every doorbell is counted at once. */
static void doorbells_come_when_asked_for(uint32_t first)
{
	struct both b;
	int self = uintr_channel_self(uintr_attach(0, on_bell, NULL));

	CHECK(self >= 0);
	open_both(&b, 16, 8);
	begin_at(&b, first);
	b.producer.doorbell = b.consumer.doorbell = self;
	bells = 0;

	push_published(&b.producer, 3);
	CHECK_EQUAL(bells, 0); /* nobody asked */
	CHECK(!uintr_ring_arm(&b.consumer, 2)); /* they are there */
	CHECK(uintr_ring_arm(&b.consumer, 5));
	push_published(&b.producer, 1);
	CHECK_EQUAL(bells, 0);
	push_published(&b.producer, 4); /* the fifth is in the batch */
	CHECK_EQUAL(bells, 1);
	push_published(&b.producer, 4);
	CHECK_EQUAL(bells, 1); /* once */

	CHECK(uintr_ring_arm_room(&b.producer, 6)); /* 4 are free */
	pop_released(&b.consumer, 1);
	CHECK_EQUAL(bells, 1);
	pop_released(&b.consumer, 1);
	CHECK_EQUAL(bells, 2);
	pop_released(&b.consumer, 10);
	CHECK_EQUAL(bells, 2);
	CHECK(!uintr_ring_arm_room(&b.producer, 16));
	CHECK(uintr_ring_arm(&b.consumer, 1000)); /* as if 16 */
	push_published(&b.producer, 15);
	CHECK_EQUAL(bells, 2);
	push_published(&b.producer, 1);
	CHECK_EQUAL(bells, 3);
	CHECK_EQUAL(b.producer.rung + b.consumer.rung, 3);

	CHECK_EQUAL(uintr_channel_close(self), 0);
	CHECK_EQUAL(uintr_detach(0), 0);
	free(b.memory);
}

/*
 * Any sequence of steps against what should be: a doorbell once the count that was asked for last is reached,
 * if it was not when it was asked for, and no other.
 */
struct count {
	uint64_t own, published, wanted; /* wanted 0: no doorbell is asked for */
};

static long advance(struct count *c)
{
	c->published = c->own;
	if (!c->wanted || c->published < c->wanted)
		return 0;
	c->wanted = 0;
	return 1;
}

static void doorbells_are_as_asked_for(uint32_t first, uint64_t seed)
{
	enum { ENTRIES = 8, STEPS = 3000 };
	int self = uintr_channel_self(uintr_attach(0, on_bell, NULL));
	struct count in = {0}, out = { .own = ENTRIES, .published = ENTRIES }; /* out counts room ever given */
	struct both b;
	long wanted = 0;

	CHECK(self >= 0);
	open_both(&b, ENTRIES, 8);
	begin_at(&b, first);
	b.producer.doorbell = b.consumer.doorbell = self;
	bells = 0;
	for (int i = 0; i < STEPS; i++) {
		uint32_t n = random_below(&seed, ENTRIES + 3), least = n < 1 ? 1 : n > ENTRIES ? ENTRIES : n;
		uint64_t *slot;
		const uint64_t *entry;

		switch (random_below(&seed, 8)) {
		case 0: case 1:
			slot = uintr_ring_slot(&b.producer);
			CHECK_EQUAL(slot != NULL, in.own < out.published);
			if (slot) {
				*slot = in.own++;
				uintr_ring_push(&b.producer);
			}
			break;
		case 2: case 3:
			entry = uintr_ring_next(&b.consumer);
			CHECK_EQUAL(entry != NULL, out.own - ENTRIES < in.published);
			if (entry) {
				CHECK_EQUAL(*entry, out.own++ - ENTRIES);
				uintr_ring_pop(&b.consumer);
			}
			break;
		case 4:
			uintr_ring_publish(&b.producer);
			wanted += advance(&in);
			break;
		case 5:
			uintr_ring_release(&b.consumer);
			wanted += advance(&out);
			break;
		case 6:
			wanted += advance(&out);
			in.wanted = out.own - ENTRIES + least;
			if (in.published >= in.wanted)
				in.wanted = 0;
			CHECK_EQUAL(uintr_ring_arm(&b.consumer, n), in.wanted != 0);
			break;
		case 7:
			wanted += advance(&in);
			out.wanted = in.own + least;
			if (out.published >= out.wanted)
				out.wanted = 0;
			CHECK_EQUAL(uintr_ring_arm_room(&b.producer, n), out.wanted != 0);
			break;
		}
		CHECK_EQUAL(bells, wanted);
	}
	CHECK(wanted > STEPS / 50);
	CHECK_EQUAL(uintr_channel_close(self), 0);
	CHECK_EQUAL(uintr_detach(0), 0);
	free(b.memory);
}

static void impossible_indices_break_the_ring(void)
{
	struct both b;
	struct uintr_ring_shared *s;

	open_both(&b, 8, 8);
	s = b.memory;
	s->tail = 9;
	CHECK(!uintr_ring_next(&b.consumer));
	CHECK(b.consumer.broken);
	CHECK(!uintr_ring_arm(&b.consumer, 1)); /* nothing to sleep for */
	CHECK_EQUAL(uintr_ring_wait(&b.consumer, 1, UINTR_FOREVER), -EPROTO);
	s->head = 1;
	CHECK_EQUAL(uintr_ring_room(&b.producer), 0);
	CHECK(b.producer.broken);
	CHECK_EQUAL(uintr_ring_wait_room(&b.producer, 1, UINTR_FOREVER), -EPROTO);
	free(b.memory);
}

static void pairs_are_judged(void)
{
	struct uintr_pair p;
	int fd, zero;
	uint64_t far = UINT64_MAX - 64;

	CHECK_EQUAL(uintr_pair_create(3, 8, 8, 8), -EINVAL);
	zero = open("/dev/zero", O_RDWR);
	CHECK_EQUAL(uintr_pair_open(&p, zero, -1), -EPROTO);
	close(zero);
	fd = memfd_create("not sealed", MFD_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQUAL(ftruncate(fd, 4096), 0);
	CHECK_EQUAL(uintr_pair_open(&p, fd, -1), -EPROTO);
	close(fd);
	fd = uintr_pair_create(4, 64, 8, 16);
	CHECK(fd >= 0);
	CHECK_EQUAL(ftruncate(fd, 0), -1); /* sealed */
	CHECK_EQUAL(uintr_pair_open(&p, fd, 5), 0);
	CHECK_EQUAL(p.sq.entries, 4);
	CHECK_EQUAL(p.cq.entry_size, 16);
	CHECK_EQUAL(p.cq.doorbell, 5);
	CHECK((unsigned char *)p.cq.shared >= p.sq.shared->slots + 4 * 64);
	uintr_pair_close(&p);
	CHECK_EQUAL(pwrite(fd, &far, sizeof(far), 16), 8);
	CHECK_EQUAL(uintr_pair_open(&p, fd, -1), -EPROTO);
	close(fd);
}

/*
 * Random work: the client submits numbers in batches of random size, sleeps for random amounts of room or
 * completions, or polls; the server answers each with its own function of the number, as randomly.
 * Order, values and doorbells are checked; a doorbell that was missed is a hang.
 */
enum { REQUESTS = 10000, SQ = 32, CQ = 16 };

struct request { uint64_t number; };
struct answer { uint64_t number, value; };

struct work {
	int socket, pair;
	uint64_t seed, doorbells, arms;
	bool sleeps; /* one that never sleeps is the other's polling peer */
};

static uint64_t answer_to(uint64_t number)
{
	return number * UINT64_C(0x9e3779b97f4a7c15) >> 7;
}

/* Both sides give each other a channel. */
static void meet(struct work *w, struct uintr_pair *p)
{
	int fd, peer;

	CHECK_EQUAL(uintr_receiver_start(0), 0);
	CHECK_EQUAL(uintr_attach(0, uintr_ring_doorbell, NULL), 0);
	fd = uintr_channel_create(0);
	CHECK(fd >= 0);
	CHECK_EQUAL(uintr_channel_pass(w->socket, fd), 0);
	close(fd);
	fd = uintr_channel_take(w->socket);
	CHECK(fd >= 0);
	peer = uintr_channel_open(fd);
	CHECK(peer >= 0);
	close(fd);
	CHECK_EQUAL(uintr_pair_open(p, w->pair, peer), 0);
}

/* The other side may still ring, so nothing is given up before both are done. */
static void part(struct work *w, struct uintr_pair *p)
{
	char byte = 'd';
	int peer = p->sq.doorbell;

	CHECK_EQUAL(write(w->socket, &byte, 1), 1);
	CHECK_EQUAL(read(w->socket, &byte, 1), 1);
	w->doorbells = p->sq.rung + p->cq.rung;
	uintr_pair_close(p);
	CHECK_EQUAL(uintr_channel_close(peer), 0);
	CHECK_EQUAL(uintr_receiver_stop(), 0);
}

static void idle(struct work *w, struct uintr_ring *r, bool room, uint32_t n)
{
	if (!w->sleeps || random_below(&w->seed, 8) == 0) {
		sched_yield();
		return;
	}
	w->arms++;
	CHECK_EQUAL(room ? uintr_ring_wait_room(r, n, UINTR_FOREVER) : uintr_ring_wait(r, n, UINTR_FOREVER), 0);
}

static void reap(struct work *w, struct uintr_pair *p, uint64_t *reaped)
{
	const struct answer *c;
	uint32_t most = 1 + random_below(&w->seed, CQ);

	while (most-- && (c = uintr_ring_next(&p->cq))) {
		CHECK_EQUAL(c->number, *reaped);
		CHECK_EQUAL(c->value, answer_to(*reaped));
		++*reaped;
		uintr_ring_pop(&p->cq);
	}
	uintr_ring_release(&p->cq);
}

static void *client(void *context)
{
	struct work *w = context;
	struct uintr_pair p;
	uint64_t submitted = 0, reaped = 0, open;

	meet(w, &p);
	while (reaped < REQUESTS) {
		struct request *s;
		uint32_t batch = 1 + random_below(&w->seed, SQ);

		while (batch-- && submitted < REQUESTS && (s = uintr_ring_slot(&p.sq))) {
			s->number = submitted++;
			uintr_ring_push(&p.sq);
		}
		uintr_ring_publish(&p.sq);
		reap(w, &p, &reaped);
		open = submitted - reaped;
		if (open && (submitted == REQUESTS || !uintr_ring_room(&p.sq))) {
			uint32_t n = 1 + random_below(&w->seed, CQ);

			idle(w, &p.cq, false, n < open ? n : (uint32_t)open);
		}
	}
	part(w, &p);
	return NULL;
}

static void *server(void *context)
{
	struct work *w = context;
	struct uintr_pair p;
	uint64_t served = 0;

	meet(w, &p);
	while (served < REQUESTS) {
		const struct request *s;
		struct answer *c;
		uint32_t batch = 1 + random_below(&w->seed, SQ);
		bool full = false;

		while (batch && (s = uintr_ring_next(&p.sq))) {
			c = uintr_ring_slot(&p.cq);
			full = !c;
			if (full)
				break;
			CHECK_EQUAL(s->number, served);
			*c = (struct answer){ s->number, answer_to(s->number) };
			uintr_ring_push(&p.cq);
			uintr_ring_pop(&p.sq);
			served++;
			batch--;
		}
		/* Answers before slots: a client that gets room finds what it can reap. */
		uintr_ring_publish(&p.cq);
		uintr_ring_release(&p.sq);
		if (served < REQUESTS && batch)
			idle(w, full ? &p.cq : &p.sq, full, 1);
	}
	part(w, &p);
	return NULL;
}

static void random_work(bool processes, bool client_sleeps, bool server_sleeps, uint64_t seed)
{
	int sockets[2], pair = uintr_pair_create(SQ, sizeof(struct request), CQ, sizeof(struct answer));
	struct work c, s;
	pthread_t thread;
	pid_t child = 0;

	CHECK(pair >= 0);
	CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	c = (struct work){ .socket = sockets[0], .pair = pair, .seed = seed, .sleeps = client_sleeps };
	s = (struct work){ .socket = sockets[1], .pair = pair, .seed = seed * 31, .sleeps = server_sleeps };
	if (processes) {
		child = fork();
		if (!child) {
			server(&s);
			_exit(0);
		}
	} else {
		CHECK_EQUAL(pthread_create(&thread, NULL, server, &s), 0);
	}
	client(&c);
	if (processes) {
		join_process(child);
	} else {
		pthread_join(thread, NULL);
		/* Who never asks is never rung. */
		CHECK(client_sleeps || s.doorbells == 0);
		CHECK(server_sleeps || c.doorbells == 0);
		CHECK(!server_sleeps || s.arms);
	}
	printf("ring: %d requests between %s, client %s, server %s: %llu doorbells by the client\n", REQUESTS,
	       processes ? "processes" : "threads", client_sleeps ? "sleeps" : "polls", server_sleeps ? "sleeps" : "polls",
	       (unsigned long long)c.doorbells);
	close(sockets[0]);
	close(sockets[1]);
	close(pair);
}

int main(void)
{
	begin();
	sizes_are_judged();
	pairs_are_judged();
	impossible_indices_break_the_ring();
	CHECK_EQUAL(uintr_receiver_start(0), 0);
	for (int i = -20; i <= 4; i++) {
		fills_and_empties((uint32_t)i);
		doorbells_come_when_asked_for((uint32_t)i);
		doorbells_are_as_asked_for((uint32_t)i * 50, 1000 + (uint64_t)i);
	}
	CHECK_EQUAL(uintr_receiver_stop(), 0);
	for (int i = 0; i < 4; i++) {
		random_work(false, i & 1, i & 2, 7 + (uint64_t)i);
		random_work(true, i & 1, i & 2, 70 + (uint64_t)i);
	}
	puts("ok ring");
	return 0;
}
