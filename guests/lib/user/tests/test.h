/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests share. A test is a program: status 0 and "ok NAME", or the first check that failed. */
#ifndef TEST_H
#define TEST_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uintr_user.h"

#define CHECK(c) do { if (!(c)) check_failed(__FILE__, __LINE__, #c); } while (0)
#define CHECK_EQUAL(a, b) check_equal(__FILE__, __LINE__, #a, (long long)(a), (long long)(b))

static inline void check_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: failed: %s (errno %d)\n", file, line, what, errno);
	_exit(1);
}

static inline void check_equal(const char *file, int line, const char *what, long long is, long long wanted)
{
	if (is == wanted)
		return;
	fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", file, line, what, is, wanted);
	_exit(1);
}

/* xorshift64*: a test prints its seed. */
static inline uint32_t random_below(uint64_t *state, uint32_t n)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)((*state * UINT64_C(0x2545f4914f6cdd1d)) >> 32) % n;
}

/* A hang fails, with where it was. */
static inline void begin(void)
{
	const char *why = uintr_unavailable();

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (why) {
		fprintf(stderr, "%s\n", why);
		exit(77);
	}
	alarm(240);
}

/* A child that checks too. */
static inline void join_process(pid_t child)
{
	int status;

	CHECK_EQUAL(waitpid(child, &status, 0), child);
	CHECK(WIFEXITED(status));
	CHECK_EQUAL(WEXITSTATUS(status), 0);
}
#endif
