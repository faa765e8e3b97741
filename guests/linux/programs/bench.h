/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the experiments' programs share: time, samples, the lines that `gvmm bench` reads, and the
 * system calls of user interrupts (uintr.md §2.1).
 *
 * A line is "gvmm-bench " and a JSON object. A measure has a round, labels that say what was
 * measured, and values; "absent" is what could not be measured here; "end" counts the lines before
 * it, so that a lost one is seen.
 */
#ifndef GVMM_BENCH_H
#define GVMM_BENCH_H

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { UINTR_REGISTER_HANDLER = 471, UINTR_UNREGISTER_HANDLER, UINTR_VECTOR_FD, UINTR_REGISTER_SENDER, UINTR_UNREGISTER_SENDER, UINTR_WAIT };

static const char *bench_doing = "nothing"; // what a failure or a stall is told to have happened in

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	fprintf(stderr, "%s: ", bench_doing);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(1);
}

static inline long must(long result, const char *call)
{
	if (result < 0)
		die("%s: %s", call, strerror(errno));
	return result;
}

// Memory that children share, zeroed and present.
static inline void *shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (p == MAP_FAILED)
		die("mmap: %s", strerror(errno));
	return p;
}

static inline int cpus(void)
{
	cpu_set_t set;

	must(sched_getaffinity(0, sizeof set, &set), "sched_getaffinity");
	return CPU_COUNT(&set);
}

// Binds the calling thread to the nth CPU that it may use.
static inline void pin(const cpu_set_t *allowed, int nth)
{
	cpu_set_t set;
	int cpu = -1;

	nth %= CPU_COUNT(allowed);
	while (nth >= 0)
		if (CPU_ISSET(++cpu, allowed))
			nth--;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must(sched_setaffinity(0, sizeof set, &set), "sched_setaffinity");
}

static inline void relax(void)
{
	__builtin_ia32_pause();
}

// One clock for all CPUs, in ticks: after what precedes it, before what follows.
static inline uint64_t ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static inline uint64_t nanoseconds(void)
{
	struct timespec t;

	must(clock_gettime(CLOCK_MONOTONIC, &t), "clock_gettime");
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct { uint64_t ticks, ns; } bench_origin;

// Nanoseconds a tick, over the time since bench_begin.
static inline double tick(void)
{
	uint64_t t = ticks(), ns = nanoseconds();

	if (t <= bench_origin.ticks)
		die("the time-stamp counter does not count");
	return (double)(ns - bench_origin.ns) / (double)(t - bench_origin.ticks);
}

static char bench_line[4096];
static size_t bench_length;
static const char *bench_comma;
static unsigned bench_lines;

__attribute__((format(printf, 1, 2))) static inline void bench_put(const char *format, ...)
{
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(bench_line + bench_length, sizeof bench_line - bench_length, format, arguments);
	va_end(arguments);
	if (n < 0 || (size_t)n >= sizeof bench_line - bench_length)
		die("a line of more than %zu characters", sizeof bench_line);
	bench_length += (size_t)n;
}

// The whole line in one write: lines of others come before it or after.
static inline void bench_send(void)
{
	bench_put("\n");
	for (size_t sent = 0; sent < bench_length;)
		sent += (size_t)must(write(STDOUT_FILENO, bench_line + sent, bench_length - sent), "write");
	bench_length = 0;
	bench_lines++;
}

// Begins a measure's line; labels are names and strings in turn, ended by NULL.
static inline void bench_measure(int round, ...)
{
	const char *name, *comma = "";
	va_list labels;

	bench_put("gvmm-bench {\"round\":%d,\"labels\":{", round);
	va_start(labels, round);
	while ((name = va_arg(labels, const char *))) {
		bench_put("%s\"%s\":\"%s\"", comma, name, va_arg(labels, const char *));
		comma = ",";
	}
	va_end(labels);
	bench_put("},\"values\":{");
	bench_comma = "";
}

static inline void bench_value(const char *name, double value)
{
	bench_put("%s\"%s\":%.9g", bench_comma, name, value);
	bench_comma = ",";
}

static inline void bench_done(void)
{
	bench_put("}}");
	bench_send();
}

static inline void bench_absent(const char *what, const char *why)
{
	bench_put("gvmm-bench {\"absent\":\"%s\",\"why\":\"%s\"}", what, why);
	bench_send();
}

// Whether this machine has user interrupts for programs. Says so if it has not.
static inline bool have_uintr(void)
{
	// A handler that nobody can call: there is no descriptor of it.
	if (syscall(UINTR_REGISTER_HANDLER, have_uintr, 0) < 0) {
		bench_absent("uintr", "uintr_register_handler() fails: is the driver loaded?");
		return false;
	}
	must(syscall(UINTR_UNREGISTER_HANDLER, 0), "uintr_unregister_handler");
	return true;
}

static inline int compare_ticks(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

// Values prefix_min_ns, _p50_ns, _p99_ns and _max_ns of n > 0 samples in ticks, which it sorts.
static inline void bench_samples(const char *prefix, uint64_t *samples, size_t n)
{
	const struct { const char *name; size_t at; } quantiles[] = {
		{"min", 0}, {"p50", n / 2}, {"p99", n - 1 - n / 100}, {"max", n - 1},
	};
	double ns = tick();
	char name[64];

	qsort(samples, n, sizeof *samples, compare_ticks);
	for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
		snprintf(name, sizeof name, "%s_%s_ns", prefix, quantiles[i].name);
		bench_value(name, ns * (double)samples[quantiles[i].at]);
	}
}

static inline void bench_begin(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	bench_origin.ns = nanoseconds();
	bench_origin.ticks = ticks();
	while (nanoseconds() - bench_origin.ns < 20000000)
		relax();
}

static inline void bench_end(void)
{
	bench_put("gvmm-bench {\"end\":%u}", bench_lines);
	bench_send();
}

// An option NAME=NUMBER among a program's arguments, between least and most.
static inline long option(char **arguments, const char *name, long otherwise, long least, long most)
{
	size_t length = strlen(name);
	long value = otherwise;

	for (char **a = arguments + 1; *a; a++) {
		char *end;

		if (strncmp(*a, name, length) != 0 || (*a)[length] != '=')
			continue;
		errno = 0;
		value = strtol(*a + length + 1, &end, 10);
		if (errno || *end || end == *a + length + 1 || value < least || value > most)
			die("%s: a number from %ld to %ld is wanted", *a, least, most);
	}
	return value;
}

// Refuses arguments that no option reads.
static inline void options(char **arguments, const char *const *names)
{
	for (char **a = arguments + 1; *a; a++) {
		bool known = false;

		for (const char *const *n = names; *n; n++)
			known |= strncmp(*a, *n, strlen(*n)) == 0 && (*a)[strlen(*n)] == '=';
		if (!known)
			die("%s: no such option", *a);
	}
}

#endif
