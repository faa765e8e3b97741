// SPDX-License-Identifier: Apache-2.0
/*
 * stress SECONDS [RECEIVERS SENDERS]: more threads than processors, each channel (receiver, vector)
 * one sender's own. A sender sends on a channel again once the last interrupt arrived, so each send
 * is one delivery: none may be lost, doubled, or come to another thread. Receivers compute, block,
 * mask, nest and migrate; signals hit them all the while.
 */
#include "check.h"

enum { RECEIVERS = 16, SENDERS = 16 };

struct channel {
	volatile unsigned long sent, received;
	long index;
	int fd;
} __attribute__((aligned(64)));

struct receiver {
	pthread_t thread;
	int number;
	volatile unsigned long signals, interrupts, waits, ready;
	volatile pid_t tid;
};

static struct channel channels[RECEIVERS][SENDERS];
static struct receiver receivers_[RECEIVERS];
static int receivers = 8, senders = 8;
static volatile bool quiet, finished; /* no more is sent; all arrived */
static volatile unsigned long wrong, clobbered, signals_sent, moves;
static __thread struct receiver *me;

static void HANDLER handler(frame_t *frame, vector_t vector)
{
	struct receiver *r = me;
	struct channel *c = &channels[r->number][vector & (SENDERS - 1)];

	(void)frame;
	if (vector >= (unsigned)senders || c->received + 1 != c->sent || r->tid != gettid())
		__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
	r->interrupts++;
	if (r->interrupts % 7 == 0)
		_stui(); /* nesting */
	c->received = c->sent;
}

static void on_signal(int number)
{
	(void)number;
	me->signals++;
}

/* What an interrupt must not disturb: all registers, the red zone. */
static unsigned long compute(unsigned long x)
{
	unsigned long bad;

	asm volatile(
		"movq %1, %%rbx\n movq %1, %%r12\n movq %1, %%r13\n movq %1, %%r14\n movq %1, %%r15\n"
		"movq %1, %%r8\n movq %1, %%r9\n movq %1, %%r10\n movq %1, %%rsi\n movq %1, %%rdi\n"
		"movq %1, -8(%%rsp)\n movq %1, -64(%%rsp)\n movq %1, -128(%%rsp)\n"
		"movl $3000, %%ecx\n 1: decl %%ecx\n jnz 1b\n"
		"xorl %%eax, %%eax\n"
		"cmpq %1, %%rbx\n jne 2f\n cmpq %1, %%r12\n jne 2f\n cmpq %1, %%r13\n jne 2f\n cmpq %1, %%r14\n jne 2f\n cmpq %1, %%r15\n jne 2f\n"
		"cmpq %1, %%r8\n jne 2f\n cmpq %1, %%r9\n jne 2f\n cmpq %1, %%r10\n jne 2f\n cmpq %1, %%rsi\n jne 2f\n cmpq %1, %%rdi\n jne 2f\n"
		"cmpq %1, -8(%%rsp)\n jne 2f\n cmpq %1, -64(%%rsp)\n jne 2f\n cmpq %1, -128(%%rsp)\n je 3f\n"
		"2: incl %%eax\n 3:"
		: "=&a"(bad) : "d"(x) : "rbx", "rcx", "rsi", "rdi", "r8", "r9", "r10", "r12", "r13", "r14", "r15", "cc", "memory");
	return bad;
}

static void *receive(void *arg)
{
	static const long flags[] = { 0, WAITING_RECEIVER, WAITING_SENDER, WAITING_ANY };
	struct receiver *r = arg;
	unsigned seed = r->number + 1;

	me = r;
	r->tid = gettid();
	REQUIRE(!register_handler(handler, flags[r->number & 3]));
	for (int s = 0; s < senders; s++) {
		channels[r->number][s].fd = vector_fd(s, 0);
		REQUIRE(channels[r->number][s].fd >= 0);
	}
	r->ready = 1;
	_stui();
	while (!finished) {
		switch (rand_r(&seed) % 8) {
		case 0:
			_clui();
			if (compute(rand_r(&seed)))
				clobbered++;
			_stui();
			break;
		case 1:
			r->waits++;
			uintr_wait(2000, 0);
			break;
		case 2:
			usleep(200);
			break;
		case 3:
			sched_yield();
			break;
		default:
			if (compute(rand_r(&seed)))
				clobbered++;
		}
	}
	_clui();
	REQUIRE(!unregister_handler(0));
	return NULL;
}

static void *send(void *arg)
{
	int s = (long)arg;
	unsigned seed = 100 + s;

	for (int r = 0; r < receivers; r++) {
		channels[r][s].index = register_sender(channels[r][s].fd, 0);
		REQUIRE(channels[r][s].index >= 0);
	}
	while (!quiet) {
		struct channel *c = &channels[rand_r(&seed) % receivers][s];

		if (c->received != c->sent) {
			sched_yield();
			continue;
		}
		c->sent++;
		if (rand_r(&seed) % 16)
			_senduipi(c->index);
		else
			REQUIRE(!ioctl(c->fd, UVECFD_NOTIFY));
	}
	return NULL;
}

static unsigned long outstanding(bool tell)
{
	unsigned long n = 0;

	for (int r = 0; r < receivers; r++)
		for (int s = 0; s < senders; s++) {
			struct channel *c = &channels[r][s];

			if (c->sent == c->received)
				continue;
			n++;
			if (tell)
				printf("receiver %d vector %d: sent %lu received %lu\n", r, s, c->sent, c->received);
		}
	return n;
}

int main(int argc, char **argv)
{
	unsigned long seconds = argc > 1 ? atoi(argv[1]) : 5, total = 0, least = -1ul, waits = 0, signals = 0;
	int cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[SENDERS];
	unsigned seed = 9;
	uint64_t end;

	if (argc > 3) {
		receivers = atoi(argv[2]);
		senders = atoi(argv[3]);
	}
	REQUIRE(receivers <= RECEIVERS && senders <= SENDERS);
	signal(SIGUSR1, on_signal);
	for (int r = 0; r < receivers; r++) {
		receivers_[r].number = r;
		REQUIRE(!pthread_create(&receivers_[r].thread, NULL, receive, &receivers_[r]));
		REQUIRE(becomes(&receivers_[r].ready, 1));
	}
	for (long s = 0; s < senders; s++)
		REQUIRE(!pthread_create(&threads[s], NULL, send, (void *)s));
	for (end = now_ns() + seconds * 1000000000ull; now_ns() < end; usleep(2000)) {
		struct receiver *r = &receivers_[rand_r(&seed) % receivers];
		cpu_set_t set;

		if (!pthread_kill(r->thread, SIGUSR1))
			signals_sent++;
		CPU_ZERO(&set);
		CPU_SET(rand_r(&seed) % cpus, &set);
		if (rand_r(&seed) & 1)
			CPU_SET(rand_r(&seed) % cpus, &set);
		if (!pthread_setaffinity_np(r->thread, sizeof(set), &set))
			moves++;
	}
	quiet = true;
	for (int s = 0; s < senders; s++)
		pthread_join(threads[s], NULL);
	for (end = now_ns() + 20000000000ull; outstanding(false) && now_ns() < end;)
		usleep(1000);
	EXPECT(outstanding(true), 0);
	finished = true;
	for (int r = 0; r < receivers; r++) {
		pthread_join(receivers_[r].thread, NULL);
		waits += receivers_[r].waits;
		signals += receivers_[r].signals;
		for (int s = 0; s < senders; s++) {
			total += channels[r][s].received;
			if (channels[r][s].received < least)
				least = channels[r][s].received;
		}
	}
	printf("%lu interrupts (a channel at least %lu), %lu waits, %lu signals, %lu moves, %d+%d threads on %d processors\n",
	       total, least, waits, signals, moves, receivers, senders, cpus);
	EXPECT(wrong, 0);
	EXPECT(clobbered, 0);
	EXPECT(least > 0, true);
	EXPECT(signals > 0, true);
	return verdict("stress");
}
