/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiver: registration, dispatch, masking. uintr_dispatch() runs in handlers that promised not to
 * touch vector registers, so this file is compiled with -mgeneral-regs-only.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

struct receiver {
	bool started;
	unsigned depth; /* of masked sections; a handler is one */
	struct { uintr_handler *handler; void *context; } vectors[UINTR_VECTORS];
	void *stack;
	size_t stack_size;
};

/* Initial-exec: reached without a call, which in a handler might be in the midst of itself. */
static __thread struct receiver self __attribute__((tls_model("initial-exec")));

uint64_t uintr_xsave_mask, uintr_xsave_size;

/* User components that compilers use for calls and strings: x87, SSE, AVX, MPX, AVX-512. */
enum { XSAVE_COMPONENTS = 0xff, XSAVE_LEGACY = 576, FXSAVE_SIZE = 512 };

static void size_area(void)
{
	unsigned a, b, c, d, i;
	uint64_t mask, size = XSAVE_LEGACY;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) {
		uintr_xsave_size = FXSAVE_SIZE;
		return;
	}
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	mask = a & XSAVE_COMPONENTS;
	for (i = 2; i < 8; i++) {
		if (!(mask >> i & 1))
			continue;
		__cpuid_count(0xd, i, a, b, c, d); /* size, offset */
		if (size < (uint64_t)a + b)
			size = (uint64_t)a + b;
	}
	uintr_xsave_mask = mask;
	uintr_xsave_size = (size + 63) & ~UINT64_C(63);
}

/* A child's only thread has the parent's variables, and nothing registered. */
static void forked(void)
{
	if (self.stack)
		munmap(self.stack, self.stack_size);
	self = (struct receiver){0};
}

static void prepare(void)
{
	size_area();
	pthread_atfork(NULL, NULL, forked);
}

const char *uintr_unavailable(void)
{
	/* Flags that no kernel knows: one with the calls refuses them and does nothing. */
	if (uintr_unregister_handler(~0u) < 0 && errno == ENOSYS)
		return "this kernel has no user interrupts: load the driver (modprobe uintr) in a machine run with gvmm run --uintr, or boot a kernel and a processor with UINTR";
	return NULL;
}

int uintr_receiver_start(unsigned flags)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	void (*entry)(void) = flags & UINTR_GENERAL_REGISTERS ? uintr_entry_general : uintr_entry;
	int err;

	if (self.started)
		return -EBUSY;
	pthread_once(&once, prepare);
	err = uintr_result(uintr_register_handler((uintptr_t)entry, flags & ~UINTR_GENERAL_REGISTERS));
	if (err)
		return err;
	self.started = true;
	if (!self.depth)
		uintr_stui();
	return 0;
}

int uintr_receiver_stop(void)
{
	int err;

	if (!self.started)
		return -EINVAL;
	if (self.depth) /* in a handler, its return is still to come */
		return -EBUSY;
	uintr_mask();
	err = uintr_result(uintr_unregister_handler(0));
	if (!err) {
		self.started = false;
		for (int i = 0; i < UINTR_VECTORS; i++)
			self.vectors[i].handler = NULL;
		if (self.stack)
			munmap(self.stack, self.stack_size);
		self.stack = NULL;
	}
	uintr_unmask();
	return err;
}

int uintr_attach(int vector, uintr_handler *handler, void *context)
{
	int err = -EBUSY;

	if (!self.started || !handler || vector < UINTR_ANY)
		return -EINVAL;
	if (vector >= UINTR_VECTORS)
		return -ENOSPC;
	uintr_mask();
	if (vector == UINTR_ANY) {
		err = -ENOSPC;
		do
			vector++;
		while (vector < UINTR_VECTORS && self.vectors[vector].handler);
	}
	if (vector < UINTR_VECTORS && !self.vectors[vector].handler) {
		self.vectors[vector].handler = handler;
		self.vectors[vector].context = context;
		err = vector;
	}
	uintr_unmask();
	return err;
}

int uintr_detach(int vector)
{
	if (vector < 0 || vector >= UINTR_VECTORS || !self.vectors[vector].handler)
		return -EINVAL;
	uintr_mask();
	self.vectors[vector].handler = NULL;
	uintr_unmask();
	return 0;
}

/* Depth changes while interrupts are masked, except by handlers, which leave it as it was. */
void uintr_mask(void)
{
	if (!self.depth && self.started)
		uintr_clui();
	atomic_signal_fence(memory_order_seq_cst);
	self.depth++;
}

void uintr_unmask(void)
{
	atomic_signal_fence(memory_order_seq_cst);
	if (!--self.depth && self.started)
		uintr_stui();
}

void uintr_dispatch(uint64_t vector)
{
	int before = errno;

	self.depth++;
	if (vector < UINTR_VECTORS && self.vectors[vector].handler)
		self.vectors[vector].handler((unsigned)vector, self.vectors[vector].context);
	self.depth--;
	errno = before;
}

int uintr_stack(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), all = 0;
	void *stack = NULL;
	int err;

	if (!self.started)
		return -EINVAL;
	if (self.depth) /* a handler may be on the stack that would go */
		return -EBUSY;
	if (size > SIZE_MAX / 2)
		return -ENOMEM;
	if (size) {
		/* What uintr_entry saves comes on top of what handlers use. */
		all = ((size + uintr_xsave_size + 256 + page - 1) & ~(page - 1)) + page;
		stack = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
		if (stack == MAP_FAILED)
			return -errno;
		mprotect(stack, page, PROT_NONE);
	}
	uintr_mask();
	err = uintr_result(uintr_alt_stack(stack ? (char *)stack + all : NULL, all, 0));
	if (err) {
		if (stack)
			munmap(stack, all);
	} else {
		if (self.stack)
			munmap(self.stack, self.stack_size);
		self.stack = stack;
		self.stack_size = all;
	}
	uintr_unmask();
	return err;
}

bool uintr_masked(void)
{
	return self.depth;
}
