// SPDX-License-Identifier: Apache-2.0
/* What the tests share: the calls by their numbers, checks that say where they failed. */
#ifndef CHECK_H
#define CHECK_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86gprintrin.h>

#include "../uintr_ioctl.h"

enum { WAITING_RECEIVER = 0x1000, WAITING_SENDER = 0x2000, WAITING_ANY = 0x3000 };

/* Each returns what the call does, or minus errno. */
static inline long call(long number, long a, long b, long c)
{
	long r = syscall(number, a, b, c);

	return r < 0 ? -errno : r;
}
#define register_handler(handler, flags)	call(471, (long)(handler), flags, 0)
#define unregister_handler(flags)		call(472, flags, 0, 0)
#define vector_fd(vector, flags)		call(473, vector, flags, 0)
#define register_sender(fd, flags)		call(474, fd, flags, 0)
#define unregister_sender(index, flags)		call(475, index, flags, 0)
#define uintr_wait(usec, flags)			call(476, usec, flags, 0)
#define register_self(vector, flags)		call(477, vector, flags, 0)
#define alt_stack(sp, size, flags)		call(478, (long)(sp), size, flags)
#define ipi_fd(flags)				call(479, flags, 0, 0)

#define HANDLER __attribute__((interrupt))
typedef struct __uintr_frame frame_t;
typedef unsigned long long vector_t;

static int failures;

#define EXPECT(got, want) do { \
	long got_ = (long)(got), want_ = (long)(want); \
	if (got_ != want_) { \
		__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED); \
		printf("FAIL %s:%d: %s is %ld, not %ld\n", __FILE__, __LINE__, #got, got_, want_); \
	} \
} while (0)

#define REQUIRE(condition) do { \
	if (!(condition)) { \
		printf("FAIL %s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
		exit(1); \
	} \
} while (0)

static inline int verdict(const char *name)
{
	printf("%s %s\n", failures ? "FAIL" : "PASS", name);
	fflush(stdout);
	return failures != 0;
}

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* Waits, for 20 s at most, until *word is value. */
static inline bool becomes(volatile unsigned long *word, unsigned long value)
{
	uint64_t end = now_ns() + 20000000000ull;

	while (*word != value && now_ns() < end)
		sched_yield();
	return *word == value;
}

/* Runs f in a child; its wait status. */
static inline int in_child(void (*f)(void))
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	REQUIRE(pid >= 0);
	if (!pid) {
		failures = 0;
		f();
		fflush(stdout);
		_exit(failures != 0);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	return status;
}
#define EXPECT_OK(f)		EXPECT(in_child(f), 0)
#define EXPECT_SIGNAL(f, signal) do { \
	int status_ = in_child(f); \
	EXPECT(WIFSIGNALED(status_) ? WTERMSIG(status_) : -WEXITSTATUS(status_), signal); \
} while (0)

#endif
