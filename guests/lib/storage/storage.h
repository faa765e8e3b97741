/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio disk that this process owns: its queues and doorbells are mapped, its DMA reaches what
 * the process registered and nothing else, and no request or completion passes the kernel.
 *
 *	struct storage *disk;
 *	if (storage_open(&disk, "1", "0000:00:02.0", NULL))		// /dev/vfio/1
 *		return 1;
 *	struct storage_queue *q = storage_queue(disk, 0);
 *	void *block = storage_alloc(disk, 4096, 4096);
 *	storage_read(storage_next(q), block, 4096, 0, 1);		// sector 0, named 1
 *	storage_submit(q);						// one doorbell, whatever was prepared
 *	struct storage_completion done;
 *	storage_wait(q, 1, -1);
 *	storage_reap(q, &done, 1);					// done.result is 4096
 *	storage_close(disk);
 *
 * Submission and completion rings are as io_uring's: storage_next() gives an entry to fill in,
 * storage_submit() publishes all of them, storage_reap() takes what is complete, storage_wait()
 * blocks or polls. A queue has one user at a time; different queues may be driven by different
 * threads. Functions that return int give a negative errno if they fail; storage_error() says more.
 *
 * Nothing that the disk writes is trusted: a queue that answers what was not asked is broken (-EIO)
 * and its requests stay open until storage_close().
 */
#ifndef GVMM_STORAGE_H
#define GVMM_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STORAGE_SECTOR = 512 }; /* bytes: the unit of positions and lengths */

/* Limits. */
enum {
	STORAGE_MAX_QUEUES = 64,
	STORAGE_MAX_REGIONS = 64, /* of registered memory */
	STORAGE_MAX_DEPTH = 4096, /* requests under way in a queue */
};
#define STORAGE_MAX_BYTES (1u << 30) /* of a request */

/* Zero is a default, in brackets. */
struct storage_options {
	unsigned queues;     /* [1], at most what the disk has */
	unsigned depth;      /* requests under way in each queue [64], lowered to what fits the disk's queue */
	size_t memory;       /* bytes that storage_alloc() gives out [4 MiB] */
	bool split;          /* no packed ring, though the disk has it */
	bool no_event_index; /* interrupts cannot be put off, only switched off */
};

struct storage_info {
	uint64_t sectors;
	unsigned queues, depth; /* in use */
	unsigned queue_size;
	bool read_only, flush, packed, event_index;
};

struct storage;
struct storage_queue;

/* storage_open takes the function (as "0000:00:02.0") of a VFIO group, which vfio-pci has. */
int storage_open(struct storage **disk, const char *group, const char *function, const struct storage_options *options);
/* storage_close resets the disk, so that no request is under way, and gives everything back. */
void storage_close(struct storage *disk);
const char *storage_error(void); /* why the last call of this thread failed */
const struct storage_info *storage_info(const struct storage *disk);
struct storage_queue *storage_queue(struct storage *disk, unsigned index); /* NULL: no such queue */
/* storage_failed: the disk is in a state that only storage_close() ends (NEEDS_RESET, virtio 1.3 §2.1.1). */
bool storage_failed(const struct storage *disk);

/* storage_alloc gives memory that the disk reaches, until storage_close(). alignment is a power of two. NULL: none left. */
void *storage_alloc(struct storage *disk, size_t bytes, size_t alignment);
/* storage_register lets the disk reach whole pages of the caller's; storage_unregister takes that back, with no request under way. */
int storage_register(struct storage *disk, void *memory, size_t bytes);
int storage_unregister(struct storage *disk, void *memory);

enum storage_operation { STORAGE_READ, STORAGE_WRITE, STORAGE_FLUSH };

/* A submission entry. */
struct storage_request {
	enum storage_operation operation;
	uint32_t bytes; /* a multiple of STORAGE_SECTOR */
	void *buffer;   /* in memory of storage_alloc() or storage_register() */
	uint64_t sector;
	uint64_t name; /* comes back */
};

/* A completion entry: result is the bytes moved, or a negative errno. */
struct storage_completion {
	uint64_t name;
	int64_t result;
};

static inline void storage_prepare(struct storage_request *r, enum storage_operation op, void *buffer, uint32_t bytes, uint64_t sector, uint64_t name)
{
	*r = (struct storage_request){ .operation = op, .bytes = bytes, .buffer = buffer, .sector = sector, .name = name };
}

static inline void storage_read(struct storage_request *r, void *buffer, uint32_t bytes, uint64_t sector, uint64_t name)
{
	storage_prepare(r, STORAGE_READ, buffer, bytes, sector, name);
}

static inline void storage_write(struct storage_request *r, void *buffer, uint32_t bytes, uint64_t sector, uint64_t name)
{
	storage_prepare(r, STORAGE_WRITE, buffer, bytes, sector, name);
}

static inline void storage_flush(struct storage_request *r, uint64_t name)
{
	storage_prepare(r, STORAGE_FLUSH, NULL, 0, 0, name);
}

/* storage_next gives the next submission entry. NULL: depth requests are prepared, under way, or not reaped. */
struct storage_request *storage_next(struct storage_queue *q);
/*
 * storage_submit publishes what was prepared, with one doorbell at most, and returns how many. A
 * request that is not right (memory that is not registered, sectors past the end) completes at
 * once with a negative result and never reaches the disk.
 */
int storage_submit(struct storage_queue *q);
/* storage_reap takes at most n completions and returns how many. It enters no kernel. */
int storage_reap(struct storage_queue *q, struct storage_completion *done, unsigned n);
/* storage_open_requests is how many were submitted and not reaped. */
unsigned storage_open_requests(const struct storage_queue *q);

/*
 * storage_wait returns once n completions can be reaped (or all that are under way, if fewer), or
 * after timeout milliseconds (-1: never): how many there are. Under load it polls; otherwise one
 * interrupt comes, for the n together where the disk has an event index.
 */
int storage_wait(struct storage_queue *q, unsigned n, int timeout);

/* How storage_wait() waits; zero is a default, in brackets. */
struct storage_waiting {
	unsigned batch; /* an interrupt that finds so many completions is load: poll from then on [8]. UINT_MAX: never */
	unsigned spins; /* looks at the ring in vain after which interrupts are taken again [2000] */
};
void storage_set_waiting(struct storage_queue *q, const struct storage_waiting *w);

struct storage_counters {
	uint64_t submitted, completed, doorbells;
	uint64_t interrupts; /* eventfd signals, or storage_interrupted() calls */
	uint64_t blocked;    /* times that storage_wait() slept */
	uint64_t polls;      /* completions found by polling */
	uint64_t switches;   /* from interrupts to polling and back */
};
void storage_count(const struct storage_queue *q, struct storage_counters *c);

/*
 * storage_arm is for those who do not block in storage_wait(): the disk interrupts, once, when n
 * completions can be reaped, and until then stays silent (without an event index: at the first).
 * Returns how many can be reaped now; no interrupt comes if they are n or more. Where nobody arms
 * or waits, no interrupt comes.
 */
int storage_arm(struct storage_queue *q, unsigned n);

/* storage_eventfd is signalled by the queue's interrupts (non-blocking). */
int storage_eventfd(const struct storage_queue *q);

/*
 * storage_post has the queue's interrupts be user interrupts: uvecfd is of uintr_vector_fd(), and
 * its receiver calls storage_interrupted(q) from its handler, and then storage_wait() only from the
 * thread that registered it. Returns 1 if the disk posts to the receiver by itself (a remapping
 * unit that user-posts), 0 if the kernel does for it at each signal of the eventfd. uvecfd -1 ends it.
 */
int storage_post(struct storage_queue *q, int uvecfd);
/* Safe in a user-interrupt handler: it uses general registers only. */
void storage_interrupted(struct storage_queue *q);

#endif
