// SPDX-License-Identifier: Apache-2.0
// The library's queues against a disk that this program plays: an honest one, whose answers must all arrive once and
// right, and a hostile one, which writes what it likes to everything that it reaches. Built with sanitizers.
//
//	rings SEED
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../internal.h"

enum { SIZE = 16, DISK_SECTORS = 1024 };

#define CHECK(c) do { if (!(c)) { fprintf(stderr, "rings: line %d: %s (seed %lu)\n", __LINE__, #c, seed); exit(1); } } while (0)

static unsigned long seed;
static uint64_t state;

static uint32_t rnd(uint32_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (state >> 33) % n;
}

// What is behind a queue: no vfio, no PCI.
int vfio_map(struct storage *d, void *memory, size_t bytes, uint64_t iova) { (void)d; (void)memory; (void)bytes; (void)iova; return 0; }
int vfio_unmap(struct storage *d, size_t bytes, uint64_t iova) { (void)d; (void)bytes; (void)iova; return 0; }
bool storage_failed(const struct storage *d) { return d->common->status & NEEDS_RESET; }

static struct common common;
static uint16_t doorbell;

// The disk's own side.
static struct device {
	struct storage *d;
	struct storage_queue *q;
	uint16_t avail, used;
	bool avail_wrap, used_wrap;
	struct { unsigned head, n; uint64_t address[CHAIN]; uint32_t bytes[CHAIN]; uint16_t id; } open[SIZE]; // taken, not answered
	unsigned opens;
	unsigned due, interrupts; // completions after which an interrupt must have come, and those that came since
} dev;

// reach is where the disk finds an IOVA: it must be registered.
static void *reach(uint64_t iova, size_t bytes)
{
	for (unsigned i = 0; i < STORAGE_MAX_REGIONS; i++) {
		struct region *r = &dev.d->regions[i];
		if (r->bytes && iova >= r->iova && iova - r->iova + bytes <= r->bytes)
			return r->start + (iova - r->iova);
	}
	fprintf(stderr, "rings: the disk is sent to %#lx\n", iova);
	exit(1);
}

static void take_split(void)
{
	struct split *s = &dev.q->split;
	unsigned i = dev.opens, n = 0, at;

	if (s->avail[1] == dev.avail)
		return;
	at = s->avail[2 + dev.avail++ % SIZE];
	dev.open[i].head = at;
	for (;; at = s->desc[at].next) {
		CHECK(at < SIZE && n < CHAIN);
		dev.open[i].address[n] = s->desc[at].address;
		dev.open[i].bytes[n++] = s->desc[at].length;
		if (!(s->desc[at].flags & DESC_NEXT))
			break;
	}
	dev.open[i].n = n;
	dev.opens++;
}

static void take_packed(void)
{
	struct packed_desc *desc = dev.q->packed.desc;
	unsigned i = dev.opens, n = 0;
	uint16_t flags = desc[dev.avail].flags;

	if (!(flags & DESC_AVAIL) != !dev.avail_wrap || !(flags & DESC_USED) == !dev.avail_wrap)
		return;
	do {
		flags = desc[dev.avail].flags;
		CHECK(n < CHAIN);
		dev.open[i].address[n] = desc[dev.avail].address;
		dev.open[i].bytes[n++] = desc[dev.avail].length;
		dev.open[i].id = desc[dev.avail].id;
		if (++dev.avail == SIZE) {
			dev.avail = 0;
			dev.avail_wrap = !dev.avail_wrap;
		}
	} while (flags & DESC_NEXT);
	dev.open[i].n = n;
	dev.opens++;
}

static bool interrupts_split(uint16_t old)
{
	if (!dev.d->info.event_index)
		return !(dev.q->split.avail[0] & AVAIL_NO_INTERRUPT);
	return (uint16_t)(dev.used - dev.q->split.avail[2 + SIZE] - 1) < (uint16_t)(dev.used - old);
}

// The event is at a position of one round: whether a chain of n that began at old lies over it.
static bool interrupts_packed(uint16_t old, bool wrap, unsigned n)
{
	struct packed_events *e = dev.q->packed.driver;
	unsigned at = e->at & 0x7fff;

	if (e->flags != EVENTS_AT)
		return e->flags == EVENTS_ENABLE;
	if ((e->at >> 15) != wrap)
		at += SIZE;
	return at >= old && at < old + n;
}

// After each completion: an interrupt for so many as were armed for, no later, and by event indices of split rings no earlier.
static void count(bool interrupt)
{
	dev.interrupts += interrupt;
	if (!dev.due) {
		CHECK(!interrupt || !dev.d->info.event_index || dev.d->info.packed);
		return;
	}
	dev.due--;
	CHECK(dev.due || dev.interrupts);
	if (!dev.d->info.packed && dev.d->info.event_index)
		CHECK(!dev.due == interrupt);
}

static void put_used(unsigned i)
{
	uint16_t old = dev.used;
	bool wrap = dev.used_wrap;

	if (dev.d->info.packed) {
		struct packed_desc *at = &dev.q->packed.desc[dev.used];
		at->id = dev.open[i].id;
		at->length = 1;
		at->flags = dev.used_wrap ? DESC_AVAIL | DESC_USED : 0;
		dev.used += dev.open[i].n;
		if (dev.used >= SIZE) {
			dev.used -= SIZE;
			dev.used_wrap = !dev.used_wrap;
		}
	} else {
		uint32_t *e = (uint32_t *)(dev.q->split.used + 2) + dev.used % SIZE * 2;
		e[0] = dev.open[i].head;
		e[1] = 1;
		dev.q->split.used[1] = ++dev.used;
	}
	count(dev.d->info.packed ? interrupts_packed(old, wrap, dev.open[i].n) : interrupts_split(old));
}

// serve answers any of the open requests: reads are filled with their first sector's number.
static void serve(void)
{
	if (!dev.opens)
		return;
	unsigned i = rnd(dev.opens), n = dev.open[i].n;
	uint32_t *header = reach(dev.open[i].address[0], 16);
	uint64_t sector;
	memcpy(&sector, header + 2, sizeof sector);
	if (n == CHAIN) {
		void *data = reach(dev.open[i].address[1], dev.open[i].bytes[1]);
		if (header[0] == 0)
			memset(data, (uint8_t)sector, dev.open[i].bytes[1]);
		else
			CHECK(*(uint8_t *)data == (uint8_t)~sector);
	} else {
		CHECK(header[0] == 4);
	}
	*(uint8_t *)reach(dev.open[i].address[n - 1], 1) = sector % 7 == 3 ? 1 : 0; // sectors that cannot be read
	put_used(i);
	dev.open[i] = dev.open[--dev.opens];
}

static void lie(void)
{
	size_t bytes = dev.q->ring->bytes(SIZE);

	if (rnd(2))
		dev.q->memory[rnd(bytes)] = rnd(256);
	else
		((uint8_t *)dev.q->shared)[rnd(dev.q->depth * sizeof *dev.q->shared)] = rnd(256);
	if (dev.d->info.packed) {
		if (rnd(2))
			dev.q->packed.desc[dev.q->last_used].flags = rnd(2) ? DESC_AVAIL | DESC_USED : 0;
		return;
	}
	uint32_t *next = (uint32_t *)(dev.q->split.used + 2) + dev.q->last_used % SIZE * 2;
	if (rnd(2))
		*next = CHAIN * rnd(SIZE);
	if (rnd(2))
		dev.q->split.used[1] = dev.q->last_used + (rnd(4) ? 1 : rnd(8));
}

static void judge(const struct storage_completion *c, uint8_t *buffers)
{
	unsigned slot = c->name & 0xff, op = c->name >> 8 & 0xff;
	uint64_t sector = c->name >> 16;
	uint8_t *buffer = buffers + slot * STORAGE_SECTOR;

	if (op == STORAGE_FLUSH)
		CHECK(c->result == 0);
	else if (sector >= DISK_SECTORS)
		CHECK(c->result == -ENOSPC);
	else if (sector % 7 == 3)
		CHECK(c->result == -EIO);
	else
		CHECK(c->result == STORAGE_SECTOR);
	if (op == STORAGE_READ && c->result > 0)
		CHECK(buffer[0] == (uint8_t)sector && buffer[STORAGE_SECTOR - 1] == (uint8_t)sector);
}

static void arm(struct storage_queue *q, unsigned n)
{
	unsigned most = q->complete + q->under_way;
	int now = storage_arm(q, n);

	if (n > most)
		n = most;
	dev.due = now >= 0 && (unsigned)now < n ? n - now : 0;
	dev.interrupts = 0;
}

static void run(bool packed, bool event_index, bool hostile)
{
	struct storage d = { .common = &common, .config_eventfd = -1, .info = { .sectors = DISK_SECTORS, .queues = 1, .flush = true, .packed = packed, .event_index = event_index } };
	struct storage_queue q = { 0 };
	bool busy[SIZE] = { 0 };
	unsigned open = 0;

	common.queue_size = SIZE;
	dev = (struct device){ .d = &d, .q = &q, .avail_wrap = true, .used_wrap = true };
	CHECK(memory_open(&d, 1 << 16) == 0);
	CHECK(queue_open(&q, &d, 0, 64) == 0);
	CHECK(q.depth == SIZE / CHAIN);
	q.doorbell = &doorbell;
	uint8_t *buffers = storage_alloc(&d, SIZE * STORAGE_SECTOR, STORAGE_SECTOR);
	CHECK(buffers);
	for (unsigned step = 0; step < 20000 && !q.broken; step++) {
		struct storage_completion c[4];
		struct storage_request *r;
		switch (rnd(6)) {
		case 0:
			r = storage_next(&q);
			CHECK(!r == (open == q.depth));
			if (r) {
				unsigned slot = 0, op = rnd(3);
				while (busy[slot])
					slot++;
				busy[slot] = true;
				open++;
				uint64_t sector = rnd(DISK_SECTORS + 64);
				memset(buffers + slot * STORAGE_SECTOR, (uint8_t)~sector, STORAGE_SECTOR);
				storage_prepare(r, op, buffers + slot * STORAGE_SECTOR, STORAGE_SECTOR, sector, sector << 16 | op << 8 | slot);
			}
			break;
		case 1:
			CHECK(storage_submit(&q) >= 0);
			break;
		case 2:
			if (!hostile)
				packed ? take_packed() : take_split();
			break;
		case 3:
			hostile ? lie() : serve();
			break;
		case 4:
			arm(&q, 1 + rnd(q.depth));
			break;
		default:
			for (int i = 0, n = storage_reap(&q, c, 1 + rnd(4)); i < n; i++) {
				if (!hostile)
					judge(&c[i], buffers);
				CHECK(open > 0 && busy[c[i].name & 0xff]);
				busy[c[i].name & 0xff] = false;
				open--;
			}
		}
	}
	CHECK(hostile || !q.broken);
	CHECK(!q.broken || storage_submit(&q) == -EIO);
	queue_close(&q);
	memory_close(&d);
}

// What a program does wrong is told to it, and never to the disk.
static void misuse(void)
{
	struct storage d = { .common = &common, .config_eventfd = -1, .info = { .sectors = 8, .queues = 1, .read_only = true } };
	struct storage_queue q = { 0 };
	static uint8_t foreign[STORAGE_SECTOR];

	common.queue_size = SIZE;
	CHECK(memory_open(&d, 1 << 13) == 0);
	CHECK(queue_open(&q, &d, 0, 64) == 0);
	uint8_t *own = storage_alloc(&d, 4096, 4096);
	struct { enum storage_operation op; void *buffer; uint32_t bytes; uint64_t sector; int64_t want; } cases[] = {
		{ STORAGE_READ, foreign, 512, 0, -EFAULT }, { STORAGE_READ, own + (1 << 13) - 512, 1024, 0, -EFAULT },
		{ STORAGE_READ, own, 0, 0, -EINVAL }, { STORAGE_READ, own, 100, 0, -EINVAL }, { STORAGE_READ, own, 1024, 7, -ENOSPC },
		{ STORAGE_READ, own, 512, UINT64_MAX, -ENOSPC }, { STORAGE_WRITE, own, 512, 0, -EROFS }, { STORAGE_FLUSH, NULL, 0, 0, -EOPNOTSUPP },
		{ (enum storage_operation)9, own, 512, 0, -EINVAL },
	};
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct storage_completion c;
		storage_prepare(storage_next(&q), cases[i].op, cases[i].buffer, cases[i].bytes, cases[i].sector, i);
		CHECK(storage_submit(&q) == 1 && storage_wait(&q, 1, -1) == 1 && storage_reap(&q, &c, 1) == 1);
		CHECK(c.name == i && c.result == cases[i].want && !q.counters.doorbells && !q.under_way);
	}
	CHECK(storage_register(&d, own, 4096) == -EEXIST && storage_register(&d, foreign + 1, 4096) == -EINVAL);
	CHECK(storage_unregister(&d, foreign) == -ENOENT);
	CHECK(!storage_alloc(&d, 1 << 13, 1) && !storage_alloc(&d, 1, 3) && storage_alloc(&d, 4096, 512));
	queue_close(&q);
	memory_close(&d);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	seed = strtoul(argv[1], NULL, 10);
	misuse();
	for (unsigned i = 0; i < 8; i++) {
		state = seed * 8 + i;
		run(i & 1, i & 2, i & 4);
	}
	for (unsigned i = 0; i < 200; i++) { // a hostile disk is soon found out: many times
		state = seed * 1000 + i;
		run(i & 1, i & 2, true);
	}
	puts("PASS rings");
	return 0;
}
