/* SPDX-License-Identifier: Apache-2.0 */
/* Rings: making and opening them, and sleeping; the rest is inline in uintr_ring.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"
#include "uintr_ring.h"

enum { RING_MAGIC = 0x676e6972, PAIR_MAGIC = 0x72696170 };

size_t uintr_ring_size(uint32_t entries, uint32_t entry_size)
{
	if (!entries || entries > UINTR_RING_ENTRIES_MAX || entries & (entries - 1))
		return 0;
	if (!entry_size || entry_size > UINTR_RING_ENTRY_MAX || entry_size % 8)
		return 0;
	return sizeof(struct uintr_ring_shared) + (size_t)entries * entry_size;
}

int uintr_ring_format(void *memory, uint32_t entries, uint32_t entry_size)
{
	struct uintr_ring_shared *s = memory;

	if (!uintr_ring_size(entries, entry_size) || (uintptr_t)memory % _Alignof(struct uintr_ring_shared))
		return -EINVAL;
	s->entries = entries;
	s->entry_size = entry_size;
	atomic_init(&s->tail, 0);
	atomic_init(&s->head, 0);
	/* Just passed: no doorbell before one is asked for. */
	atomic_init(&s->tail_event, UINT32_MAX);
	atomic_init(&s->head_event, UINT32_MAX);
	s->magic = RING_MAGIC;
	return 0;
}

int uintr_ring_open(struct uintr_ring *r, void *memory, size_t size, int doorbell)
{
	struct uintr_ring_shared *s = memory;
	uint32_t entries, entry_size;
	size_t needs;

	if (size < sizeof(*s) || (uintptr_t)memory % _Alignof(struct uintr_ring_shared))
		return -EPROTO;
	/* Read once: the other side can write here. */
	entries = *(volatile uint32_t *)&s->entries;
	entry_size = *(volatile uint32_t *)&s->entry_size;
	needs = uintr_ring_size(entries, entry_size);
	if (s->magic != RING_MAGIC || !needs || needs > size)
		return -EPROTO;
	*r = (struct uintr_ring){ .shared = s, .entries = entries, .entry_size = entry_size, .doorbell = doorbell };
	return 0;
}

struct want {
	struct uintr_ring *ring;
	uint32_t n;
};

static bool entries_ready(void *context)
{
	struct want *w = context;

	return !uintr_ring_arm(w->ring, w->n);
}

static bool room_ready(void *context)
{
	struct want *w = context;

	return !uintr_ring_arm_room(w->ring, w->n);
}

static int sleep_until(bool (*ready)(void *), struct uintr_ring *r, uint32_t n, uint64_t usec)
{
	struct want w = { r, n };
	int err = ready(&w) ? 0 : uintr_wait_until(ready, &w, usec);

	return r->broken ? -EPROTO : err;
}

int uintr_ring_wait(struct uintr_ring *r, uint32_t n, uint64_t usec)
{
	return sleep_until(entries_ready, r, n, usec);
}

int uintr_ring_wait_room(struct uintr_ring *r, uint32_t n, uint64_t usec)
{
	return sleep_until(room_ready, r, n, usec);
}

void uintr_ring_doorbell(unsigned vector, void *context)
{
	(void)vector;
	(void)context;
}

/* Where the rings are in a pair's file. */
struct pair_header {
	uint32_t magic;
	uint64_t sq, cq; /* offsets */
};

enum { SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, LINE = 64 };

int uintr_pair_create(uint32_t sq_entries, uint32_t sq_entry_size, uint32_t cq_entries, uint32_t cq_entry_size)
{
	size_t sq = uintr_ring_size(sq_entries, sq_entry_size), cq = uintr_ring_size(cq_entries, cq_entry_size);
	struct pair_header header = { .magic = PAIR_MAGIC };
	size_t size;
	char *memory;
	int fd, err;

	if (!sq || !cq)
		return -EINVAL;
	header.sq = (sizeof(header) + LINE - 1) & ~(size_t)(LINE - 1);
	header.cq = (header.sq + sq + LINE - 1) & ~(size_t)(LINE - 1);
	size = header.cq + cq;
	fd = memfd_create("uintr-rings", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	memory = MAP_FAILED;
	if (ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, SEALS) == 0)
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		err = -errno;
		close(fd);
		return err;
	}
	*(struct pair_header *)memory = header;
	uintr_ring_format(memory + header.sq, sq_entries, sq_entry_size);
	uintr_ring_format(memory + header.cq, cq_entries, cq_entry_size);
	munmap(memory, size);
	return fd;
}

/* The ring at an offset that the other side wrote. */
static int open_at(struct uintr_ring *r, char *memory, size_t size, uint64_t offset, int doorbell)
{
	return offset > size ? -EPROTO : uintr_ring_open(r, memory + offset, size - offset, doorbell);
}

int uintr_pair_open(struct uintr_pair *p, int fd, int doorbell)
{
	struct pair_header header;
	struct stat st;
	char *memory;
	int err, seals;

	if (fstat(fd, &st) < 0)
		return -errno;
	/* A file that its owner could cut short would end this process by SIGBUS. */
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || st.st_size < (off_t)sizeof(header))
		return -EPROTO;
	memory = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	*p = (struct uintr_pair){ .memory = memory, .size = (size_t)st.st_size };
	header = *(volatile struct pair_header *)memory;
	err = header.magic == PAIR_MAGIC ? open_at(&p->sq, memory, p->size, header.sq, doorbell) : -EPROTO;
	if (!err)
		err = open_at(&p->cq, memory, p->size, header.cq, doorbell);
	if (err)
		uintr_pair_close(p);
	return err;
}

void uintr_pair_close(struct uintr_pair *p)
{
	munmap(p->memory, p->size);
	*p = (struct uintr_pair){0};
}
