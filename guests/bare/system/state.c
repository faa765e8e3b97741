// SPDX-License-Identifier: Apache-2.0
// FPU and vector state: saving, restoring, and switching when it is used.
#include "system.h"

static uint8_t area[4096] __attribute__((aligned(64))), second_area[4096] __attribute__((aligned(64)));
static const uint8_t pattern[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

static void set_state(uint8_t v)
{
	uint8_t p[16];
	for (int i = 0; i < 16; i++)
		p[i] = pattern[i] + v;
	__asm__ volatile("ldmxcsr %0" : : "m"((uint32_t){ 0x1f80 }));
	__asm__ volatile("fninit; movups (%0), %%xmm0; movups (%0), %%xmm7; movups (%0), %%xmm15; fldpi; fld1" : : "r"(p) : "memory");
}

static void check_state(uint8_t v)
{
	uint8_t got[16];
	uint16_t sw;
	__asm__ volatile("movups %%xmm15, (%0)" : : "r"(got) : "memory");
	for (int i = 0; i < 16; i++)
		CHECK_EQ(got[i], (uint8_t)(pattern[i] + v));
	__asm__ volatile("fnstsw %0" : "=m"(sw));
	CHECK_EQ(sw >> 11 & 7, 6); // two values on the stack
}

static void spoil(void) { __asm__ volatile("fninit; xorps %%xmm0, %%xmm0; xorps %%xmm7, %%xmm7; xorps %%xmm15, %%xmm15" : : : "memory"); }

TEST(state_fxsave, 0)
{
	set_state(3);
	fill(area, 0xee, sizeof area);
	__asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
	CHECK_EQ(*(uint16_t *)area, 0x37f);
	CHECK_EQ(area[4], 0xc0); // two valid registers, abridged
	CHECK_EQ(*(uint32_t *)(area + 24), 0x1f80);
	CHECK_EQ(area[160 + 240], pattern[0] + 3);
	CHECK_EQ(area[464], 0xee); // software's
	spoil();
	__asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
	check_state(3);
	__asm__ volatile("fninit");
}

static void fxsave_at(uint64_t a) { __asm__ volatile("fxsave64 (%0)" : : "r"(a) : "memory"); }
static void fxrstor_at(uint64_t a) { __asm__ volatile("fxrstor64 (%0)" : : "r"(a) : "memory"); }
static void ldmxcsr(uint64_t v) { uint32_t m = v; __asm__ volatile("ldmxcsr %0" : : "m"(m)); }

TEST(state_fxsave_refuses, 0)
{
	TRAPS(GP, 0, fxsave_at, (uint64_t)area + 8);
	fxsave_at((uint64_t)area);
	*(uint32_t *)(area + 24) |= 1 << 17; // a reserved bit of MXCSR
	TRAPS(GP, 0, fxrstor_at, area);
	TRAPS(GP, 0, ldmxcsr, 1 << 16);
}

static void xgetbv(uint64_t n) { __asm__ volatile("xgetbv" : : "c"((uint32_t)n) : "rax", "rdx"); }
static void xsetbv(uint64_t v) { __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)v), "d"((uint32_t)(v >> 32))); }
static uint64_t xcr0(void) { uint32_t a, d; __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0)); return (uint64_t)d << 32 | a; }

TEST(state_xcr0, NEEDS_XSAVE)
{
	struct regs d = cpuid(0xd, 0);
	uint64_t may = (uint64_t)d.d << 32 | d.a;

	TRAPS(UD, 0, xgetbv, 0);
	CHECK_EQ(cpuid(1, 0).c >> 27 & 1, 0);
	write_cr4(read_cr4() | CR4_OSXSAVE);
	CHECK_EQ(cpuid(1, 0).c >> 27 & 1, 1);
	CHECK_EQ(xcr0() & 1, 1);
	TRAPS(GP, 0, xsetbv, 0);
	TRAPS(GP, 0, xsetbv, 2);
	TRAPS(GP, 0, xsetbv, 1 | 1ull << 62);
	if (may & 4)
		TRAPS(GP, 0, xsetbv, 5); // AVX without SSE
	else
		TRAPS(GP, 0, xsetbv, 7);
	TRAPS(GP, 0, xgetbv, 7);
	RUNS(xsetbv, may);
	CHECK_EQ(xcr0(), may);
	CHECK(cpuid(0xd, 0).b <= d.c);
	RUNS(xsetbv, 1);
	CHECK_EQ(cpuid(0xd, 0).b, 576);
	RUNS(xsetbv, 3);
}

#define XSAVE(op, to, mask) __asm__ volatile(op " (%0)" : : "r"(to), "a"((uint32_t)(mask)), "d"(0) : "memory")

TEST(state_xsave_in_its_forms, NEEDS_XSAVE)
{
	write_cr4(read_cr4() | CR4_OSXSAVE);
	xsetbv(3);
	set_state(9);
	fill(area, 0, sizeof area);
	XSAVE("xsave64", area, 3);
	CHECK_EQ(*(uint64_t *)(area + 512) & 3, 3);
	CHECK_EQ(*(uint64_t *)(area + 520), 0);
	spoil();
	XSAVE("xrstor64", area, 3);
	check_state(9);
	if (cpuid(0xd, 1).a & 2) {
		fill(second_area, 0, sizeof second_area);
		XSAVE("xsavec64", second_area, 3);
		CHECK_EQ(*(uint64_t *)(second_area + 520), 1ull << 63 | 3);
		spoil();
		XSAVE("xrstor64", second_area, 3);
		check_state(9);
	}
	if (cpuid(0xd, 1).a & 8) {
		fill(second_area, 0, sizeof second_area);
		XSAVE("xsaves64", second_area, 3);
		spoil();
		XSAVE("xrstors64", second_area, 3);
		check_state(9);
	}
	if (cpuid(0xd, 1).a & 1) {
		XSAVE("xsaveopt64", area, 3);
		XSAVE("xrstor64", area, 3);
		check_state(9);
	}
	// One component alone; the other stays.
	spoil();
	XSAVE("xrstor64", area, 1);
	uint8_t got[16];
	__asm__ volatile("movups %%xmm15, (%0)" : : "r"(got) : "memory");
	CHECK_EQ(got[0], 0);
	// A clear bit of XSTATE_BV is the initial state.
	*(uint64_t *)(area + 512) = 1;
	set_state(4);
	XSAVE("xrstor64", area, 3);
	__asm__ volatile("movups %%xmm15, (%0)" : : "r"(got) : "memory");
	for (int i = 0; i < 16; i++)
		CHECK_EQ(got[i], 0);
	__asm__ volatile("fninit");
}

static void xrstor_at(uint64_t a) { XSAVE("xrstor64", a, 3); }
static void xsave_at(uint64_t a) { XSAVE("xsave64", a, 3); }

TEST(state_xrstor_refuses, NEEDS_XSAVE)
{
	TRAPS(UD, 0, xsave_at, area);
	write_cr4(read_cr4() | CR4_OSXSAVE);
	xsetbv(3);
	TRAPS(GP, 0, xsave_at, (uint64_t)area + 32);
	XSAVE("xsave64", area, 3);
	static const struct { int at; uint64_t v; } wrong[] = { { 512, 1ull << 62 }, { 520, 1 }, { 528, 1 }, { 560, 1 }, { 520, 1ull << 62 } };
	for (int i = 0; i < 5; i++) {
		uint64_t *p = (uint64_t *)(area + wrong[i].at), was = *p;
		if (wrong[i].at == 560)
			continue; // ignored by the standard form
		*p |= wrong[i].v;
		if (!try(xrstor_at, (uint64_t)area) || me()->trap.vector != GP)
			failed(__FILE__, __LINE__, "XRSTOR refuses", wrong[i].at, wrong[i].v, true);
		*p = was;
	}
	write_cr0(read_cr0() | CR0_TS);
	TRAPS(NM, 0, xsave_at, area);
	TRAPS(NM, 0, xrstor_at, area);
	__asm__ volatile("clts");
}

static uint32_t switches;
static uint8_t *owned[2], *loaded;
static bool lazy(struct frame *f)
{
	if (f->vector != NM)
		return false;
	switches++;
	__asm__ volatile("clts");
	uint8_t *want = owned[switches & 1];
	if (loaded)
		fxsave_at((uint64_t)loaded);
	fxrstor_at((uint64_t)want);
	loaded = want;
	return true;
}

TEST(state_switched_when_it_is_used, 0)
{
	set_state(1);
	fxsave_at((uint64_t)area);
	set_state(2);
	fxsave_at((uint64_t)second_area);
	owned[1] = area, owned[0] = second_area;
	loaded = 0, switches = 0;
	me()->hook = lazy;
	for (int i = 1; i <= 10; i++) {
		uint8_t got[16];
		write_cr0(read_cr0() | CR0_TS);
		__asm__ volatile("movups %%xmm7, (%0)" : : "r"(got) : "memory"); // restarts with the other's state
		CHECK_EQ(switches, i);
		CHECK_EQ(got[0], i & 1 ? 2 : 3);
	}
	__asm__ volatile("fninit");
}

// Several processors have states of their own.
static void hold(uint64_t v)
{
	for (int i = 0; i < 200; i++) {
		set_state(v);
		for (int k = 0; k < 50; k++)
			pause();
		check_state(v);
	}
	__asm__ volatile("fninit");
}

TEST(state_is_each_processors_own, SMP)
{
	for (uint32_t c = 1; c < cpu_count; c++)
		on_cpu(c, hold, 16 * c);
	hold(0);
	for (uint32_t c = 1; c < cpu_count; c++)
		finish(c);
}
