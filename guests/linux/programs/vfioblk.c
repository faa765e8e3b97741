// SPDX-License-Identifier: Apache-2.0
// A user program that drives a virtio disk by guests/lib/storage: vfio-pci lends it the function, rings and buffers
// are at IOVAs. Completions come by an eventfd, by user interrupts, or are polled for.
//
//	vfioblk GROUP FUNCTION OUTPUT [WORD...]       the whole disk into a file
//	vfioblk GROUP FUNCTION write INPUT [WORD...]  a file onto the disk, flushed
//	vfioblk GROUP FUNCTION stray                  one request into memory that is not mapped: the disk must not answer
//	vfioblk GROUP FUNCTION forever [WORD...]      reads without end, to be killed
//
// Words: queues=N, depth=N, batch=N (requests with one doorbell), wait=N (completions to wait for), split, plain (no
// event index), poll (from the beginning), posted (user interrupts), busy (with posted: computes meanwhile, instead of
// waiting), mark (says where it begins and ends, for who counts what it costs).
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>
#include <x86gprintrin.h>

#include "../../lib/storage/internal.h"
#include "../../lib/uintr.h"

enum { BLOCK = 4096, SECTORS = BLOCK / STORAGE_SECTOR };
enum { NR_uintr_register_handler = 471, NR_uintr_vector_fd = 473 };

static struct storage *disk;
static struct storage_options options = { .depth = 16 };
static unsigned batch = 1, wait_for = 1;
static int posted, polled, busy, marked;
static volatile int fired[STORAGE_MAX_QUEUES];
static const char *posts = "no";

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "vfioblk: %s: %s\n", what, why);
	exit(1);
}

static int check(int v, const char *what)
{
	if (v < 0)
		fail(what, strerror(errno));
	return v;
}

static int must(int v, const char *what)
{
	if (v < 0)
		fail(what, storage_error());
	return v;
}

static struct storage_queue *queues[STORAGE_MAX_QUEUES];

// The vector is the queue's number.
__attribute__((interrupt, target("general-regs-only,uintr"))) static void handler(struct __uintr_frame *frame, unsigned long long vector)
{
	(void)frame;
	fired[vector] = 1;
	storage_interrupted(queues[vector]);
}

static void set_up(void)
{
	const struct storage_info *info = storage_info(disk);

	if (posted)
		check(syscall(NR_uintr_register_handler, handler, 0), "registering a handler");
	for (unsigned i = 0; i < info->queues; i++) {
		struct storage_queue *q = queues[i] = storage_queue(disk, i);
		storage_set_waiting(q, &(struct storage_waiting){ .batch = posted ? UINT_MAX : 0, .spins = polled ? UINT_MAX : 0 });
		if (polled)
			q->polling = true;
		if (posted) {
			int fd = check(syscall(NR_uintr_vector_fd, i, 0), "a vector");
			posts = must(storage_post(q, fd), "posting") ? "device" : "kernel";
		}
	}
	if (posted)
		uintr_stui();
}

static void report(const char *what)
{
	struct storage_counters sum = { 0 }, c;

	for (unsigned i = 0; i < storage_info(disk)->queues; i++) {
		storage_count(storage_queue(disk, i), &c);
		sum.completed += c.completed;
		sum.interrupts += c.interrupts;
		sum.doorbells += c.doorbells;
		sum.blocked += c.blocked;
		sum.polls += c.polls;
		sum.switches += c.switches;
	}
	printf("vfio %s %lu interrupts %lu\n", what, sum.completed, sum.interrupts);
	printf("vfio doorbells %lu blocked %lu polls %lu switches %lu queues %u %s posts %s\n", sum.doorbells, sum.blocked, sum.polls,
	       sum.switches, storage_info(disk)->queues, storage_info(disk)->packed ? "packed" : "split", posts);
	if (sum.interrupts > sum.completed)
		fail(what, "more interrupts than completions");
}

// wait_for_some waits for completions, or computes until they interrupt.
static void wait_for_some(struct storage_queue *q)
{
	if (!busy) {
		must(storage_wait(q, wait_for, -1), "waiting");
		return;
	}
	unsigned n = storage_open_requests(q) < wait_for ? storage_open_requests(q) : wait_for;
	fired[q->index] = 0;
	if ((unsigned)must(storage_arm(q, n), "arming") < n)
		while (!fired[q->index])
			__builtin_ia32_pause();
}

static void mark(const char *where)
{
	if (!marked)
		return;
	printf("mark %s\n", where);
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
}

// run moves blocks [0, count) between the disk and a file, or reads without end; a request's name is its buffer and block.
static void run(enum storage_operation op, int file, const char *path, uint64_t count)
{
	unsigned owned = storage_info(disk)->queues, depth = storage_info(disk)->depth;
	uint8_t *buffers = storage_alloc(disk, (size_t)owned * depth * BLOCK, BLOCK);
	unsigned *spare = calloc(owned * depth, sizeof *spare), spares[STORAGE_MAX_QUEUES];
	uint64_t next = 0, done = 0;

	if (!buffers || !spare)
		fail("buffers", storage_error());
	for (unsigned i = 0; i < owned; i++)
		for (spares[i] = 0; spares[i] < depth; spares[i]++)
			spare[i * depth + spares[i]] = i * depth + spares[i];
	mark("begin");
	while (done < count) {
		for (unsigned i = 0; i < owned; i++) {
			struct storage_queue *q = queues[i];
			struct storage_completion c[16];
			struct storage_request *r;
			while (next < count && spares[i] && (r = storage_next(q))) {
				unsigned b = spare[i * depth + --spares[i]];
				uint8_t *buffer = buffers + (size_t)b * BLOCK;
				uint64_t block = file < 0 ? next % (storage_info(disk)->sectors / SECTORS) : next;
				if (op == STORAGE_WRITE && pread(file, buffer, BLOCK, block * BLOCK) != BLOCK)
					fail(path, "too short");
				storage_prepare(r, op, buffer, BLOCK, block * SECTORS, (uint64_t)b << 40 | block);
				next++;
				if (q->prepared == batch)
					must(storage_submit(q), "submitting");
			}
			must(storage_submit(q), "submitting");
			wait_for_some(q);
			for (int n; (n = must(storage_reap(q, c, 16), "reaping")) > 0;)
				for (int j = 0; j < n; j++) {
					uint64_t b = c[j].name >> 40, block = c[j].name & (BIT(40) - 1);
					if (c[j].result != BLOCK)
						fail("a request", strerror(-c[j].result));
					if (op == STORAGE_READ && file >= 0 && pwrite(file, buffers + b * BLOCK, BLOCK, block * BLOCK) != BLOCK)
						fail(path, strerror(errno));
					spare[i * depth + spares[i]++] = b;
					done++;
				}
		}
	}
	mark("end");
}

static void flush(void)
{
	struct storage_queue *q = queues[0];
	struct storage_completion c;

	storage_flush(storage_next(q), 0);
	must(storage_submit(q), "flushing");
	must(storage_wait(q, 1, -1), "flushing");
	if (storage_reap(q, &c, 1) != 1 || c.result < 0)
		fail("flushing", strerror(-c.result));
}

// stray has the disk write beside what is mapped for it, once: the library is told that a page is registered which is not.
static void stray(void)
{
	static uint8_t page[BLOCK] __attribute__((aligned(BLOCK)));
	struct storage_queue *q = queues[0];

	disk->regions[STORAGE_MAX_REGIONS - 1] = (struct region){ page, sizeof page, 0x1200000000 + (64ul << 20) };
	storage_read(storage_next(q), page, BLOCK, 0, 0);
	must(storage_submit(q), "submitting");
	int n = storage_wait(q, 1, 2000);
	printf("vfio stray used %d status %s\n", n > 0 ? n : 0, storage_failed(disk) ? "needs reset" : "running");
	disk->regions[STORAGE_MAX_REGIONS - 1].bytes = 0;
}

static void words(char **w)
{
	for (; *w; w++) {
		if (sscanf(*w, "queues=%u", &options.queues) == 1 || sscanf(*w, "depth=%u", &options.depth) == 1 ||
		    sscanf(*w, "batch=%u", &batch) == 1 || sscanf(*w, "wait=%u", &wait_for) == 1)
			continue;
		if (!strcmp(*w, "split"))
			options.split = true;
		else if (!strcmp(*w, "plain"))
			options.no_event_index = true;
		else if (!strcmp(*w, "poll"))
			polled = 1;
		else if (!strcmp(*w, "posted"))
			posted = 1;
		else if (!strcmp(*w, "busy"))
			busy = 1;
		else if (!strcmp(*w, "mark"))
			marked = 1;
		else
			fail(*w, "not a word of vfioblk");
	}
}

int main(int argc, char **argv)
{
	if (argc < 4 || (!strcmp(argv[3], "write") && argc < 5)) {
		fprintf(stderr, "vfioblk GROUP FUNCTION OUTPUT|write INPUT|stray|forever [WORD...]\n");
		return 2;
	}
	const char *what = argv[3];
	words(argv + (!strcmp(what, "write") ? 5 : 4));
	if (busy && !posted)
		fail("busy", "needs posted");
	must(storage_open(&disk, argv[1], argv[2], &options), "opening the disk");
	set_up();
	uint64_t blocks = storage_info(disk)->sectors / SECTORS;
	if (!strcmp(what, "stray")) {
		stray();
	} else if (!strcmp(what, "forever")) {
		puts("vfio forever");
		fflush(stdout);
		run(STORAGE_READ, -1, "", UINT64_MAX);
	} else if (!strcmp(what, "write")) {
		run(STORAGE_WRITE, check(open(argv[4], O_RDONLY), argv[4]), argv[4], blocks);
		flush();
		report("written");
	} else {
		run(STORAGE_READ, check(open(what, O_WRONLY | O_CREAT | O_TRUNC, 0600), what), what, blocks);
		report("completions");
	}
	storage_close(disk);
	return 0;
}
