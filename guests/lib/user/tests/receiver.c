/* SPDX-License-Identifier: Apache-2.0 */
/* One thread: attaching, order, masks, stacks, registers. */
#include "test.h"

static unsigned order[UINTR_VECTORS];
static volatile unsigned handled;

static void record(unsigned vector, void *context)
{
	CHECK(uintr_masked());
	CHECK_EQUAL(vector, (uintptr_t)context);
	order[handled++ % UINTR_VECTORS] = vector;
	errno = EXDEV;
}

static void open_all(int *index)
{
	for (int v = 0; v < UINTR_VECTORS; v++) {
		CHECK_EQUAL(uintr_attach(UINTR_ANY, record, (void *)(uintptr_t)v), v);
		index[v] = uintr_channel_self(v);
		CHECK(index[v] >= 0);
	}
}

static void close_all(int *index)
{
	for (int v = 0; v < UINTR_VECTORS; v++) {
		CHECK_EQUAL(uintr_channel_close(index[v]), 0);
		CHECK_EQUAL(uintr_detach(v), 0);
	}
}

static void misuse_is_refused(void)
{
	CHECK_EQUAL(uintr_attach(0, record, NULL), -EINVAL);
	CHECK_EQUAL(uintr_channel_create(0), -EINVAL);
	CHECK_EQUAL(uintr_receiver_stop(), -EINVAL);
	CHECK_EQUAL(uintr_receiver_start(0x8000), -EINVAL);
	CHECK_EQUAL(uintr_receiver_start(0), 0);
	CHECK_EQUAL(uintr_receiver_start(0), -EBUSY);
	CHECK_EQUAL(uintr_attach(3, record, NULL), 3);
	CHECK_EQUAL(uintr_attach(3, record, NULL), -EBUSY);
	CHECK_EQUAL(uintr_attach(64, record, NULL), -ENOSPC);
	CHECK_EQUAL(uintr_attach(-2, record, NULL), -EINVAL);
	CHECK_EQUAL(uintr_attach(4, NULL, NULL), -EINVAL);
	CHECK_EQUAL(uintr_detach(4), -EINVAL);
	CHECK_EQUAL(uintr_detach(3), 0);
	CHECK_EQUAL(uintr_channel_create(64), -ENOSPC);
	CHECK_EQUAL(uintr_channel_self(-1), -EINVAL);
	CHECK_EQUAL(uintr_channel_close(200), -EINVAL);
	uintr_mask();
	CHECK_EQUAL(uintr_receiver_stop(), -EBUSY);
	CHECK_EQUAL(uintr_stack(1 << 16), -EBUSY);
	uintr_unmask();
}

static void vectors_come_highest_first_and_coalesce(void)
{
	int index[UINTR_VECTORS];

	open_all(index);
	CHECK_EQUAL(uintr_attach(UINTR_ANY, record, NULL), -ENOSPC);
	handled = 0;
	errno = 0;
	uintr_send(index[7]);
	CHECK_EQUAL(handled, 1);
	CHECK_EQUAL(errno, 0);
	uintr_mask();
	for (int twice = 0; twice < 2; twice++)
		for (int v = 0; v < UINTR_VECTORS; v++)
			uintr_send(index[v]);
	CHECK_EQUAL(handled, 1);
	uintr_unmask();
	CHECK_EQUAL(handled, 1 + UINTR_VECTORS);
	for (int i = 1; i < UINTR_VECTORS; i++)
		CHECK_EQUAL(order[i], UINTR_VECTORS - i);
	close_all(index);
}

static int nested_index;
static volatile int stage;

static void masks_inside(unsigned vector, void *context)
{
	(void)vector;
	(void)context;
	if (stage++)
		return;
	uintr_mask();
	uintr_send(nested_index);
	uintr_unmask(); /* the handler's own mask stands */
	CHECK_EQUAL(stage, 1);
}

static void masks_nest(void)
{
	CHECK_EQUAL(uintr_attach(0, masks_inside, NULL), 0);
	nested_index = uintr_channel_self(0);
	CHECK(!uintr_masked());
	uintr_mask();
	uintr_mask();
	uintr_send(nested_index);
	uintr_unmask();
	CHECK(uintr_masked());
	CHECK_EQUAL(stage, 0);
	uintr_unmask();
	CHECK_EQUAL(stage, 2); /* the second came when the first had returned */
	CHECK(!uintr_masked());
	CHECK_EQUAL(uintr_channel_close(nested_index), 0);
	CHECK_EQUAL(uintr_detach(0), 0);
}

static void detached_vectors_are_dropped(void)
{
	int index = uintr_channel_self(9);

	CHECK(index >= 0);
	uintr_send(index);
	CHECK_EQUAL(uintr_channel_close(index), 0);
}

static volatile double scratch;
static atomic_int beats;

/* Uses what a function may: vector registers, x87, strings. */
static void computes(unsigned vector, void *context)
{
	char text[200];
	volatile long double x = 1.0L;

	(void)context;
	memset(text, (int)vector, sizeof(text));
	for (int i = 1; i < 20; i++) {
		scratch = scratch * 1.5 + text[i];
		x = x / 3 + i;
	}
	scratch = 0;
	beats++;
}

struct beat {
	int fd;
	atomic_bool stop;
};

static void *beating(void *context)
{
	struct beat *b = context;
	int index = uintr_channel_open(b->fd);

	CHECK(index >= 0);
	while (!b->stop) {
		int before = beats;

		uintr_send(index);
		while (beats == before && !b->stop)
			sched_yield();
	}
	CHECK_EQUAL(uintr_channel_close(index), 0);
	return NULL;
}

static __attribute__((noipa)) double harmonic(int n)
{
	double sum = 0, product = 1;

	for (int i = 1; i < n; i++) {
		sum += 1.0 / i;
		product = product * 1.0000001 + sum * 1e-9;
	}
	return sum + product;
}

/* A peer interrupts a computation all the time, which must come out the same. */
static void registers_are_kept(void)
{
	struct beat b = {0};
	pthread_t peer;
	double want = harmonic(2000);
	int rounds = 0;

	CHECK_EQUAL(uintr_attach(1, computes, NULL), 1);
	b.fd = uintr_channel_create(1);
	CHECK(b.fd >= 0);
	CHECK_EQUAL(pthread_create(&peer, NULL, beating, &b), 0);
	while (beats < 200) {
		CHECK(harmonic(2000) == want);
		rounds++;
	}
	b.stop = true;
	pthread_join(peer, NULL);
	close(b.fd);
	CHECK_EQUAL(uintr_detach(1), 0);
	printf("registers: %d interrupts in %d rounds\n", beats, rounds);
}

#ifndef UINTR_MODEL
static volatile uintptr_t stack_at;

static void looks_where(unsigned vector, void *context)
{
	char here[1000];

	(void)vector;
	(void)context;
	memset(here, 0, sizeof(here));
	stack_at = (uintptr_t)here;
	__asm__ volatile("" : : "r"(here) : "memory");
}

static bool far_from(uintptr_t a, const void *b)
{
	intptr_t d = (intptr_t)(a - (uintptr_t)b);

	return d > 65536 || d < -65536;
}

static void handlers_run_on_their_stack(void)
{
	int here, index;

	CHECK_EQUAL(uintr_attach(0, looks_where, NULL), 0);
	index = uintr_channel_self(0);
	uintr_send(index);
	CHECK(!far_from(stack_at, &here));
	CHECK_EQUAL(uintr_stack(16384), 0);
	uintr_send(index);
	CHECK(far_from(stack_at, &here));
	CHECK_EQUAL(uintr_stack(0), 0);
	uintr_send(index);
	CHECK(!far_from(stack_at, &here));
	CHECK_EQUAL(uintr_channel_close(index), 0);
	CHECK_EQUAL(uintr_detach(0), 0);
}
#endif

static void stopping_ends_channels(void)
{
	int fd = uintr_channel_create(0);

	CHECK(fd >= 0);
	CHECK_EQUAL(uintr_receiver_stop(), 0);
	CHECK_EQUAL(uintr_channel_open(fd), -ESHUTDOWN);
	close(fd);
	CHECK_EQUAL(uintr_receiver_start(UINTR_GENERAL_REGISTERS), 0);
	vectors_come_highest_first_and_coalesce();
	CHECK_EQUAL(uintr_receiver_stop(), 0);
}

int main(void)
{
	begin();
	misuse_is_refused();
	vectors_come_highest_first_and_coalesce();
	masks_nest();
	detached_vectors_are_dropped();
	registers_are_kept();
#ifndef UINTR_MODEL
	handlers_run_on_their_stack();
#endif
	stopping_ends_channels();
	puts("ok receiver");
	return 0;
}
