// SPDX-License-Identifier: Apache-2.0
// What several processors do to the same memory at once.
#include "system.h"

static uint8_t area[8192] __attribute__((aligned(4096)));
static volatile uint32_t ready;
static uint64_t rounds = 4000;

// together runs f on every processor, this one too.
static void together(void (*f)(uint64_t))
{
	ready = 0;
	for (uint32_t c = 1; c < cpu_count; c++)
		on_cpu(c, f, c);
	f(0);
	for (uint32_t c = 1; c < cpu_count; c++)
		finish(c);
}

static void meet(void)
{
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (ready < cpu_count)
		pause();
}

#define COUNTER(name, at, type, text) \
	static void add_##name(uint64_t c) \
	{ \
		(void)c; \
		meet(); \
		for (uint64_t i = 0; i < rounds; i++) \
			__asm__ volatile(text : : "r"(area + (at)) : "rax", "rcx", "memory", "cc"); \
	} \
	TEST(atomic_##name, SMP) \
	{ \
		fill(area, 0, sizeof area); \
		together(add_##name); \
		CHECK_EQ(*(volatile type *)(area + (at)), (type)(cpu_count * rounds)); \
		CHECK_EQ(area[(at) + sizeof(type)], 0); \
	}

COUNTER(inc_8, 5, uint8_t, "lock incb (%0)")
COUNTER(add_16, 6, uint16_t, "lock addw $1, (%0)")
COUNTER(add_16_odd, 7, uint16_t, "lock addw $1, (%0)")
COUNTER(xadd_32, 64, uint32_t, "mov $1, %%eax; lock xadd %%eax, (%0)")
COUNTER(xadd_64, 128, uint64_t, "mov $1, %%eax; lock xadd %%rax, (%0)")
COUNTER(dec_64, 128, uint64_t, "lock subq $-1, (%0)")
COUNTER(over_two_lines, 61, uint64_t, "lock incq (%0)")
COUNTER(over_two_pages, 4093, uint64_t, "lock incq (%0)")
COUNTER(over_two_pages_16, 4095, uint16_t, "lock incw (%0)")
COUNTER(cmpxchg_8, 3, uint8_t, "movb (%0), %%al; 1: lea 1(%%rax), %%ecx; lock cmpxchgb %%cl, (%0); jne 1b")
COUNTER(cmpxchg_32, 8, uint32_t, "movl (%0), %%eax; 1: lea 1(%%rax), %%ecx; lock cmpxchgl %%ecx, (%0); jne 1b")
COUNTER(cmpxchg_64_over_two_pages, 4092, uint64_t, "movq (%0), %%rax; 1: lea 1(%%rax), %%rcx; lock cmpxchgq %%rcx, (%0); jne 1b")

static void mixed_sizes(uint64_t c)
{
	meet();
	for (uint64_t i = 0; i < rounds; i++)
		switch (c & 3) { // bytes of one word: nobody's carry reaches another's
		case 0: __asm__ volatile("lock addl $0x1, %0" : "+m"(*(uint32_t *)area)); break;
		case 1: __asm__ volatile("lock addb $1, %0" : "+m"(area[3])); break;
		case 2: __asm__ volatile("lock addw $1, %0" : "+m"(*(uint16_t *)(area + 4))); break;
		case 3: __asm__ volatile("lock addq %1, %0" : "+m"(*(uint64_t *)area) : "r"(1ull << 48)); break;
		}
}

TEST(atomic_sizes_mixed_in_one_word, SMP)
{
	fill(area, 0, sizeof area);
	together(mixed_sizes);
	CHECK_EQ(*(uint32_t *)area & 0xffffff, rounds);
	CHECK_EQ(area[3], (uint8_t)rounds);
	if (cpu_count > 2)
		CHECK_EQ(*(uint16_t *)(area + 4), (uint16_t)rounds);
	if (cpu_count > 3)
		CHECK_EQ(*(uint16_t *)(area + 6), (uint16_t)rounds);
}

static volatile uint32_t second;
static void set_bits(uint64_t c)
{
	meet();
	for (uint64_t i = c; i < 4096; i += cpu_count)
		__asm__ volatile("lock bts %0, %1" : : "r"(i), "m"(area) : "memory", "cc");
	__atomic_add_fetch(&second, 1, __ATOMIC_SEQ_CST);
	while (second < cpu_count)
		pause();
	for (uint64_t i = c; i < 4096; i += cpu_count)
		if (i / cpu_count & 1)
			__asm__ volatile("lock btr %0, %1" : : "r"(i), "m"(area) : "memory", "cc");
}

TEST(atomic_bits, SMP)
{
	fill(area, 0, sizeof area);
	second = 0;
	together(set_bits);
	for (uint64_t i = 0; i < 4096; i++)
		CHECK_EQ(area[i / 8] >> (i & 7) & 1, !(i / cpu_count & 1));
}

// A stack of nodes with a generation, by CMPXCHG16B.
struct node { struct node *next; uint64_t owner; };
static struct node nodes[64];
static struct { struct node *top; uint64_t generation; } head __attribute__((aligned(16)));

static bool swap16(void *at, uint64_t old0, uint64_t old1, uint64_t new0, uint64_t new1)
{
	uint8_t done;
	__asm__ volatile("lock cmpxchg16b (%1); sete %0" : "=q"(done), "+r"(at), "+a"(old0), "+d"(old1) : "b"(new0), "c"(new1) : "memory", "cc");
	return done;
}

static struct node *pop(void)
{
	for (;;) {
		uint64_t g = *(volatile uint64_t *)&head.generation;
		struct node *n = *(struct node *volatile *)&head.top;
		if (!n)
			return 0;
		struct node *next = *(struct node *volatile *)&n->next;
		if (swap16(&head, (uint64_t)n, g, (uint64_t)next, g + 1))
			return n;
	}
}

static void push(struct node *n)
{
	for (;;) {
		uint64_t g = *(volatile uint64_t *)&head.generation;
		struct node *top = *(struct node *volatile *)&head.top;
		*(struct node *volatile *)&n->next = top;
		if (swap16(&head, (uint64_t)top, g, (uint64_t)n, g + 1))
			return;
	}
}

static void use_stack(uint64_t c)
{
	meet();
	for (uint64_t i = 0; i < rounds; i++) {
		struct node *a = pop(), *b = pop();
		CHECK(a && b && a != b);
		CHECK_EQ(__atomic_exchange_n(&a->owner, c + 1, __ATOMIC_SEQ_CST), 0);
		CHECK_EQ(__atomic_exchange_n(&b->owner, c + 1, __ATOMIC_SEQ_CST), 0);
		CHECK_EQ(__atomic_exchange_n(&a->owner, 0, __ATOMIC_SEQ_CST), c + 1);
		CHECK_EQ(__atomic_exchange_n(&b->owner, 0, __ATOMIC_SEQ_CST), c + 1);
		push(b);
		push(a);
	}
}

TEST(atomic_cmpxchg16b_stack, SMP)
{
	head.top = 0, head.generation = 0;
	for (int i = 0; i < 64; i++) {
		nodes[i].owner = 0;
		push(&nodes[i]);
	}
	together(use_stack);
	int n = 0;
	for (struct node *p = head.top; p; p = p->next)
		n++;
	CHECK_EQ(n, 64);
	CHECK_EQ(head.generation, 64 + 4 * rounds * cpu_count);
}

static void cmpxchg16b_at(uint64_t la) { swap16((void *)la, 0, 0, 0, 0); }
TEST(atomic_cmpxchg16b_must_be_aligned, 0) { TRAPS(GP, 0, cmpxchg16b_at, (uint64_t)area + 8); }

static volatile uint32_t lock;
static volatile uint64_t inside, total;
static void spinlock(uint64_t c)
{
	(void)c;
	meet();
	for (uint64_t i = 0; i < rounds; i++) {
		uint32_t one = 1;
		do {
			while (lock)
				pause();
			one = 1;
			__asm__ volatile("xchgl %0, %1" : "+r"(one), "+m"(lock) : : "memory");
		} while (one);
		CHECK_EQ(inside, 0);
		inside = 1;
		total = total + 1;
		inside = 0;
		lock = 0;
	}
}

TEST(atomic_spinlock, SMP)
{
	total = 0, inside = 0, lock = 0;
	together(spinlock);
	CHECK_EQ(total, rounds * cpu_count);
}

static volatile uint32_t tickets __attribute__((aligned(64))), serving __attribute__((aligned(64)));
static void ticket_lock(uint64_t c)
{
	(void)c;
	meet();
	for (uint64_t i = 0; i < rounds / 16; i++) {
		uint32_t mine = 1;
		__asm__ volatile("lock xaddl %0, %1" : "+r"(mine), "+m"(tickets) : : "memory");
		for (uint64_t n = 0; serving != mine; n++)
			if (n > 64) // fair locks want the holder to run
				__asm__ volatile("sti; hlt; cli" : : : "memory");
			else
				pause();
		total = total + 1;
		serving = mine + 1;
		for (uint32_t o = 0; o < cpu_count; o++)
			if (o != me()->index)
				apic_ipi(o, 0x40f2);
	}
}

TEST(atomic_ticket_lock_with_HLT, SMP)
{
	total = 0, tickets = serving = 0;
	together(ticket_lock);
	CHECK_EQ(total, rounds / 16 * cpu_count);
}

// Message passing: who sees the flag sees the data. x86 never shows it otherwise.
static volatile uint64_t message __attribute__((aligned(64))), flag __attribute__((aligned(64)));
static void reader(uint64_t n)
{
	uint64_t last = 0;
	while (last < n) {
		uint64_t f = flag, m = message;
		CHECK(m >= f);
		CHECK(f >= last);
		last = f;
	}
}

TEST(atomic_message_passing, SMP)
{
	message = flag = 0;
	for (uint32_t c = 1; c < cpu_count; c++)
		on_cpu(c, reader, 20000);
	for (uint64_t i = 1; i <= 20000; i++) {
		message = i;
		flag = i;
	}
	for (uint32_t c = 1; c < cpu_count; c++)
		finish(c);
}

// Store buffering with MFENCE between: both cannot miss the other's store.
static volatile uint64_t x __attribute__((aligned(64))), y __attribute__((aligned(64))), turn_a __attribute__((aligned(64))), turn_b __attribute__((aligned(64)));
static volatile uint64_t saw_x[2048];
static void other_half(uint64_t n)
{
	for (uint64_t i = 1; i <= n; i++) {
		turn_b = i;
		while (turn_a < i)
			pause();
		y = i;
		__asm__ volatile("mfence" : : : "memory");
		saw_x[i] = x;
	}
}

TEST(atomic_stores_before_fences_are_seen, SMP)
{
	x = y = turn_a = turn_b = 0;
	static uint64_t saw_y[2048];
	on_cpu(1, other_half, 2000);
	for (uint64_t i = 1; i <= 2000; i++) {
		turn_a = i;
		while (turn_b < i)
			pause();
		x = i;
		__asm__ volatile("lock orl $0, -4(%%rsp)" : : : "memory");
		saw_y[i] = y;
	}
	finish(1);
	for (uint64_t i = 1; i <= 2000; i++)
		CHECK(saw_y[i] >= i || saw_x[i] >= i);
}

// A store of 8 aligned bytes is seen whole.
static volatile uint64_t whole __attribute__((aligned(64)));
static void look(uint64_t stop)
{
	while (!*(volatile uint64_t *)stop) {
		uint64_t v = whole;
		CHECK_EQ(v >> 32, v & 0xffffffff);
	}
}

TEST(atomic_aligned_stores_are_whole, SMP)
{
	static volatile uint64_t stop;

	stop = 0, whole = 0;
	for (uint32_t c = 1; c < cpu_count; c++)
		on_cpu(c, look, (uint64_t)&stop);
	for (uint64_t i = 0; i < 20000; i++)
		whole = i << 32 | i;
	stop = 1;
	for (uint32_t c = 1; c < cpu_count; c++)
		finish(c);
}

// Accessed and dirty bits are set with LOCK: another processor's change of the entry is not lost.
static void touch(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		write8(T);
		invlpg(T);
	}
}

TEST(atomic_dirty_bits_beside_other_changes, SMP)
{
	map_new(T, P | W);
	uint64_t *e = entry_of(T, 1);
	on_cpu(1, touch, 3000);
	for (uint64_t i = 0; i < 3000; i++) { // bits 52 to 61 are software's
		__asm__ volatile("lock andq %1, %0" : "+m"(*e) : "r"(~(uint64_t)(D | A)) : "memory");
		if (i % 1000 == 0)
			__asm__ volatile("lock andq %1, %0" : "+m"(*e) : "r"(~(0x3ffull << 52)) : "memory");
		__asm__ volatile("lock addq %1, %0" : "+m"(*e) : "r"(1ull << 52) : "memory");
		CHECK_EQ(*e >> 52, i % 1000 + 1);
	}
	finish(1);
}
