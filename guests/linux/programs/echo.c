// SPDX-License-Identifier: Apache-2.0
// Two processes over a pair of rings: a server sends back what a client submits. Neither polls; a user interrupt
// wakes whoever asked for one, and batches share it.
//
//	echo [MESSAGES [BATCH]]
//	gcc -muintr -pthread -o echo echo.c -luintr-user
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <uintr_ring.h>

enum { ENTRIES = 64 };

struct message {
	uint64_t number;
	char text[56];
};

static int check(int result, const char *what)
{
	if (result < 0)
		errx(EXIT_FAILURE, "%s: %s", what, strerror(-result));
	return result;
}

// Each side is woken by a vector of its own, and gives the other a channel to it.
static void meet(int socket, int rings, struct uintr_pair *pair)
{
	int vector, mine, peer;

	check(uintr_receiver_start(0), "uintr_receiver_start");
	vector = check(uintr_attach(UINTR_ANY, uintr_ring_doorbell, NULL), "uintr_attach");
	mine = check(uintr_channel_create(vector), "uintr_channel_create");
	check(uintr_channel_pass(socket, mine), "uintr_channel_pass");
	peer = check(uintr_channel_take(socket), "uintr_channel_take");
	check(uintr_pair_open(pair, rings, check(uintr_channel_open(peer), "uintr_channel_open")), "uintr_pair_open");
	close(mine);
	close(peer);
}

static void serve(struct uintr_pair *pair, long messages)
{
	const struct message *in;
	struct message *out;

	while (messages) {
		check(uintr_ring_wait(&pair->sq, 1, UINTR_FOREVER), "waiting for messages");
		while (messages && (in = uintr_ring_next(&pair->sq))) {
			while (!(out = uintr_ring_slot(&pair->cq)))
				check(uintr_ring_wait_room(&pair->cq, 1, UINTR_FOREVER), "waiting for room");
			*out = *in;
			uintr_ring_push(&pair->cq);
			uintr_ring_pop(&pair->sq);
			messages--;
		}
		uintr_ring_publish(&pair->cq);
		uintr_ring_release(&pair->sq);
	}
}

static void submit(struct uintr_pair *pair, long from, long n)
{
	struct message *m;

	for (long i = from; i < from + n; i++) {
		m = uintr_ring_slot(&pair->sq); // there is room: all before were answered
		m->number = (uint64_t)i;
		snprintf(m->text, sizeof(m->text), "message %ld", i);
		uintr_ring_push(&pair->sq);
	}
	uintr_ring_publish(&pair->sq);
}

static void reap(struct uintr_pair *pair, long from, long n)
{
	const struct message *m;
	char text[sizeof(m->text)];

	check(uintr_ring_wait(&pair->cq, (uint32_t)n, UINTR_FOREVER), "waiting for answers");
	for (long i = from; i < from + n; i++) {
		snprintf(text, sizeof(text), "message %ld", i);
		m = uintr_ring_next(&pair->cq);
		if (m->number != (uint64_t)i || strcmp(m->text, text))
			errx(EXIT_FAILURE, "answer %ld is not what was sent", i);
		uintr_ring_pop(&pair->cq);
	}
	uintr_ring_release(&pair->cq);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	long messages = argc > 1 ? atol(argv[1]) : 10000, batch = argc > 2 ? atol(argv[2]) : 16, n;
	int sockets[2], rings, status;
	struct uintr_pair pair;
	double start;
	pid_t child;

	if (uintr_unavailable())
		errx(EXIT_FAILURE, "%s", uintr_unavailable());
	if (messages < 1 || batch < 1 || batch > ENTRIES)
		errx(EXIT_FAILURE, "usage: echo [MESSAGES [BATCH]], a batch has 1 to %d", ENTRIES);
	rings = check(uintr_pair_create(ENTRIES, sizeof(struct message), ENTRIES, sizeof(struct message)), "uintr_pair_create");
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) < 0)
		err(EXIT_FAILURE, "socketpair");
	child = fork();
	if (child < 0)
		err(EXIT_FAILURE, "fork");
	meet(sockets[!child], rings, &pair);
	if (!child) {
		serve(&pair, messages);
		// The client may be about to send: the receiver stays until it is done.
		close(sockets[0]);
		return read(sockets[1], &status, 1) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	close(sockets[1]);
	start = seconds();
	for (long i = 0; i < messages; i += n) {
		n = messages - i < batch ? messages - i : batch;
		submit(&pair, i, n);
		reap(&pair, i, n);
	}
	printf("%ld messages in batches of %ld: %.0f a second, %llu doorbells\n", messages, batch,
	       (double)messages / (seconds() - start), (unsigned long long)pair.sq.rung);
	close(sockets[0]);
	if (waitpid(child, &status, 0) < 0 || status)
		errx(EXIT_FAILURE, "the server failed");
	return EXIT_SUCCESS;
}
