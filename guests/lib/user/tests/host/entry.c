/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entry keeps all registers, with the vector registers of the host: x87, SSE, AVX, AVX-512. A frame is built and
 * entered as delivery does it; the instructions are #UD here, and SIGILL does their work. The system call succeeds.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdarg.h>
#include <ucontext.h>

#include "../test.h"

long syscall(long number, ...)
{
	return number == UINTR_NR_REGISTER_HANDLER || number == UINTR_NR_UNREGISTER_HANDLER ? 0 : -1;
}

enum { UIRET = 0xec, CLUI = 0xee, STUI = 0xef };

static void on_sigill(int signal, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	const unsigned char *code = (const unsigned char *)r[REG_RIP];
	const greg_t *stack = (const greg_t *)r[REG_RSP];

	(void)signal;
	(void)info;
	CHECK(code[0] == 0xf3 && code[1] == 0x0f && code[2] == 0x01);
	if (code[3] == UIRET) {
		r[REG_RIP] = stack[0];
		r[REG_EFL] = stack[1];
		r[REG_RSP] = stack[2];
		return;
	}
	CHECK(code[3] == CLUI || code[3] == STUI);
	r[REG_RIP] += 4;
}

void uintr_entry(void);
void uintr_entry_general(void);
extern uint64_t uintr_xsave_mask, uintr_xsave_size;
uint64_t interrupt(void (*entry)(void), const void *load, void *store, uint32_t mask);

enum { X87 = 1, SSE = 2, AVX = 4, AVX512 = 0xe0, MXCSR = 24, X87_REGISTERS = 32, XMM = 160, XMM_END = 416, XSTATE_BV = 512, HEADER_END = 576 };

static unsigned calls;

static __attribute__((noipa)) void destroys(unsigned vector, void *context)
{
	volatile long double x = 1.5L;
	uint32_t mxcsr;

	CHECK_EQUAL(vector, 11);
	CHECK_EQUAL((uintptr_t)context, 99);
	CHECK(x * 2 == 3.0L); /* the stack of x87 was full */
	__asm__("stmxcsr %0" : "=m"(mxcsr));
	CHECK_EQUAL(mxcsr & ~0x3fu, 0x1f80);
	CHECK(!(__builtin_ia32_readeflags_u64() & 0x400)); /* DF */
	__asm__ volatile("pxor %%xmm0, %%xmm0; pxor %%xmm15, %%xmm15" : : : "xmm0", "xmm15");
	if (uintr_xsave_mask & AVX)
		__asm__ volatile("vzeroall" : : : "memory");
	if ((uintr_xsave_mask & AVX512) == AVX512)
		__asm__ volatile("vpxorq %%zmm31, %%zmm31, %%zmm31; kxnorw %%k3, %%k3, %%k3" : : : "memory");
	calls++;
}

static __attribute__((noipa)) void destroys_general(unsigned vector, void *context)
{
	(void)context;
	CHECK_EQUAL(vector, 11);
	__asm__ volatile("xorl %%eax, %%eax; xorl %%ecx, %%ecx; xorl %%edx, %%edx; xorl %%esi, %%esi; xorl %%edi, %%edi;"
			 "xorl %%r8d, %%r8d; xorl %%r9d, %%r9d; xorl %%r10d, %%r10d; xorl %%r11d, %%r11d"
			 : : : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11");
	calls++;
}

/* Every register of every component differs from its initial state. */
static void fill(unsigned char *area, uint64_t mask, uint64_t *seed)
{
	unsigned size, offset, c, d;

	__asm__ volatile("xsave64 (%0)" : : "r"(area), "a"((uint32_t)mask), "d"(0) : "memory");
	for (int i = X87_REGISTERS; i < XMM_END; i++) /* of an x87 register 10 bytes are there */
		if (i >= XMM || i % 16 < 10)
			area[i] = (unsigned char)(1 + random_below(seed, 255));
	area[4] = 0xff; /* all x87 registers are in use */
	area[MXCSR + 1] = 0x7f;
	for (unsigned n = 2; n < 8; n++) {
		if (!(mask >> n & 1) || n == 3 || n == 4)
			continue;
		__cpuid_count(0xd, n, size, offset, c, d);
		for (unsigned i = 0; i < size; i++)
			area[offset + i] = (unsigned char)(1 + random_below(seed, 255));
	}
	area[XSTATE_BV] = (unsigned char)(mask & ~0x18u);
}

static void keeps(void (*entry)(void), uintr_handler *handler, uint64_t *seed)
{
	static _Alignas(64) unsigned char before[8192], after[8192];
	unsigned was = calls;

	CHECK(uintr_xsave_size <= sizeof(before));
	memset(before, 0, sizeof(before));
	memset(after, 0, sizeof(after));
	CHECK_EQUAL(uintr_attach(11, handler, (void *)99), 11);
	fill(before, uintr_xsave_mask, seed);
	CHECK_EQUAL(interrupt(entry, before, after, (uint32_t)uintr_xsave_mask), 0);
	CHECK_EQUAL(calls, was + 1);
	CHECK_EQUAL(uintr_detach(11), 0);
	for (unsigned i = MXCSR; i < uintr_xsave_size; i++)
		if (i != MXCSR + 4 && (i < XMM_END || i >= HEADER_END) && before[i] != after[i]) {
			fprintf(stderr, "byte %u of the extended state was %#x, is %#x\n", i, before[i], after[i]);
			exit(1);
		}
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_sigill, .sa_flags = SA_SIGINFO };
	uint64_t seed = 20;

	begin();
	sigaction(SIGILL, &action, NULL);
	CHECK_EQUAL(uintr_receiver_start(0), 0);
	CHECK(uintr_xsave_mask & SSE && uintr_xsave_mask & X87);
	for (int i = 0; i < 20; i++) {
		keeps(uintr_entry, destroys, &seed);
		keeps(uintr_entry_general, destroys_general, &seed);
	}
	printf("entry: components %#llx in %llu bytes\n", (unsigned long long)uintr_xsave_mask, (unsigned long long)uintr_xsave_size);
	uintr_xsave_mask = 0; /* as on a processor without XSAVE */
	uintr_xsave_size = 512;
	CHECK_EQUAL(uintr_attach(11, destroys, (void *)99), 11);
	{
		static _Alignas(64) unsigned char before[8192], after[8192];

		fill(before, X87 | SSE, &seed);
		CHECK_EQUAL(interrupt(uintr_entry, before, after, X87 | SSE), 0);
		CHECK(!memcmp(before + X87_REGISTERS, after + X87_REGISTERS, XMM_END - X87_REGISTERS));
	}
	puts("ok entry");
	return 0;
}
