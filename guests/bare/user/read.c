// SPDX-License-Identifier: Apache-2.0
// The main job: read the disk in 4 KiB requests, each completion in this program's own
// handler, while the main line hashes what has come.
//
// Options: depth=1,32 (queue depths, one pass each), requests=N (of each pass; the disk
// is read round and round), hash=0, poll=1 (no interrupts: look at the UPID, or where that is
// out of reach at the used ring).
#include "user.h"

#define CHUNK 4096
#define DEPTH_MAX 64
#define STAMPS (1 << 18)

enum slot_state { FREE, SUBMITTED, READY };

static uint8_t buffers[DEPTH_MAX][CHUNK] __attribute__((aligned(4096)));
static volatile uint8_t state[DEPTH_MAX];
static uint64_t stamps[STAMPS];
static struct gvmm_latency_log latency = { .entries = STAMPS };
static struct disk disk;
static const char *volatile failure;
static uint64_t *polled; /* PIR of this CPU's UPID */

static uint64_t read_tsc(void)
{
	return __builtin_ia32_rdtsc();
}

// reap takes what has come. The first completion is stamped with tsc if that is not 0, the others with the moment.
static void reap(uint64_t tsc)
{
	uint16_t slot;
	uint8_t status;

	for (; disk_reap(&disk, &slot, &status); tsc = 0) {
		if (slot >= DEPTH_MAX || state[slot] != SUBMITTED)
			failure = "a completion came twice";
		else if (status)
			failure = "the disk reports an error";
		else
			state[slot] = READY;
		stamps[latency.handled++ & (STAMPS - 1)] = tsc ? tsc : read_tsc();
	}
}

void on_user_interrupt(uint64_t vector, uint64_t tsc)
{
	(void)vector;
	latency.interrupts++;
	// The completion that raised the interrupt was published before the handler began; of others that is not known.
	do {
		reap(tsc);
		tsc = 0;
	} while (disk_arm(&disk));
}

// poll does what the handler does, when the UPID says that there is something.
static void poll(void)
{
	if (polled && !(*(volatile uint64_t *)polled && __atomic_exchange_n(polled, 0, __ATOMIC_SEQ_CST)))
		return;
	do
		reap(0);
	while (polled && disk_arm(&disk));
}

void thread_main(uint64_t cpu)
{
	(void)cpu;
}

static uint32_t chunk_bytes(uint64_t chunk)
{
	uint64_t left = disk.sectors * SECTOR - chunk * CHUNK;

	return left < CHUNK ? left : CHUNK;
}

static void pass(uint32_t depth, uint64_t requests, int polling, int hash)
{
	uint64_t chunks = (disk.sectors * SECTOR + CHUNK - 1) / CHUNK, submitted = 0;
	uint64_t handled = latency.handled, interrupts = latency.interrupts, kicks = disk.kicks;
	struct sha256 sum;
	uint8_t digest[32];

	sha256_init(&sum);
	for (uint64_t done = 0; done < requests; done++) {
		for (; submitted < requests && submitted < done + depth; submitted++) {
			uint32_t slot = submitted % depth;

			state[slot] = SUBMITTED;
			disk_read(&disk, slot, submitted % chunks * (CHUNK / SECTOR), buffers[slot], chunk_bytes(submitted % chunks));
		}
		while (state[done % depth] != READY) {
			if (polling)
				poll();
			if (failure)
				die(failure);
			__builtin_ia32_pause();
		}
		if (hash)
			sha256_update(&sum, buffers[done % depth], chunk_bytes(done % chunks));
		state[done % depth] = FREE;
	}
	print("depth %u: %u requests, %u handled, %u interrupts, %u doorbells\n", (uint64_t)depth, submitted,
	      latency.handled - handled, latency.interrupts - interrupts, disk.kicks - kicks);
	if (latency.handled - handled != submitted)
		die("as many must be handled as were submitted");
	if (!hash)
		return;
	sha256_final(&sum, digest);
	print("sha256 ");
	for (int i = 0; i < 32; i++)
		print("%s%x", digest[i] < 16 ? "0" : "", (uint64_t)digest[i]);
	print("\n");
}

int main(void)
{
	char depths[32];
	int polling = option("poll", 0) != 0;

	if (!program_info->way)
		die("this machine offers no user interrupts");
	option_text("depth", depths, sizeof depths, "1,32");
	const char *refused = disk_open(&disk, 0, DEPTH_MAX);
	if (refused)
		die(refused);
	latency.requester = disk.device.requester;
	latency.stamps = (uint64_t)stamps;
	system_call(SYS_LATENCY, (uint64_t)&latency, 0, 0);
	int64_t through_kernel = system_call(SYS_BIND, 0, 0, 5);
	if (through_kernel < 0)
		die("the disk's interrupt cannot be bound");
	if (polling) {
		polled = (uint64_t *)system_call(SYS_POLL, 0, 0, 0);
		if (polled)
			disk_arm(&disk);
	} else {
		interrupts_register(through_kernel);
		disk_arm(&disk);
		interrupts_enable();
	}
	uint64_t chunks = (disk.sectors * SECTOR + CHUNK - 1) / CHUNK;
	for (const char *s = depths; *s; s += *s == ',') {
		uint64_t depth = 0;

		for (; *s >= '0' && *s <= '9'; s++)
			depth = depth * 10 + (*s - '0');
		if (depth < 1 || depth > DEPTH_MAX || (*s && *s != ','))
			die("depth= wants numbers from 1 to 64, with commas");
		pass(depth, option("requests", chunks), polling, option("hash", 1) != 0);
	}
	return 0;
}
