// SPDX-License-Identifier: Apache-2.0
// SENDUIPI between processors, without the kernel.
//
// First a message goes round all CPUs, each passing it on from its handler: with two, ping-pong.
// Then every CPU fires at the next without waiting. Posts coalesce there, so what is checked is that
// the last one is seen, that none comes out of order, and that nothing stays outstanding.
//
// Options: cpus=N (all of the machine's), rounds=N (2000), soak=N (5000 posts each), trap=1 (the
// instruction itself even where a call can stand for it).
#include "user.h"

#define CPUS_MAX 16
#define ROUNDS_MAX 100000
#define STACK 16384
#define SOAK 32          /* user vectors: CPU, and SOAK + CPU */
#define PATIENCE (1ull << 36) /* TSC ticks without progress until something counts as lost */

struct post { /* written by one CPU only, a cache line each */
	volatile uint64_t value;
} __attribute__((aligned(64)));

static struct post message[CPUS_MAX], turn[CPUS_MAX];             /* of the ring: to, and seen by, a CPU */
static struct post fired[CPUS_MAX], seen[CPUS_MAX], handled[CPUS_MAX]; /* of the soak: by, and at, a CPU */
static struct post ready[CPUS_MAX];
static uint8_t stacks[CPUS_MAX][STACK] __attribute__((aligned(16)));
static uint64_t ring_target[CPUS_MAX], soak_target[CPUS_MAX];
static uint64_t ticks[ROUNDS_MAX], sent, cpus, rounds, shots;
static uint64_t trapped;
static volatile int soaking;
static const char *volatile failure;

static uint64_t next(uint64_t cpu) { return cpu + 1 == cpus ? 0 : cpu + 1; }
static uint64_t previous(uint64_t cpu) { return cpu ? cpu - 1 : cpus - 1; }

static void send(uint64_t index)
{
	if (trapped)
		uintr_senduipi(index);
	else
		send_user_interrupt(index);
}

static void pass_on(uint64_t cpu, uint64_t value)
{
	message[next(cpu)].value = value;
	send(ring_target[cpu]);
}

static void on_message(uint64_t cpu, uint64_t tsc)
{
	uint64_t value = message[cpu].value;

	if (value != turn[cpu].value + 1) {
		failure = "a message came twice, or another one than was sent";
		return;
	}
	if (cpu == 0) {
		ticks[value - 1] = tsc - sent;
		if (value < rounds) {
			sent = __builtin_ia32_rdtsc();
			pass_on(0, value + 1);
		}
	} else {
		pass_on(cpu, value);
	}
	turn[cpu].value = value;
}

static void on_shot(uint64_t cpu)
{
	uint64_t value = fired[previous(cpu)].value;

	if (value < seen[cpu].value)
		failure = "an older post was seen after a newer one";
	seen[cpu].value = value;
	handled[cpu].value++;
}

void on_user_interrupt(uint64_t vector, uint64_t tsc)
{
	if (vector >= SOAK)
		on_shot(vector - SOAK);
	else
		on_message(vector, tsc);
}

// wait_for gives up when nothing moves: on a host that is busy all of it may take long.
static void wait_for(volatile uint64_t *p, uint64_t value, const char *otherwise)
{
	uint64_t begin = __builtin_ia32_rdtsc(), last = *p, now;

	while ((now = *p) != value && !failure) {
		__builtin_ia32_pause();
		if (now != last) {
			last = now;
			begin = __builtin_ia32_rdtsc();
		} else if (__builtin_ia32_rdtsc() - begin > PATIENCE) {
			failure = otherwise;
		}
	}
}

static void soak(uint64_t cpu)
{
	for (uint64_t i = 1; i <= shots; i++) {
		fired[cpu].value = i;
		send(soak_target[cpu]);
		for (uint64_t pause = i * 37 % 256; pause; pause--) // some posts find the last one handled, some do not
			__builtin_ia32_pause();
	}
	wait_for(&seen[cpu].value, shots, "the last post was never seen");
}

void thread_main(uint64_t cpu)
{
	interrupts_register(0);
	interrupts_enable();
	ready[cpu].value = 1;
	while (!soaking)
		__builtin_ia32_pause();
	soak(cpu);
	ready[cpu].value = 2;
	for (;;)
		__builtin_ia32_pause();
}

static void start(void)
{
	for (uint64_t i = 0; i < cpus; i++) {
		ring_target[i] = system_call(SYS_SENDER, next(i), next(i), 0);
		soak_target[i] = system_call(SYS_SENDER, next(i), SOAK + next(i), 0);
	}
	interrupts_register(0);
	interrupts_enable();
	for (uint64_t i = 1; i < cpus; i++) {
		if (system_call(SYS_THREAD, i, (uint64_t)thread_entry, (uint64_t)stacks[i] + STACK))
			die("a thread cannot be started");
		wait_for(&ready[i].value, 1, "a thread does not start");
	}
}

// settled waits until a CPU has no notification outstanding and no request pending in its UPID.
static void settled(uint64_t cpu)
{
	uint64_t begin = __builtin_ia32_rdtsc(), upid[2];

	do {
		for (int i = 0; i < 2; i++)
			system_call(SYS_PEEK, program_info->upids + 64 * cpu + 8 * i, 8, (uint64_t)&upid[i]);
		if (__builtin_ia32_rdtsc() - begin > PATIENCE)
			failure = "a post stays outstanding";
	} while (((upid[0] & 1) || upid[1]) && !failure);
}

static void sort(uint64_t *v, uint64_t n)
{
	for (uint64_t gap = n / 2; gap; gap /= 2)
		for (uint64_t i = gap; i < n; i++)
			for (uint64_t j = i; j >= gap && v[j - gap] > v[j]; j -= gap) {
				uint64_t t = v[j];

				v[j] = v[j - gap];
				v[j - gap] = t;
			}
}

static void report(void)
{
	uint64_t all = 0;

	sort(ticks, rounds);
	print("%u CPUs, %u round trips, ticks: minimum %u, median %u\n", cpus, rounds, ticks[0], ticks[rounds / 2]);
	for (uint64_t i = 0; i < cpus; i++) {
		all += handled[i].value;
		if (seen[i].value != shots || handled[i].value > shots)
			failure = "as many posts at most may be handled as were sent, the last among them";
	}
	print("soak: %u posts, %u handled\n", shots * cpus, all);
}

int main(void)
{
	cpus = option("cpus", program_info->cpus);
	rounds = option("rounds", 2000);
	shots = option("soak", 5000);
	trapped = option("trap", 0);
	if (!program_info->way)
		die("this machine offers no user interrupts");
	if (cpus < 2 || cpus > program_info->cpus || cpus > CPUS_MAX)
		die("cpus= wants 2 or more, as many as the machine has");
	if (rounds < 1 || rounds > ROUNDS_MAX)
		die("rounds= wants 1 to 100000");
	start();
	sent = __builtin_ia32_rdtsc();
	pass_on(0, 1);
	wait_for(&turn[0].value, rounds, "a message was lost");
	if (!failure) {
		soaking = 1;
		soak(0);
		for (uint64_t i = 1; i < cpus; i++)
			wait_for(&ready[i].value, 2, "a CPU did not finish");
		for (uint64_t i = 0; i < cpus; i++)
			settled(i);
	}
	if (!failure)
		report();
	if (failure)
		die(failure);
	return 0;
}
