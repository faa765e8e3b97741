/*
 * oracle OP < operands > results: runs one x87 or SSE instruction of the host on
 * each 40-byte record {u32 control, u32 imm, u8 a[16], u8 b[16]} and writes a 40-byte
 * record {u8 r[16], u8 s[16], u32 flags, u32 extra}. control is MXCSR or the x87
 * control word; flags are MXCSR's or the x87 status word; extra is RFLAGS of a compare.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

typedef struct { uint32_t ctl, imm; uint8_t a[16], b[16]; } in_t;
typedef struct { uint8_t r[16], s[16]; uint32_t flags, extra; } out_t;

static uint64_t resume;
static const uint32_t mxdef = 0x1f80;
static const uint16_t cwdef = 0x037f;

static void trap(int sig, siginfo_t *si, void *v)
{
	ucontext_t *uc = v;
	uc->uc_mcontext.gregs[REG_RIP] = resume;
	uc->uc_mcontext.fpregs->mxcsr |= 0x1f80;
}

/* r = xmm0 after INS, which may use xmm0 = a, xmm1 = b, rax = low of b; s = rax. */
#define SSE(NAME, INS) \
static void op_##NAME(const in_t *in, out_t *o) \
{ \
	uint64_t rax, fl; \
	asm volatile( \
		"lea 1f(%%rip), %%rcx\n\tmov %%rcx, %[res]\n\t" \
		"movdqu %[a], %%xmm0\n\tmovdqu %[b], %%xmm1\n\tmov %[b8], %%rax\n\t" \
		"ldmxcsr %[m]\n\t" INS "\n1:\n\tpushfq\n\tpop %[fl]\n\tstmxcsr %[f]\n\tldmxcsr %[d]\n\t" \
		"movdqu %%xmm0, %[r]\n\t" \
		: [res] "=m"(resume), [f] "=m"(o->flags), [r] "=m"(o->r), "=a"(rax), [fl] "=&r"(fl) \
		: [a] "m"(in->a), [b] "m"(in->b), [b8] "m"(*(uint64_t *)in->b), [m] "m"(in->ctl), [d] "m"(mxdef) \
		: "xmm0", "xmm1", "rcx", "cc", "memory"); \
	memcpy(o->s, &rax, 8); \
	o->extra = fl; \
	o->flags &= 0x3f; \
}

#define SSE2(INS) SSE(INS, #INS " %%xmm1, %%xmm0")
SSE2(addsd) SSE2(subsd) SSE2(mulsd) SSE2(divsd) SSE2(minsd) SSE2(maxsd) SSE2(sqrtsd)
SSE2(addss) SSE2(subss) SSE2(mulss) SSE2(divss) SSE2(minss) SSE2(maxss) SSE2(sqrtss)
SSE2(comisd) SSE2(ucomisd) SSE2(comiss) SSE2(ucomiss) SSE2(cvtss2sd) SSE2(cvtsd2ss)
SSE(cvtsi2sdl, "cvtsi2sd %%eax, %%xmm0") SSE(cvtsi2sdq, "cvtsi2sd %%rax, %%xmm0")
SSE(cvtsi2ssl, "cvtsi2ss %%eax, %%xmm0") SSE(cvtsi2ssq, "cvtsi2ss %%rax, %%xmm0")
SSE(cvtsd2sil, "cvtsd2si %%xmm1, %%eax") SSE(cvtsd2siq, "cvtsd2si %%xmm1, %%rax")
SSE(cvttsd2sil, "cvttsd2si %%xmm1, %%eax") SSE(cvttsd2siq, "cvttsd2si %%xmm1, %%rax")
SSE(cvtss2sil, "cvtss2si %%xmm1, %%eax") SSE(cvtss2siq, "cvtss2si %%xmm1, %%rax")
SSE(cvttss2sil, "cvttss2si %%xmm1, %%eax") SSE(cvttss2siq, "cvttss2si %%xmm1, %%rax")
#define RND(N) SSE(roundsd##N, "roundsd $" #N ", %%xmm1, %%xmm0") SSE(roundss##N, "roundss $" #N ", %%xmm1, %%xmm0")
RND(0) RND(1) RND(2) RND(3) RND(4) RND(8) RND(9) RND(10) RND(11) RND(12)
#define PRED(N) SSE(cmpsd##N, "cmpsd $" #N ", %%xmm1, %%xmm0") SSE(cmpss##N, "cmpss $" #N ", %%xmm1, %%xmm0")
PRED(0) PRED(1) PRED(2) PRED(3)

/* ST0 = a, ST1 = b before INS, which may use the memory operand b; r = ST0, s = ST1
 * after it, or what it stored in r. */
#define X87(NAME, INS, STORE) \
static void op_##NAME(const in_t *in, out_t *o) \
{ \
	uint16_t sw; \
	uint64_t fl; \
	asm volatile( \
		"fninit\n\tfldt %[b]\n\tfldt %[a]\n\tfldcw %[m]\n\t" INS "\n\t" \
		"fnstsw %[sw]\n\tpushfq\n\tpop %[fl]\n\tfnclex\n\tfldcw %[d]\n\t" STORE "\n\tfninit" \
		: [sw] "=m"(sw), [r] "+m"(o->r), [s] "+m"(o->s), [fl] "=&r"(fl) \
		: [a] "m"(in->a), [b] "m"(in->b), [m] "m"(in->ctl), [d] "m"(cwdef) \
		: "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc", "memory"); \
	o->flags = sw; \
	o->extra = fl; \
}
#define BOTH "fstpt %[r]\n\tfstpt %[s]"
#define ONE "fstpt %[r]"

X87(fadd, "fadd %%st(1), %%st", BOTH)
X87(fsub, "fsub %%st(1), %%st", BOTH)
X87(fmul, "fmul %%st(1), %%st", BOTH)
X87(fdiv, "fdiv %%st(1), %%st", BOTH)
X87(fsqrt, "fsqrt", BOTH)
X87(fcom, "fcom %%st(1)", BOTH)
X87(fucom, "fucom %%st(1)", BOTH)
X87(fcomi, "fcomi %%st(1), %%st", BOTH)
X87(fprem, "fprem", BOTH)
X87(fprem1, "fprem1", BOTH)
X87(fscale, "fscale", BOTH)
X87(frndint, "frndint", BOTH)
X87(fxtract, "fxtract", BOTH)
X87(fxam, "fxam", BOTH)
X87(ftst, "ftst", BOTH)
X87(fadds, "fadds %[b]", BOTH)
X87(faddl, "faddl %[b]", BOTH)
X87(fdivrl, "fdivrl %[b]", BOTH)
X87(fcoml, "fcoml %[b]", BOTH)
X87(fiaddl, "fiaddl %[b]", BOTH)
X87(flds, "flds %[b]", ONE)
X87(fldl, "fldl %[b]", ONE)
X87(filds, "filds %[b]", ONE)
X87(fildl, "fildl %[b]", ONE)
X87(fildq, "fildll %[b]", ONE)
X87(fbld, "fbld %[b]", ONE)
X87(fsts, "fsts %[r]", "")
X87(fstl, "fstl %[r]", "")
X87(fists, "fists %[r]", "")
X87(fistl, "fistl %[r]", "")
X87(fistq, "fistpll %[r]", "")
X87(fisttps, "fisttps %[r]", "")
X87(fisttpl, "fisttpl %[r]", "")
X87(fisttpq, "fisttpll %[r]", "")
X87(fbstp, "fbstp %[r]", "")
X87(f2xm1, "f2xm1", BOTH)
X87(fyl2x, "fxch\n\tfyl2x", ONE)
X87(fyl2xp1, "fxch\n\tfyl2xp1", ONE)
X87(fpatan, "fxch\n\tfpatan", ONE)
X87(fsin, "fsin", BOTH)
X87(fcos, "fcos", BOTH)
X87(fsincos, "fsincos", BOTH)
X87(fptan, "fptan", BOTH)
X87(fld1, "fld1", ONE)
X87(fldl2t, "fldl2t", ONE)
X87(fldl2e, "fldl2e", ONE)
X87(fldpi, "fldpi", ONE)
X87(fldlg2, "fldlg2", ONE)
X87(fldln2, "fldln2", ONE)

static const struct { const char *name; void (*f)(const in_t *, out_t *); } ops[] = {
#define E(N) { #N, op_##N },
	E(addsd) E(subsd) E(mulsd) E(divsd) E(minsd) E(maxsd) E(sqrtsd)
	E(addss) E(subss) E(mulss) E(divss) E(minss) E(maxss) E(sqrtss)
	E(comisd) E(ucomisd) E(comiss) E(ucomiss) E(cvtss2sd) E(cvtsd2ss)
	E(cvtsi2sdl) E(cvtsi2sdq) E(cvtsi2ssl) E(cvtsi2ssq)
	E(cvtsd2sil) E(cvtsd2siq) E(cvttsd2sil) E(cvttsd2siq)
	E(cvtss2sil) E(cvtss2siq) E(cvttss2sil) E(cvttss2siq)
#define R(N) E(roundsd##N) E(roundss##N)
	R(0) R(1) R(2) R(3) R(4) R(8) R(9) R(10) R(11) R(12)
#define P(N) E(cmpsd##N) E(cmpss##N)
	P(0) P(1) P(2) P(3)
	E(fadd) E(fsub) E(fmul) E(fdiv) E(fsqrt) E(fcom) E(fucom) E(fcomi) E(fprem) E(fprem1)
	E(fscale) E(frndint) E(fxtract) E(fxam) E(ftst) E(fadds) E(faddl) E(fdivrl) E(fcoml) E(fiaddl)
	E(flds) E(fldl) E(filds) E(fildl) E(fildq) E(fbld)
	E(fsts) E(fstl) E(fists) E(fistl) E(fistq) E(fisttps) E(fisttpl) E(fisttpq) E(fbstp)
	E(f2xm1) E(fyl2x) E(fyl2xp1) E(fpatan) E(fsin) E(fcos) E(fsincos) E(fptan)
	E(fld1) E(fldl2t) E(fldl2e) E(fldpi) E(fldlg2) E(fldln2)
};

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = trap, .sa_flags = SA_SIGINFO };
	static in_t in[1024];
	static out_t out[1024];
	unsigned i;
	size_t n, k;

	sigaction(SIGFPE, &sa, 0);
	for (i = 0; argc == 2 && i < sizeof ops / sizeof *ops; i++)
		if (!strcmp(argv[1], ops[i].name))
			break;
	if (argc != 2 || i == sizeof ops / sizeof *ops)
		return 2;
	while ((n = fread(in, sizeof *in, 1024, stdin)) > 0) {
		memset(out, 0, sizeof out);
		for (k = 0; k < n; k++)
			ops[i].f(&in[k], &out[k]);
		fwrite(out, sizeof *out, n, stdout);
	}
	return 0;
}
