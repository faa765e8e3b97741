// SPDX-License-Identifier: Apache-2.0
// How long SENDUIPI takes to a handler, of the sending CPU and of another, and how many go a second.
//
// A time is from before SENDUIPI to the handler's first instructions, both by RDTSC: across CPUs it takes that they
// share one. Then as many go as can, each handled before the next is sent; then without waiting, where posts coalesce.
//
// Options: samples=N (5000), cpus=N (all of the machine's, up to 2), trap=1 (the instruction itself even where a call
// can stand for it).
#include "user.h"

#define SAMPLES_MAX 100000
#define STACK 16384
#define PATIENCE (1ull << 36) /* TSC ticks until something counts as lost */

struct word {
	volatile uint64_t value;
} __attribute__((aligned(64)));

static struct word sent, fired, handled, seen; /* written by the sender, the sender; the handler, the handler */
static struct word ready;
static uint64_t ticks[SAMPLES_MAX], samples, trapped;
static uint8_t stack[STACK] __attribute__((aligned(16)));

static void send(uint64_t index)
{
	if (trapped)
		uintr_senduipi(index);
	else
		send_user_interrupt(index);
}

void on_user_interrupt(uint64_t vector, uint64_t tsc)
{
	uint64_t n = handled.value;

	(void)vector;
	if (n < samples)
		ticks[n] = tsc > sent.value ? tsc - sent.value : 0;
	seen.value = fired.value;
	handled.value = n + 1;
}

static void wait_for(volatile uint64_t *p, uint64_t value)
{
	uint64_t begin = 0;

	while (*p != value) {
		if (!begin)
			begin = __builtin_ia32_rdtsc();
		for (int i = 0; i < 1000 && *p != value; i++)
			;
		if (__builtin_ia32_rdtsc() - begin > PATIENCE)
			die("an interrupt was lost");
	}
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

static void sample(uint64_t index)
{
	for (uint64_t i = 0; i < samples; i++) {
		for (volatile uint64_t pause = i * 37 % 256; pause; pause--) // not in step with whatever the receiver does
			;
		sent.value = __builtin_ia32_rdtsc();
		send(index);
		wait_for(&handled.value, i + 1);
	}
}

// waited sends as many, each when the one before was handled: the ticks of all.
static uint64_t waited(uint64_t index)
{
	uint64_t begin = __builtin_ia32_rdtsc();

	for (uint64_t i = 0; i < samples; i++) {
		send(index);
		wait_for(&handled.value, samples + i + 1);
	}
	return __builtin_ia32_rdtsc() - begin;
}

// unwaited sends as many without looking, and returns what that took the sender.
static uint64_t unwaited(uint64_t index)
{
	uint64_t begin = __builtin_ia32_rdtsc(), end;

	for (uint64_t i = 1; i <= samples; i++) {
		fired.value = i;
		send(index);
	}
	end = __builtin_ia32_rdtsc();
	wait_for(&seen.value, samples);
	return end - begin;
}

static void measure(const char *to, uint64_t index)
{
	handled.value = seen.value = fired.value = 0;
	sample(index);
	uint64_t together = waited(index), alone = unwaited(index);
	uint64_t coalesced = samples - (handled.value - 2 * samples);

	sort(ticks, samples);
	print("uipi %s: samples %u ticks: minimum %u p50 %u p99 %u waited %u unwaited %u coalesced %u\n", to, samples, ticks[0],
	      ticks[samples / 2], ticks[samples * 99 / 100], together, alone, coalesced);
}

// The other CPU computes, and is interrupted.
void thread_main(uint64_t cpu)
{
	(void)cpu;
	interrupts_register(0);
	interrupts_enable();
	ready.value = 1;
	for (;;)
		__asm__ volatile("" : : : "memory");
}

int main(void)
{
	uint64_t cpus = option("cpus", program_info->cpus < 2 ? 1 : 2);

	samples = option("samples", 5000);
	trapped = option("trap", 0);
	if (!program_info->way)
		die("this machine offers no user interrupts");
	if (cpus < 1 || cpus > 2 || cpus > program_info->cpus)
		die("cpus= wants 1 or 2, as many as the machine has");
	if (samples < 1 || samples > SAMPLES_MAX)
		die("samples= wants 1 to 100000");
	interrupts_register(0);
	interrupts_enable();
	measure("self", system_call(SYS_SENDER, 0, 0, 0));
	if (cpus == 1)
		return 0;
	uint64_t index = system_call(SYS_SENDER, 1, 1, 0);
	if (system_call(SYS_THREAD, 1, (uint64_t)thread_entry, (uint64_t)stack + STACK))
		die("a thread cannot be started");
	wait_for(&ready.value, 1);
	measure("across", index);
	return 0;
}
