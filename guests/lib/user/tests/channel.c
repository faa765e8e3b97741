/* SPDX-License-Identifier: Apache-2.0 */
/* Channels between threads and processes, and sleeping receivers. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/socket.h>
#include <time.h>

#include "test.h"

enum { ROUNDS = 2000 };

static void count(unsigned vector, void *context)
{
	(void)vector;
	++*(volatile long *)context;
}

struct reached {
	volatile long *counter;
	long wanted;
};

static bool reached(void *context)
{
	struct reached *r = context;

	return *r->counter >= r->wanted;
}

static void wait_for(volatile long *counter, long wanted)
{
	struct reached r = { counter, wanted };

	CHECK_EQUAL(uintr_wait_until(reached, &r, UINTR_FOREVER), 0);
}

/* A side of a ping-pong: waits for its n-th interrupt, then sends the other's. */
struct side {
	int socket;
	bool first;
};

static void *play(void *context)
{
	struct side *s = context;
	volatile long got = 0;
	int fd, peer;

	CHECK_EQUAL(uintr_receiver_start(0), 0);
	CHECK_EQUAL(uintr_attach(5, count, (void *)&got), 5);
	fd = uintr_channel_create(5);
	CHECK(fd >= 0);
	CHECK_EQUAL(uintr_channel_pass(s->socket, fd), 0);
	close(fd);
	fd = uintr_channel_take(s->socket);
	CHECK(fd >= 0);
	peer = uintr_channel_open(fd);
	CHECK(peer >= 0);
	close(fd);
	for (long i = 1; i <= ROUNDS; i++) {
		if (s->first)
			uintr_send(peer);
		wait_for(&got, i);
		if (!s->first)
			uintr_send(peer);
	}
	CHECK_EQUAL(got, ROUNDS);
	CHECK_EQUAL(uintr_channel_close(peer), 0);
	CHECK_EQUAL(uintr_receiver_stop(), 0);
	return NULL;
}

static void threads_ping_each_other(void)
{
	int sockets[2];
	struct side a, b;
	pthread_t thread;

	CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	a = (struct side){ sockets[0], true };
	b = (struct side){ sockets[1], false };
	CHECK_EQUAL(pthread_create(&thread, NULL, play, &b), 0);
	play(&a);
	pthread_join(thread, NULL);
	close(sockets[0]);
	close(sockets[1]);
}

static void processes_ping_each_other(void)
{
	int sockets[2];
	struct side a, b;
	pid_t child;

	CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	a = (struct side){ sockets[0], true };
	b = (struct side){ sockets[1], false };
	child = fork();
	if (!child) {
		play(&b);
		_exit(0);
	}
	play(&a);
	join_process(child);
	close(sockets[0]);
	close(sockets[1]);
}

/* A child of a receiver is none, may become one, and sends by its parent's indices. */
static void children_inherit_indices_not_receivers(void)
{
	volatile long got = 0, own = 0;
	int index;
	pid_t child;

	CHECK_EQUAL(uintr_receiver_start(0), 0);
	CHECK_EQUAL(uintr_attach(2, count, (void *)&got), 2);
	index = uintr_channel_self(2);
	CHECK(index >= 0);
	child = fork();
	if (!child) {
		int mine;

		CHECK_EQUAL(uintr_receiver_stop(), -EINVAL);
		uintr_send(index);
		CHECK_EQUAL(uintr_receiver_start(0), 0);
		CHECK_EQUAL(uintr_attach(2, count, (void *)&own), 2);
		mine = uintr_channel_self(2);
		CHECK(mine >= 0);
		uintr_send(mine);
		wait_for(&own, 1);
		CHECK_EQUAL(got, 0);
		_exit(0);
	}
	wait_for(&got, 1);
	join_process(child);
	CHECK_EQUAL(got, 1);
	CHECK_EQUAL(uintr_channel_close(index), 0);
	CHECK_EQUAL(uintr_receiver_stop(), 0);
}

static void misuse_is_refused(void)
{
	int sockets[2], null = open("/dev/null", O_RDWR), fd;

	CHECK_EQUAL(uintr_channel_open(-1), -EBADF);
	CHECK_EQUAL(uintr_channel_open(null), -EOPNOTSUPP);
	CHECK_EQUAL(uintr_channel_pass(null, null), -ENOTSOCK);
	CHECK_EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	CHECK_EQUAL(write(sockets[0], "x", 1), 1);
	CHECK_EQUAL(uintr_channel_take(sockets[1]), -EPROTO);
	CHECK_EQUAL(uintr_channel_pass(sockets[0], null), 0);
	fd = uintr_channel_take(sockets[1]);
	CHECK(fd >= 0);
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	close(sockets[0]);
	CHECK_EQUAL(uintr_channel_take(sockets[1]), -EPIPE);
	close(sockets[1]);
	close(null);
}

static bool never(void *context)
{
	(void)context;
	return false;
}

static void waiting_ends_in_time_and_not_masked(void)
{
	struct timespec a, b;
	volatile long got = 0;
	int index;

	CHECK_EQUAL(uintr_wait_until(never, NULL, 1000), -EOPNOTSUPP);
	CHECK_EQUAL(uintr_receiver_start(0), 0);
	clock_gettime(CLOCK_MONOTONIC, &a);
	CHECK_EQUAL(uintr_wait_until(never, NULL, 20000), -ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &b);
	CHECK((b.tv_sec - a.tv_sec) * 1000000000LL + b.tv_nsec - a.tv_nsec >= 20000000);
	CHECK_EQUAL(uintr_wait_until(never, NULL, 0), -ETIMEDOUT);
	uintr_mask();
	CHECK_EQUAL(uintr_wait_until(never, NULL, UINTR_FOREVER), -EDEADLK);
	uintr_unmask();
	/* Others' interrupts do not end it. */
	CHECK_EQUAL(uintr_attach(0, count, (void *)&got), 0);
	index = uintr_channel_self(0);
	uintr_send(index);
	CHECK_EQUAL(uintr_wait_until(never, NULL, 5000), -ETIMEDOUT);
	CHECK_EQUAL(got, 1);
	CHECK_EQUAL(uintr_channel_close(index), 0);
	CHECK_EQUAL(uintr_receiver_stop(), 0);
}

#ifndef UINTR_MODEL /* its signals restart calls */
struct waker {
	int fd;
	atomic_bool woken;
};

static void *wakes(void *context)
{
	struct waker *w = context;
	int index = uintr_channel_open(w->fd);

	CHECK(index >= 0);
	while (!w->woken) {
		uintr_send(index);
		usleep(2000);
	}
	CHECK_EQUAL(uintr_channel_close(index), 0);
	return NULL;
}

/* With a WAITING flag an interrupt ends any call in which the receiver blocks. */
static void blocked_calls_end(unsigned flag)
{
	volatile long got = 0;
	struct waker w = {0};
	pthread_t thread;
	int pipes[2];
	char byte;

	CHECK_EQUAL(pipe(pipes), 0);
	CHECK_EQUAL(uintr_receiver_start(flag), 0);
	CHECK_EQUAL(uintr_attach(6, count, (void *)&got), 6);
	w.fd = uintr_channel_create(6);
	CHECK(w.fd >= 0);
	CHECK_EQUAL(pthread_create(&thread, NULL, wakes, &w), 0);
	for (int i = 0; i < 20; i++) {
		long before = got;

		CHECK_EQUAL(read(pipes[0], &byte, 1), -1);
		CHECK_EQUAL(errno, EINTR);
		CHECK(got > before);
	}
	w.woken = true;
	pthread_join(thread, NULL);
	CHECK_EQUAL(uintr_receiver_stop(), 0);
	close(w.fd);
	close(pipes[0]);
	close(pipes[1]);
}
#endif

/* All 256 targets of a process, and not one more. */
static void targets_are_256(void)
{
	int index[UINTR_TARGETS];

	CHECK_EQUAL(uintr_receiver_start(0), 0);
	for (int i = 0; i < UINTR_TARGETS; i++)
		CHECK_EQUAL(index[i] = uintr_channel_self(i % UINTR_VECTORS), i);
	CHECK_EQUAL(uintr_channel_self(0), -ENOSPC);
	CHECK_EQUAL(uintr_channel_close(index[100]), 0);
	CHECK_EQUAL(uintr_channel_close(index[100]), -EINVAL);
	CHECK_EQUAL(uintr_channel_self(0), 100);
	for (int i = 0; i < UINTR_TARGETS; i++)
		CHECK_EQUAL(uintr_channel_close(i), 0);
	CHECK_EQUAL(uintr_receiver_stop(), 0);
}

int main(void)
{
	begin();
	misuse_is_refused();
	targets_are_256();
	waiting_ends_in_time_and_not_masked();
	children_inherit_indices_not_receivers();
#ifndef UINTR_MODEL
	blocked_calls_end(UINTR_WAITING_RECEIVER);
	blocked_calls_end(UINTR_WAITING_SENDER);
#endif
	threads_ping_each_other();
	processes_ping_each_other();
	puts("ok channel");
	return 0;
}
