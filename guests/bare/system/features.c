// SPDX-License-Identifier: Apache-2.0
// CPUID: what is shown executes. And the instructions that wait.
#include "system.h"

static uint8_t scratch[256] __attribute__((aligned(64)));

#define I(name, text) static void name(uint64_t a) { __asm__ volatile(text : : "D"(a) : "rax", "rbx", "rcx", "rdx", "rsi", "memory", "cc"); }
I(i_fpu, "fninit; fld1; fstp %%st") I(i_tsc, "rdtsc") I(i_msr, "mov $0x1b, %%ecx; rdmsr") I(i_cx8, "lock cmpxchg8b (%%rdi)") I(i_sep, "mov $0x174, %%ecx; rdmsr")
I(i_mtrr, "mov $0xfe, %%ecx; rdmsr; mov $0x2ff, %%ecx; rdmsr") I(i_cmov, "cmovc %%eax, %%ecx") I(i_pat, "mov $0x277, %%ecx; rdmsr") I(i_clfsh, "clflush (%%rdi)")
I(i_mmx, "pxor %%mm0, %%mm0; emms") I(i_fxsr, "fxsave64 scratch_area(%%rip)") I(i_sse, "addps %%xmm0, %%xmm1") I(i_sse2, "addpd %%xmm0, %%xmm1; mfence; lfence; movnti %%rax, (%%rdi)")
I(i_mce, "mov $0x179, %%ecx; rdmsr")
I(i_sse3, "addsubps %%xmm0, %%xmm1; lddqu (%%rdi), %%xmm0; movddup %%xmm0, %%xmm1") I(i_pclmul, "pclmulqdq $0, %%xmm0, %%xmm1") I(i_ssse3, "pshufb %%xmm0, %%xmm1; palignr $3, %%xmm0, %%xmm1")
I(i_cx16, "xor %%eax, %%eax; xor %%edx, %%edx; lock cmpxchg16b (%%rdi)") I(i_sse41, "pmulld %%xmm0, %%xmm1; ptest %%xmm0, %%xmm1; roundps $0, %%xmm0, %%xmm1; pinsrq $1, %%rax, %%xmm0")
I(i_sse42, "crc32 %%eax, %%ebx; pcmpistri $0, %%xmm0, %%xmm1; pcmpgtq %%xmm0, %%xmm1") I(i_movbe, "movbe (%%rdi), %%eax; movbe %%rax, (%%rdi)") I(i_popcnt, "popcnt %%rax, %%rbx")
I(i_aes, "aesenc %%xmm0, %%xmm1; aesdeclast %%xmm0, %%xmm1; aeskeygenassist $1, %%xmm0, %%xmm1; aesimc %%xmm0, %%xmm1") I(i_xsave, "xor %%ecx, %%ecx; xgetbv")
I(i_avx, "vaddps %%ymm0, %%ymm1, %%ymm2; vzeroupper") I(i_f16c, "vcvtph2ps %%xmm0, %%ymm1") I(i_rdrand, "1: rdrand %%rax; jnc 1b; rdrand %%cx") I(i_fma, "vfmadd132ps %%ymm0, %%ymm1, %%ymm2")
I(i_fsgsbase, "rdfsbase %%rax") I(i_tsc_adjust, "mov $0x3b, %%ecx; rdmsr") I(i_bmi1, "andn %%rax, %%rbx, %%rcx; blsr %%rax, %%rbx; bextr %%rax, %%rbx, %%rcx; tzcnt %%rax, %%rbx")
I(i_avx2, "vpaddd %%ymm0, %%ymm1, %%ymm2; vpbroadcastb %%xmm0, %%ymm1") I(i_bmi2, "rorx $3, %%rax, %%rbx; pext %%rax, %%rbx, %%rcx; pdep %%rax, %%rbx, %%rcx; mulx %%rax, %%rbx, %%rcx; bzhi %%rax, %%rbx, %%rcx; shlx %%rax, %%rbx, %%rcx")
I(i_erms, "mov $64, %%ecx; mov %%rdi, %%rsi; rep movsb") I(i_rdseed, "1: rdseed %%rax; jnc 1b") I(i_adx, "adcx %%rax, %%rbx; adox (%%rdi), %%rcx") I(i_smap, "stac; clac")
I(i_clflushopt, "clflushopt (%%rdi)") I(i_clwb, "clwb (%%rdi)") I(i_sha, "sha1rnds4 $1, %%xmm0, %%xmm1; sha256rnds2 %%xmm0, %%xmm1; sha256msg1 %%xmm0, %%xmm1; sha1nexte %%xmm0, %%xmm1")
I(i_rdpid, "rdpid %%rax") I(i_movdiri, "movdiri %%rax, (%%rdi)") I(i_movdir64b, "lea 64(%%rdi), %%rax; movdir64b (%%rdi), %%rax") I(i_waitpkg, "umonitor %%rdi; xor %%ecx, %%ecx; xor %%eax, %%eax; xor %%edx, %%edx; tpause %%ecx; umwait %%ecx")
I(i_serialize, "serialize") I(i_ibrs, "mov $0x48, %%ecx; rdmsr; wrmsr; mov $0x49, %%ecx; mov $1, %%eax; xor %%edx, %%edx; wrmsr") I(i_arch_caps, "mov $0x10a, %%ecx; rdmsr") I(i_gfni, "gf2p8mulb %%xmm0, %%xmm1")
I(i_vaes, "vaesenc %%ymm0, %%ymm1, %%ymm2") I(i_lahf, "lahf; sahf") I(i_lzcnt, "lzcnt %%rax, %%rbx") I(i_prefetchw, "prefetchw (%%rdi)") I(i_rdtscp, "rdtscp") I(i_sse4a, "extrq $1, $2, %%xmm0")
I(i_avx512, "vpaddd %%zmm0, %%zmm1, %%zmm2") I(i_pcid, "xor %%eax, %%eax") I(i_invpcid, "push $0; push $0; mov $2, %%eax; invpcid (%%rsp), %%rax; pop %%rax; pop %%rax") I(i_x2apic, "mov $0x1b, %%ecx; rdmsr")
I(i_cldemote, "cldemote (%%rdi)") I(i_deadline, "mov $0x6e0, %%ecx; rdmsr") I(i_monitor, "mov %%rdi, %%rax; xor %%ecx, %%ecx; xor %%edx, %%edx; monitor")
I(i_pku, "xor %%ecx, %%ecx; rdpkru") I(i_rtm, "xbegin 1f; xend; 1:") I(i_vmx, "vmxoff") I(i_xsaves, "xor %%edx, %%edx; mov $3, %%eax; xsaves64 scratch_area(%%rip)") I(i_uintr, "testui")

__asm__(".bss\n.align 64\nscratch_area: .fill 4096,1,0\n.text\n");

enum { UD_WITHOUT = 1, OS = 2 };
static const struct feature { const char *name; uint32_t leaf; int reg, bit; void (*f)(uint64_t); int without; } features[] = {
	{ "FPU", 1, 3, 0, i_fpu, 0 }, { "TSC", 1, 3, 4, i_tsc, 0 }, { "MSR", 1, 3, 5, i_msr, 0 }, { "MCE", 1, 3, 7, i_mce, 0 }, { "CX8", 1, 3, 8, i_cx8, 0 },
	{ "SEP", 1, 3, 11, i_sep, 0 }, { "MTRR", 1, 3, 12, i_mtrr, 0 }, { "MCA", 1, 3, 14, i_mce, 0 }, { "CMOV", 1, 3, 15, i_cmov, 0 }, { "PAT", 1, 3, 16, i_pat, 0 },
	{ "CLFSH", 1, 3, 19, i_clfsh, 0 }, { "MMX", 1, 3, 23, i_mmx, 0 }, { "FXSR", 1, 3, 24, i_fxsr, 0 }, { "SSE", 1, 3, 25, i_sse, 0 }, { "SSE2", 1, 3, 26, i_sse2, 0 },
	{ "SSE3", 1, 2, 0, i_sse3, 0 }, { "PCLMULQDQ", 1, 2, 1, i_pclmul, 1 }, { "MONITOR", 1, 2, 3, i_monitor, 1 }, { "VMX", 1, 2, 5, i_vmx, 1 }, { "SSSE3", 1, 2, 9, i_ssse3, 1 },
	{ "FMA", 1, 2, 12, i_fma, 1 }, { "CX16", 1, 2, 13, i_cx16, 0 }, { "PCID", 1, 2, 17, i_pcid, 0 }, { "SSE4.1", 1, 2, 19, i_sse41, 1 }, { "SSE4.2", 1, 2, 20, i_sse42, 1 },
	{ "x2APIC", 1, 2, 21, i_x2apic, 0 }, { "MOVBE", 1, 2, 22, i_movbe, 1 }, { "POPCNT", 1, 2, 23, i_popcnt, 1 }, { "TSC-deadline", 1, 2, 24, i_deadline, 0 }, { "AES", 1, 2, 25, i_aes, 1 },
	{ "XSAVE", 1, 2, 26, i_xsave, 1 }, { "AVX", 1, 2, 28, i_avx, 1 }, { "F16C", 1, 2, 29, i_f16c, 1 }, { "RDRAND", 1, 2, 30, i_rdrand, 1 },
	{ "FSGSBASE", 7, 1, 0, i_fsgsbase, 1 }, { "TSC_ADJUST", 7, 1, 1, i_tsc_adjust, 0 }, { "BMI1", 7, 1, 3, i_bmi1, 1 }, { "AVX2", 7, 1, 5, i_avx2, 1 }, { "BMI2", 7, 1, 8, i_bmi2, 1 },
	{ "ERMS", 7, 1, 9, i_erms, 0 }, { "INVPCID", 7, 1, 10, i_invpcid, 1 }, { "RTM", 7, 1, 11, i_rtm, 1 }, { "AVX512F", 7, 1, 16, i_avx512, 1 }, { "RDSEED", 7, 1, 18, i_rdseed, 1 }, { "ADX", 7, 1, 19, i_adx, 1 },
	{ "SMAP", 7, 1, 20, i_smap, 1 }, { "CLFLUSHOPT", 7, 1, 23, i_clflushopt, 0 }, { "CLWB", 7, 1, 24, i_clwb, 0 }, { "SHA", 7, 1, 29, i_sha, 1 },
	{ "OSPKE", 7, 2, 4, i_pku, 1 }, { "WAITPKG", 7, 2, 5, i_waitpkg, 1 }, { "GFNI", 7, 2, 8, i_gfni, 1 }, { "VAES", 7, 2, 9, i_vaes, 1 }, { "RDPID", 7, 2, 22, i_rdpid, 1 }, { "CLDEMOTE", 7, 2, 25, i_cldemote, 0 },
	{ "MOVDIRI", 7, 2, 27, i_movdiri, 1 }, { "MOVDIR64B", 7, 2, 28, i_movdir64b, 1 }, { "SERIALIZE", 7, 3, 14, i_serialize, 1 }, { "IBRS", 7, 3, 26, i_ibrs, 0 },
	{ "ARCH_CAPABILITIES", 7, 3, 29, i_arch_caps, 0 }, { "LAHF", 0x80000001, 2, 0, i_lahf, 0 }, { "LZCNT", 0x80000001, 2, 5, i_lzcnt, 0 }, { "SSE4A", 0x80000001, 2, 6, i_sse4a, 1 },
	{ "PREFETCHW", 0x80000001, 2, 8, i_prefetchw, 0 }, { "RDTSCP", 0x80000001, 3, 27, i_rdtscp, 1 },
};

static bool shown(const struct feature *f)
{
	struct regs r = cpuid(f->leaf, 0);
	uint32_t all[4] = { r.a, r.b, r.c, r.d };
	return all[f->reg] >> f->bit & 1;
}

static void enable(void)
{
	uint64_t cr4 = read_cr4();
	if (present & NEEDS_FSGSBASE)
		cr4 |= CR4_FSGSBASE;
	if (present & NEEDS_XSAVE)
		cr4 |= CR4_OSXSAVE;
	if (present & USERINT)
		cr4 |= CR4_UINTR;
	write_cr4(cr4);
	if (present & NEEDS_XSAVE) {
		struct regs d = cpuid(0xd, 0);
		uint64_t all = d.a & 0xe7; // x87, SSE, AVX, AVX-512
		__asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)all), "d"(0));
	}
}

TEST(features_that_CPUID_shows_execute, 0)
{
	enable();
	for (unsigned i = 0; i < sizeof features / sizeof *features; i++)
		if (shown(&features[i]) && try(features[i].f, (uint64_t)scratch))
			failed(__FILE__, __LINE__, features[i].name, me()->trap.vector, 0, true);
	if (present & USERINT)
		RUNS(i_uintr, 0);
	if (present & NEEDS_XSAVE && cpuid(0xd, 1).a & 8)
		RUNS(i_xsaves, 0);
	__asm__ volatile("fninit");
}

TEST(features_that_CPUID_does_not_show_are_undefined, 0)
{
	enable();
	for (unsigned i = 0; i < sizeof features / sizeof *features; i++)
		if (!shown(&features[i]) && features[i].without && (!try(features[i].f, (uint64_t)scratch) || me()->trap.vector != UD))
			failed(__FILE__, __LINE__, features[i].name, me()->trap.vector, UD, true);
	__asm__ volatile("fninit");
}

TEST(features_leaves_are_consistent, 0)
{
	struct regs zero = cpuid(0, 0), one = cpuid(1, 0);
	uint32_t highest = cpuid(0x80000000, 0).a;

	CHECK(zero.a >= 0xd);
	CHECK(highest >= 0x80000008);
	CHECK_EQ(one.d >> 9 & 1, 1); // the APIC is on
	uint64_t base = rdmsr(0x1b);
	wrmsr(0x1b, base & ~0x800ull);
	uint32_t off = cpuid(1, 0).d >> 9 & 1;
	wrmsr(0x1b, base);
	apic_write(0xf0, 0x100 | VECTOR_SPURIOUS);
	CHECK_EQ(off, 0);
	struct regs widths = cpuid(0x80000008, 0);
	CHECK((widths.a & 0xff) >= 36 && (widths.a & 0xff) <= 52);
	CHECK_EQ(widths.a >> 8 & 0xff, present & NEEDS_LA57 ? 57 : 48);
	CHECK_EQ(cpuid(0xd, 0).c >= 576, 1);
	CHECK_EQ(one.c >> 31, 1); // a hypervisor's
	CHECK_EQ(cpuid(0x80000001, 0).d >> 29 & 1, 1);
	if (zero.c == 0x6c65746e) { // beyond the highest basic leaf: that one's, on Intel's
		struct regs a = cpuid(zero.a, 0), b = cpuid(zero.a + 1, 0);
		CHECK_EQ(a.b, b.b);
	}
}

static volatile uint64_t word __attribute__((aligned(64)));
static void store_word(uint64_t v) { for (int i = 0; i < 200; i++) pause(); word = v; }

TEST(features_monitor_and_mwait, NEEDS_MONITOR)
{
	uint64_t until = rdtsc() + 100000;

	apic_write(0x3e0, 0xb);
	apic_write(0x320, 0x69);
	me()->seen[0x69] = 0;
	apic_write(0x380, 100000);
	sti();
	while (!me()->seen[0x69]) { // MWAIT may end for nothing
		__asm__ volatile("monitor" : : "a"(&word), "c"(0), "d"(0));
		__asm__ volatile("mwait" : : "a"(0), "c"(0) : "memory");
	}
	cli();
	apic_write(0x320, 1 << 16);
	if (cpu_count > 1)
		for (uint64_t i = 1; i < 20; i++) {
			on_cpu(1, store_word, i);
			while (word != i) {
				__asm__ volatile("monitor" : : "a"(&word), "c"(0), "d"(0));
				if (word != i)
					__asm__ volatile("mwait" : : "a"(0), "c"(0) : "memory");
			}
			finish(1);
		}
	(void)until;
}

static void monitor_at(uint64_t a) { __asm__ volatile("monitor" : : "a"(a), "c"(0), "d"(0)); }
static void monitor_wrong(uint64_t a) { __asm__ volatile("monitor" : : "a"(&word), "c"(a), "d"(0)); }
USER static void user_monitor(uint64_t a) { __asm__ volatile("monitor" : : "a"(a), "c"(0), "d"(0)); }

TEST(features_monitor_refuses, NEEDS_MONITOR)
{
	*entry_of(T, 1) = 0;
	TRAPS(PF, 0, monitor_at, T);
	TRAPS(GP, 0, monitor_wrong, 2);
	USER_TRAPS(UD, 0, user_monitor, 0);
}

static bool tpause(uint64_t until) { bool cf; __asm__ volatile("tpause %1" : "=@ccc"(cf) : "r"(0), "a"((uint32_t)until), "d"((uint32_t)(until >> 32)) : "memory"); return cf; }
static bool umwait(uint64_t until) { bool cf; __asm__ volatile("umwait %1" : "=@ccc"(cf) : "r"(0), "a"((uint32_t)until), "d"((uint32_t)(until >> 32)) : "memory"); return cf; }
static void tpause_wrong(uint64_t v) { __asm__ volatile("tpause %k0" : : "r"(v), "a"(0), "d"(0)); }

TEST(features_tpause_and_umwait, NEEDS_WAITPKG)
{
	uint64_t limit = rdmsr(0xe1);

	wrmsr(0xe1, 0);
	for (int i = 0; i < 5; i++) {
		uint64_t until = rdtsc() + 500000;
		CHECK(!tpause(until)); // without a limit CF is 0, whenever it ends
		CHECK(rdtsc() >= until); // and here nothing else ends it
	}
	wrmsr(0xe1, 100000); // the operating system's limit
	uint64_t begin = rdtsc();
	CHECK(tpause(begin + (1ull << 50)));
	CHECK(rdtsc() - begin >= 100000 - 64);
	wrmsr(0xe1, 0);
	// An interrupt that is only pending ends it, with IF = 0 too.
	apic_write(0x3e0, 0xb);
	apic_write(0x320, 0x69);
	me()->seen[0x69] = 0;
	apic_write(0x380, 100000);
	sti();
	CHECK(!tpause(rdtsc() + (1ull << 50)));
	WAIT_FOR(me()->seen[0x69]);
	cli();
	apic_write(0x320, 1 << 16);
	TRAPS(GP, 0, tpause_wrong, 2);
	if (cpu_count > 1)
		for (uint64_t i = 100; i < 120; i++) {
			on_cpu(1, store_word, i);
			while (word != i) {
				__asm__ volatile("umonitor %0" : : "r"(&word));
				if (word != i)
					umwait(rdtsc() + (1ull << 40));
			}
			finish(1);
		}
	CHECK(!umwait(rdtsc() + (1ull << 50))); // nothing is monitored: it ends at once
	wrmsr(0xe1, limit);
}

static void wrmsr_pair(uint64_t p) { uint64_t *a = (uint64_t *)p; wrmsr(a[0], a[1]); }
static void rdmsr_one(uint64_t n) { rdmsr(n); }

TEST(features_MSRs_refuse, 0)
{
	static const uint64_t wrong[][2] = {
		{ 0x175, 1ull << 60 }, { 0x176, 1ull << 60 }, { 0x277, 2 }, { 0x2ff, 2 }, { 0xc0000082, 1ull << 60 }, { 0xc0000100, 1ull << 60 }, { 0xc0000101, 1ull << 60 },
		{ 0xc0000102, 1ull << 60 }, { 0xc0000103, 1ull << 32 }, { 0xfe, 0 }, { 0x1b, 1ull << 9 }, { 0x12345678, 0 },
	};
	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
		if (!try(wrmsr_pair, (uint64_t)wrong[i]) || me()->trap.vector != GP)
			failed(__FILE__, __LINE__, "an MSR refuses", wrong[i][0], wrong[i][1], true);
	TRAPS(GP, 0, rdmsr_one, 0x12345678);
	CHECK_EQ(rdmsr(0x277), 0x0007040600070406);
	wrmsr(0xc0000103, 7);
	uint32_t aux;
	__asm__ volatile("rdtscp" : "=c"(aux) : : "rax", "rdx");
	CHECK_EQ(aux, 7);
	wrmsr(0xc0000103, 0);
}
