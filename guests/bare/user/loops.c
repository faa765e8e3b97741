// SPDX-License-Identifier: Apache-2.0
// Loops with known counts of instructions, timed by the TSC. The image runs on any machine that starts PVH kernels and
// ends at a write to port 0xf4: engines are compared by it, so it asks for nothing of this VMM's.
//
// Each loop runs several times; what is printed is the shortest time. The TSC's frequency is the host's matter: it has
// the wall time between the lines "begin" and "end", and the ticks between them.
//
// Options: millions=N (instructions of each loop, 2), repeat=N (30).
#include "user.h"

#define BUFFER (512 << 10)
#define TRAPS 30 /* one trap for so many of a loop's instructions */
#define VECTOR_WAKE 0x30

typedef uint64_t loop(void);
extern loop loop_alu, loop_call, loop_table, loop_words, loop_random, loop_memory, loop_vector;
uint64_t run_loop(loop *f, uint64_t iterations, void *buffer);

static uint64_t buffer[BUFFER / 8] __attribute__((aligned(4096)));

struct measured {
	const char *name;
	loop *f;              /* NULL: a trap */
	uint64_t instructions; /* of 64 iterations; of a trap 0 */
	int64_t call;
};

static const struct measured all[] = {
	{ "ALU", loop_alu, 13 * 64, 0 },
	{ "call", loop_call, 11 * 64, 0 },
	{ "table", loop_table, 7 * 64, 0 },
	{ "words", loop_words, 388, 0 },
	{ "random", loop_random, 8 * 64, 0 },
	{ "memory", loop_memory, 14 * 64, 0 },
	{ "SSE", loop_vector, 9 * 64, 0 },
	{ "system call", NULL, 0, -1 },
	{ "interrupt", NULL, 0, SYS_IPI },
};

// fill makes the buffer what it is at the start of each run.
static void fill(void)
{
	uint64_t x = 0x9e3779b97f4a7c15;

	for (unsigned i = 0; i < BUFFER / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		buffer[i] = x;
	}
}

static uint64_t traps(int64_t call, uint64_t n)
{
	uint64_t sum = 0;

	while (n--)
		sum += system_call(call, VECTOR_WAKE, 0, 0);
	return sum;
}

static uint64_t once(const struct measured *m, uint64_t n, uint64_t *ticks)
{
	fill();
	uint64_t begin = __builtin_ia32_rdtsc();
	uint64_t sum = m->f ? run_loop(m->f, n, buffer) : traps(m->call, n);
	*ticks = __builtin_ia32_rdtsc() - begin;
	return sum;
}

static void measure(const struct measured *m, uint64_t instructions, uint64_t repeat)
{
	uint64_t best = ~0ull, sum = 0, ticks;
	uint64_t n = m->f ? instructions / m->instructions * 64 : instructions / (TRAPS * 64);

	for (uint64_t i = 0; i < repeat; i++) {
		uint64_t now = once(m, n, &ticks);

		if (i && now != sum)
			die("a loop's checksum differs from one run to the next");
		sum = now;
		best = ticks < best ? ticks : best;
	}
	print("loop %s: operations %u instructions %u ticks %u checksum %x\n", m->name, n, m->instructions * (n / 64), best, sum);
}

// There is no thread and no user interrupt here.
void thread_main(uint64_t cpu) { (void)cpu; }
void on_user_interrupt(uint64_t vector, uint64_t tsc) { (void)vector, (void)tsc; }

int main(void)
{
	uint64_t millions = option("millions", 2), repeat = option("repeat", 30);

	if (millions < 1 || millions > 10000 || repeat < 1 || repeat > 1000)
		die("millions= wants 1 to 10000, repeat= 1 to 1000");
	print("begin\n");
	uint64_t begin = __builtin_ia32_rdtsc();
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		measure(&all[i], millions * 1000000, repeat);
	uint64_t ticks = __builtin_ia32_rdtsc() - begin;
	print("end: ticks %u\n", ticks);
	return 0;
}
