// SPDX-License-Identifier: Apache-2.0
// The local APIC: interrupts between processors, priorities, its timer, its errors.
#include "system.h"

#define FIXED 0x4000
#define LOWEST 0x4100
#define LOGICAL 0x800
#define TO_SELF 0x40000
#define TO_ALL 0x80000
#define TO_OTHERS 0xc0000

static volatile uint32_t order[64], orders;
static bool log_vector(struct frame *f)
{
	if (f->vector < 32)
		return false;
	if (orders < 64)
		order[orders] = f->vector;
	orders++;
	return false;
}

static void begin(void)
{
	orders = 0;
	me()->hook = log_vector;
}

// settle lets what is pending here be taken.
static void settle(void)
{
	sti();
	for (int i = 0; i < 100; i++)
		pause();
	cli();
}

TEST(apic_ids_agree, 0)
{
	CHECK_EQ(apic_read(0x20) >> 24, me()->index);
	CHECK_EQ(cpuid(1, 0).b >> 24, me()->index);
	if (cpuid(0, 0).a >= 0xb && cpuid(0xb, 0).b)
		CHECK_EQ(cpuid(0xb, 0).d, me()->index);
	CHECK_EQ(rdmsr(0x1b) & 0xfffff900, 0xfee00900); // at its place, enabled, of the bootstrap processor
}

TEST(apic_self_in_all_ways, 0)
{
	begin();
	apic_ipi(0, FIXED | TO_SELF | 0x61);
	apic_ipi(0, FIXED | 0x62);
	apic_write(0xd0, 1 << 24); // LDR
	apic_write(0xe0, 0xffffffff); // DFR: flat
	apic_ipi(1, FIXED | LOGICAL | 0x63);
	apic_ipi(0xff, FIXED | LOGICAL | 0x64);
	CHECK_EQ(orders, 0); // IF is 0
	settle();
	CHECK_EQ(orders, 4);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(order[i], 0x64 - i); // the highest first
	apic_write(0xe0, 0x0fffffff); // cluster 2, its second
	apic_write(0xd0, 0x22u << 24);
	apic_ipi(0x22, FIXED | LOGICAL | 0x65);
	apic_ipi(0x24, FIXED | LOGICAL | 0x66); // another in the cluster
	apic_ipi(0x12, FIXED | LOGICAL | 0x67); // another cluster
	settle();
	CHECK_EQ(orders, 5);
	CHECK_EQ(order[4], 0x65);
	apic_write(0xe0, 0xffffffff);
	apic_write(0xd0, 0);
}

static uint64_t seen(uint8_t v)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < cpu_count; i++)
		n += cpus[i].seen[v];
	return n;
}

static uint64_t ones(uint64_t v)
{
	uint64_t n = 0;
	for (; v; v &= v - 1)
		n++;
	return n;
}

static void clear_seen(uint8_t v)
{
	for (uint32_t i = 0; i < cpu_count; i++)
		cpus[i].seen[v] = 0;
}

static void set_logical(uint64_t ldr_dfr)
{
	apic_write(0xe0, ldr_dfr & 0xffffffff);
	apic_write(0xd0, ldr_dfr >> 32);
}

// everywhere has each processor run f(argument(i)).
static void logical_everywhere(bool cluster)
{
	for (uint32_t i = 0; i < cpu_count; i++) {
		uint64_t v = cluster ? (uint64_t)(i / 2 << 28 | 1 << (24 + i % 2)) << 32 | 0x0fffffff : (1ull << (24 + i)) << 32 | 0xffffffff;
		if (i == 0) {
			set_logical(v);
			continue;
		}
		on_cpu(i, set_logical, v);
		finish(i);
	}
}

static void raise_tpr(uint64_t v) { apic_write(0x80, v); }

static volatile uint64_t loops;
static volatile bool stop_looping;
static void loop_interrupted(uint64_t unused)
{
	(void)unused;
	sti();
	while (!stop_looping)
		loops++;
	cli();
}

TEST(apic_destinations, SMP)
{
	sti();
	for (uint32_t i = 0; i < cpu_count; i++) { // physical
		clear_seen(0x71);
		apic_ipi(i, FIXED | 0x71);
		WAIT_FOR(cpus[i].seen[0x71] == 1);
		CHECK_EQ(seen(0x71), 1);
	}
	clear_seen(0x72);
	apic_ipi(0, FIXED | TO_ALL | 0x72);
	WAIT_FOR(seen(0x72) == cpu_count);
	clear_seen(0x73);
	apic_ipi(0, FIXED | TO_OTHERS | 0x73);
	WAIT_FOR(seen(0x73) == cpu_count - 1);
	CHECK_EQ(cpus[0].seen[0x73], 0);
	clear_seen(0x74);
	apic_ipi(0xff, FIXED | 0x74); // physical broadcast
	WAIT_FOR(seen(0x74) == cpu_count);
	for (int cluster = 0; cluster < 2; cluster++) {
		logical_everywhere(cluster);
		for (uint32_t mask = 1; mask < 1u << cpu_count; mask++) {
			uint32_t to = mask, want = mask;
			if (cluster) {
				to = (mask & 1) << 4 | (mask >> 1 & 3); // some cluster, some of its two
				want = 0;
				for (uint32_t i = 0; i < cpu_count; i++)
					want |= (i / 2 == to >> 4 && (to >> (i % 2) & 1)) ? 1u << i : 0;
			}
			clear_seen(0x75);
			apic_ipi(to, FIXED | LOGICAL | 0x75);
			for (uint32_t i = 0; i < cpu_count; i++)
				if (want >> i & 1)
					WAIT_FOR(cpus[i].seen[0x75] == 1);
			CHECK_EQ(seen(0x75), ones(want));
		}
	}
	logical_everywhere(false);
	for (uint64_t n = 1; n <= 50; n++) { // one of those that are named
		if (n == 1)
			clear_seen(0x76);
		apic_ipi((1u << cpu_count) - 1, LOWEST | LOGICAL | 0x76);
		WAIT_FOR(seen(0x76) == n);
	}
	// The one with the lowest priority: all but the last have theirs raised.
	cli();
	for (uint32_t i = 0; i < cpu_count - 1; i++) {
		if (i) {
			on_cpu(i, raise_tpr, 0x50);
			finish(i);
		}
	}
	apic_write(0x80, 0x50);
	sti();
	stop_looping = false, loops = 0;
	on_cpu(cpu_count - 1, loop_interrupted, 0);
	WAIT_FOR(loops > 10);
	clear_seen(0x77);
	for (uint64_t n = 1; n <= 20; n++) {
		apic_ipi((1u << cpu_count) - 1, LOWEST | LOGICAL | 0x77);
		WAIT_FOR(seen(0x77) == n);
		uint64_t l = loops;
		WAIT_FOR(loops >= l + 2); // it is done with the vector, which raised its priority
	}
	cli();
	CHECK_EQ(cpus[cpu_count - 1].seen[0x77], 20);
	stop_looping = true;
	finish(cpu_count - 1);
	apic_write(0x80, 0);
	for (uint32_t i = 1; i < cpu_count - 1; i++) {
		on_cpu(i, raise_tpr, 0);
		finish(i);
	}
}

TEST(apic_task_priority_holds_interrupts_back, 0)
{
	begin();
	apic_write(0x80, 0x60);
	CHECK_EQ(read_cr8(), 6);
	CHECK_EQ(apic_read(0xa0), 0x60); // PPR
	apic_ipi(0, FIXED | TO_SELF | 0x65);
	apic_ipi(0, FIXED | TO_SELF | 0x71);
	settle();
	CHECK_EQ(orders, 1);
	CHECK_EQ(order[0], 0x71);
	CHECK_EQ(apic_read(0x200 + 0x10 * (0x65 / 32)) >> (0x65 & 31) & 1, 1); // IRR
	write_cr8(5);
	CHECK_EQ(apic_read(0x80), 0x50);
	settle();
	CHECK_EQ(orders, 2);
	CHECK_EQ(order[1], 0x65);
	write_cr8(15);
	apic_ipi(0, FIXED | TO_SELF | 0xfe);
	settle();
	CHECK_EQ(orders, 2);
	write_cr8(0);
	settle();
	CHECK_EQ(orders, 3);
}

static uint32_t priorities[4];
static bool nested(struct frame *f)
{
	if (f->vector < 32)
		return false;
	order[orders++] = f->vector;
	if (f->vector == 0x81) {
		priorities[0] = apic_read(0xa0);
		priorities[1] = apic_read(0x100 + 0x10 * (0x81 / 32)) >> (0x81 & 31) & 1; // ISR
		apic_ipi(0, FIXED | TO_SELF | 0x8f); // of the same class: later
		apic_ipi(0, FIXED | TO_SELF | 0x91); // higher: now
		apic_ipi(0, FIXED | TO_SELF | 0x41); // lower: last
		sti();
		for (int i = 0; i < 100; i++)
			pause();
		cli();
		order[orders++] = 1;
	}
	return false;
}

TEST(apic_nesting_follows_priorities, 0)
{
	static const uint32_t want[] = { 0x81, 0x91, 1, 0x8f, 0x41 };

	orders = 0;
	me()->hook = nested;
	apic_ipi(0, FIXED | TO_SELF | 0x81);
	settle();
	CHECK_EQ(orders, 5);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(order[i], want[i]);
	CHECK_EQ(priorities[0], 0x80);
	CHECK_EQ(priorities[1], 1);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(apic_read(0x100 + 0x10 * i), 0);
}

TEST(apic_a_vector_is_kept_once, 0)
{
	begin();
	for (int i = 0; i < 10; i++)
		apic_ipi(0, FIXED | TO_SELF | 0x66);
	settle();
	CHECK_EQ(orders, 1);
}

static bool no_eoi(struct frame *f)
{
	order[orders++] = f->vector;
	return f->vector >= 32;
}

TEST(apic_without_EOI_nothing_of_that_class_comes, 0)
{
	orders = 0;
	me()->hook = no_eoi;
	apic_ipi(0, FIXED | TO_SELF | 0x85);
	settle();
	apic_ipi(0, FIXED | TO_SELF | 0x86);
	apic_ipi(0, FIXED | TO_SELF | 0x85);
	settle();
	CHECK_EQ(orders, 1);
	CHECK_EQ(apic_read(0xa0), 0x80);
	apic_ipi(0, FIXED | TO_SELF | 0x95);
	settle();
	CHECK_EQ(orders, 2);
	apic_write(0xb0, 0); // ends 95
	CHECK_EQ(apic_read(0xa0), 0x80);
	settle();
	CHECK_EQ(orders, 2);
	apic_write(0xb0, 0); // ends 85
	settle();
	CHECK_EQ(orders, 3);
	CHECK_EQ(order[2], 0x86);
	apic_write(0xb0, 0);
	settle();
	CHECK_EQ(order[3], 0x85);
	apic_write(0xb0, 0);
	CHECK_EQ(apic_read(0xa0), 0);
}

TEST(apic_timer, 0)
{
	begin();
	me()->seen[0x69] = 0;
	apic_write(0x3e0, 0xb); // by 1
	apic_write(0x320, 0x69);
	apic_write(0x380, 100000);
	CHECK(apic_read(0x390) <= 100000);
	sti();
	WAIT_FOR(me()->seen[0x69] == 1);
	CHECK_EQ(apic_read(0x390), 0); // one shot
	for (int i = 0; i < 3; i++) { // again, with HLT
		uint64_t n = me()->seen[0x69];
		cli();
		apic_write(0x380, 50000);
		__asm__ volatile("sti; hlt" : : : "memory");
		WAIT_FOR(me()->seen[0x69] == n + 1);
	}
	apic_write(0x320, 1 << 17 | 0x69); // periodic
	apic_write(0x380, 50000);
	uint64_t n = me()->seen[0x69];
	WAIT_FOR(me()->seen[0x69] >= n + 10);
	uint32_t first = apic_read(0x390);
	CHECK(first <= 50000);
	apic_write(0x320, 1 << 17 | 1 << 16 | 0x69); // masked: it counts, and is silent
	n = me()->seen[0x69];
	uint64_t begin_tsc = rdtsc();
	while (rdtsc() - begin_tsc < 1000000)
		pause();
	CHECK(me()->seen[0x69] <= n + 1);
	apic_write(0x380, 0);
	CHECK_EQ(apic_read(0x390), 0);
	cli();
	apic_write(0x320, 1 << 16);
}

TEST(apic_timer_divides, 0)
{
	static const uint8_t codes[] = { 0xb, 0, 1, 2, 3, 8, 9, 0xa };

	apic_write(0x320, 1 << 16 | 0x69);
	for (int i = 0; i < 8; i++) {
		apic_write(0x3e0, codes[i]);
		CHECK_EQ(apic_read(0x3e0), codes[i]);
		apic_write(0x380, 0xffffffff);
		CHECK_EQ(apic_read(0x380), 0xffffffff);
		uint32_t a = apic_read(0x390);
		uint64_t t = rdtsc();
		while (apic_read(0x390) == a && rdtsc() - t < 1000000000)
			pause();
		CHECK(apic_read(0x390) < a);
	}
	apic_write(0x380, 0);
}

TEST(apic_timer_deadline, NEEDS_DEADLINE)
{
	begin();
	me()->seen[0x6a] = 0;
	apic_write(0x320, 2 << 17 | 0x6a);
	wrmsr(0x6e0, rdtsc() + 100000);
	sti();
	WAIT_FOR(me()->seen[0x6a] == 1);
	CHECK_EQ(rdmsr(0x6e0), 0);
	for (int i = 0; i < 10; i++) {
		uint64_t n = me()->seen[0x6a], until = rdtsc() + 300000;
		cli();
		wrmsr(0x6e0, until);
		__asm__ volatile("sti; hlt" : : : "memory");
		WAIT_FOR(me()->seen[0x6a] == n + 1);
		CHECK(rdtsc() >= until);
	}
	cli();
	uint64_t n = me()->seen[0x6a];
	wrmsr(0x6e0, 1); // past
	sti();
	WAIT_FOR(me()->seen[0x6a] == n + 1);
	wrmsr(0x6e0, ~0ull >> 1);
	wrmsr(0x6e0, 0); // disarmed
	apic_write(0x320, 2 << 17 | 0x6a);
	apic_write(0x380, 1000); // no effect in this mode
	CHECK_EQ(apic_read(0x390), 0);
	cli();
	apic_write(0x320, 1 << 16);
}

static volatile uint32_t nmis;
static volatile uint64_t in_nmi;
static bool on_nmi(struct frame *f)
{
	if (f->vector != NMI)
		return false;
	nmis++;
	CHECK_EQ(in_nmi, 0);
	in_nmi = 1;
	if (nmis == 1)
		apic_ipi(me()->index, 0x4400); // a second one waits until IRET
	for (int i = 0; i < 50; i++)
		pause();
	in_nmi = 0;
	return true;
}

TEST(apic_nmi, 0)
{
	nmis = 0, in_nmi = 0;
	me()->hook = on_nmi;
	apic_ipi(0, 0x4400); // with IF = 0
	WAIT_FOR(nmis == 2);
}

static void hook_nmi(uint64_t on) { me()->hook = on ? on_nmi : 0; }

TEST(apic_nmi_to_others_that_halt, SMP)
{
	for (uint32_t i = 1; i < cpu_count; i++) {
		nmis = 0, in_nmi = 0;
		on_cpu(i, hook_nmi, 1);
		finish(i);
		apic_ipi(i, 0x4400);
		WAIT_FOR(nmis == 2);
		on_cpu(i, hook_nmi, 0);
		finish(i);
	}
}

static void store_index(uint64_t to) { *(volatile uint64_t *)to = me()->index + 1; }
static void spin_forever(uint64_t to) { *(volatile uint64_t *)to = 1; for (;;) pause(); }

TEST(apic_init_and_startup_again_and_again, SMP)
{
	static volatile uint64_t got;

	for (int round = 0; round < 3; round++)
		for (uint32_t i = 1; i < cpu_count; i++) {
			if (round == 1) { // out of a loop without interrupts
				got = 0;
				on_cpu(i, spin_forever, (uint64_t)&got);
				WAIT_FOR(got);
				cpus[i].work = 0;
			}
			smp_restart(i);
			apic_ipi(i, 0x4600 | TRAMPOLINE >> 12); // one too many does nothing
			got = 0;
			on_cpu(i, store_index, (uint64_t)&got);
			finish(i);
			CHECK_EQ(got, i + 1);
		}
}

static void read_reserved(uint64_t off) { apic_read(off); }

TEST(apic_errors, 0)
{
	begin();
	apic_write(0x370, 0x6c); // LVT error
	apic_write(0x280, 0);
	apic_write(0x280, 0);
	CHECK_EQ(apic_read(0x280), 0);
	apic_ipi(0, FIXED | TO_SELF | 5); // an illegal vector
	settle();
	apic_write(0x280, 0);
	CHECK_EQ(apic_read(0x280) & 0x60, 0x60); // sent and received
	CHECK_EQ(orders >= 1 && order[0] == 0x6c, 1);
	apic_write(0x280, 0);
	CHECK_EQ(apic_read(0x280), 0);
	RUNS(read_reserved, 0x40);
	apic_write(0x280, 0);
	CHECK_EQ(apic_read(0x280) & 0x80, 0x80); // an illegal register
	apic_write(0x370, 1 << 16);
	settle();
}

TEST(apic_software_disabled, 0)
{
	begin();
	apic_write(0x320, 0x69);
	apic_write(0xf0, VECTOR_SPURIOUS);
	CHECK_EQ(apic_read(0x320) >> 16 & 1, 1); // LVTs are masked
	apic_write(0x320, 0x69);
	CHECK_EQ(apic_read(0x320) >> 16 & 1, 1); // and stay so
	apic_ipi(0, FIXED | 0x6d);
	settle();
	CHECK_EQ(orders, 0);
	apic_write(0xf0, 0x100 | VECTOR_SPURIOUS);
	settle();
	apic_ipi(0, FIXED | 0x6e);
	settle();
	CHECK_EQ(orders, 1);
	CHECK_EQ(order[0], 0x6e);
}

static void wrmsr_pair(uint64_t p) { uint64_t *a = (uint64_t *)p; wrmsr(a[0], a[1]); }
static void rdmsr_one(uint64_t n) { rdmsr(n); }

TEST(apic_x2apic, NEEDS_X2APIC)
{
	uint64_t base = rdmsr(0x1b);

	begin();
	TRAPS(GP, 0, rdmsr_one, 0x802); // not in xAPIC mode
	apic_x2(true);
	CHECK_EQ(rdmsr(0x802), me()->index);
	CHECK_EQ(rdmsr(0x80d), (me()->index >> 4) << 16 | 1u << (me()->index & 15));
	static const uint64_t wrong[][2] = {
		{ 0x80b, 1 }, { 0x80d, 1 }, { 0x802, 0 }, { 0x80e, 0 }, { 0x831, 0 }, { 0x828, 1 }, { 0x808, 0x100 }, { 0x832, 1ull << 40 }, { 0x83f, 0x100 },
		{ 0x80f, 1ull << 32 },
	};
	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
		if (!try(wrmsr_pair, (uint64_t)wrong[i]) || me()->trap.vector != GP)
			failed(__FILE__, __LINE__, "an x2APIC register refuses", wrong[i][0], wrong[i][1], true);
	uint64_t back[2] = { 0x1b, base & ~0x400ull };
	TRAPS(GP, 0, wrmsr_pair, back); // straight back to xAPIC mode
	wrmsr(0x83f, 0x61); // SELF IPI
	wrmsr(0x830, FIXED | 0x62); // physical 0
	wrmsr(0x830, 1ull << 32 | FIXED | LOGICAL | 0x63);
	wrmsr(0x830, FIXED | TO_SELF | 0x64);
	settle();
	CHECK_EQ(orders, 4);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(order[i], 0x64 - i);
	wrmsr(0x808, 0x40);
	CHECK_EQ(read_cr8(), 4);
	CHECK_EQ(rdmsr(0x80a), 0x40);
	wrmsr(0x808, 0);
	apic_x2(false);
	CHECK_EQ(rdmsr(0x1b), base);
	apic_ipi(0, FIXED | 0x65);
	settle();
	CHECK_EQ(orders, 5);
}

static void set_x2(uint64_t on) { apic_x2(on); }

TEST(apic_x2apic_destinations, SMP | NEEDS_X2APIC)
{
	for (uint32_t i = 1; i < cpu_count; i++) {
		on_cpu(i, set_x2, 1);
		finish(i);
	}
	apic_x2(true);
	sti();
	for (uint32_t i = 0; i < cpu_count; i++) {
		clear_seen(0x71);
		apic_ipi(i, FIXED | 0x71);
		WAIT_FOR(cpus[i].seen[0x71] == 1);
		CHECK_EQ(seen(0x71), 1);
	}
	for (uint32_t mask = 1; mask < 1u << cpu_count; mask++) {
		clear_seen(0x72);
		apic_ipi(mask, FIXED | LOGICAL | 0x72);
		for (uint32_t i = 0; i < cpu_count; i++)
			if (mask >> i & 1)
				WAIT_FOR(cpus[i].seen[0x72] == 1);
		CHECK_EQ(seen(0x72), ones(mask));
	}
	clear_seen(0x73);
	apic_ipi(0xffffffff, FIXED | 0x73);
	WAIT_FOR(seen(0x73) == cpu_count);
	clear_seen(0x74);
	apic_ipi(0, FIXED | TO_OTHERS | 0x74);
	WAIT_FOR(seen(0x74) == cpu_count - 1);
	for (uint64_t n = 1; n <= 20; n++) {
		if (n == 1)
			clear_seen(0x75);
		apic_ipi((1u << cpu_count) - 1, LOWEST | LOGICAL | 0x75);
		WAIT_FOR(seen(0x75) == n);
	}
	cli();
	for (uint32_t i = 1; i < cpu_count; i++) {
		on_cpu(i, set_x2, 0);
		WAIT_FOR(!cpus[i].x2apic);
		finish(i);
	}
	apic_x2(false);
}

// Many wake-ups of processors that halt: none is lost.
TEST(apic_no_wake_up_is_lost, SMP)
{
	for (uint32_t i = 1; i < cpu_count; i++)
		for (int n = 0; n < 300; n++) {
			static volatile uint64_t got;
			on_cpu(i, store_index, (uint64_t)&got);
			finish(i);
		}
}

static uint64_t last_tsc __attribute__((aligned(64)));
static volatile uint32_t turn;
static void pass_tsc(uint64_t rounds)
{
	uint32_t mine = me()->index;
	for (uint64_t i = 0; i < rounds; i++) {
		while (turn % cpu_count != mine)
			pause();
		__asm__ volatile("lfence" : : : "memory");
		uint64_t now = rdtsc();
		CHECK(now >= last_tsc);
		last_tsc = now;
		__asm__ volatile("mfence" : : : "memory");
		turn++;
	}
}

TEST(time_stamps_never_go_back, SMP)
{
	last_tsc = 0, turn = 0;
	for (uint32_t i = 1; i < cpu_count; i++)
		on_cpu(i, pass_tsc, 10);
	pass_tsc(10);
	for (uint32_t i = 1; i < cpu_count; i++)
		finish(i);
}

TEST(time_stamp_of_one_CPU_never_goes_back, 0)
{
	uint64_t was = rdtsc();
	for (int i = 0; i < 2000; i++) {
		uint64_t now = rdtsc();
		CHECK(now >= was);
		was = now;
	}
	uint64_t adjust = rdmsr(0x3b);
	wrmsr(0x3b, adjust + (1ull << 40));
	CHECK(rdtsc() - was >= 1ull << 40);
	wrmsr(0x3b, adjust);
	CHECK(rdtsc() - was < 1ull << 40);
	was = rdtsc();
	wrmsr(0x10, was + (1ull << 41));
	CHECK_EQ((rdmsr(0x3b) - adjust + (1ull << 39)) >> 40, 2);
	wrmsr(0x3b, adjust);
}

static volatile uint64_t halted_for_nmi;
static void halt_without_interrupts(uint64_t to)
{
	cli();
	halted_for_nmi = 1;
	__asm__ volatile("hlt" : : : "memory");
	*(volatile uint64_t *)to = 7;
}

TEST(apic_nmi_wakes_a_HLT_that_no_interrupt_may, SMP)
{
	static volatile uint64_t got;

	for (uint32_t c = 1; c < cpu_count; c++) {
		got = halted_for_nmi = 0;
		on_cpu(c, halt_without_interrupts, (uint64_t)&got);
		WAIT_FOR(halted_for_nmi);
		for (int i = 0; i < 20000; i++)
			pause();
		apic_ipi(c, 0x4000 | 0xf3); // IF is 0 there
		for (int i = 0; i < 20000; i++)
			pause();
		CHECK_EQ(got, 0);
		for (int i = 0; i < 100 && !got; i++) { // it may not have reached HLT before
			apic_ipi(c, 0x4400);
			uint64_t b = rdtsc();
			while (!got && rdtsc() - b < 100000000)
				pause();
		}
		CHECK_EQ(got, 7);
		finish(c);
	}
}

TEST(apic_timer_interrupts_strings, 0)
{
	uint64_t from = page_alloc_2m(), to = page_alloc_2m();

	me()->seen[0x69] = 0;
	apic_write(0x3e0, 0xb);
	apic_write(0x320, 1 << 17 | 0x69);
	apic_write(0x380, 2000);
	for (uint64_t i = 0; i < 0x200000; i += 8)
		*(uint64_t *)(from + i) = i * 0x9e3779b97f4a7c15;
	sti();
	for (int round = 0; round < 50 || me()->seen[0x69] < 10; round++) {
		fill((void *)to, 0, 0x20000);
		copy((void *)to, (void *)from, 0x20000);
		for (uint64_t i = 0; i < 0x20000; i += 4096)
			CHECK_EQ(*(uint64_t *)(to + i + 8), (i + 8) * 0x9e3779b97f4a7c15);
		CHECK_EQ(*(uint64_t *)(to + 0x1fff8), 0x1fff8 * 0x9e3779b97f4a7c15);
	}
	cli();
	apic_write(0x320, 1 << 16);
	apic_write(0x380, 0);
}
