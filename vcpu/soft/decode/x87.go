package decode

// The x87 escape opcodes (SDM 2 A.5): eight memory forms, then eight register
// forms. Undocumented encodings are what they alias: DCD0H FCOM, DCD8H and DED0H
// FCOMP, DDC8H and DFC8H FXCH, D9D8H, DFD0H and DFD8H FSTP.
var (
	x87D8 = [16]entry{
		{FADD, f32, 0}, {FMUL, f32, 0}, {FCOM, f32, 0}, {FCOMP, f32, 0},
		{FSUB, f32, 0}, {FSUBR, f32, 0}, {FDIV, f32, 0}, {FDIVR, f32, 0},
		{FADD, st0STi, 0}, {FMUL, st0STi, 0}, {FCOM, st0STi, 0}, {FCOMP, st0STi, 0},
		{FSUB, st0STi, 0}, {FSUBR, st0STi, 0}, {FDIV, st0STi, 0}, {FDIVR, st0STi, 0},
	}
	x87D9 = [16]entry{
		{FLD, f32, 0}, {}, {FST, f32, 0}, {FSTP, f32, 0},
		{FLDENV, fEnv, 0}, {FLDCW, fWord, 0}, {FNSTENV, fEnv, 0}, {FNSTCW, fWord, 0},
		{FLD, sti, 0}, {FXCH, sti, 0}, {escapeD9Rm2, byRM, 0}, {FSTP, sti, 0},
		{escapeD9Rm4, byRM, 0}, {escapeD9Rm5, byRM, 0}, {escapeD9Rm6, byRM, 0}, {escapeD9Rm7, byRM, 0},
	}
	x87DA = [16]entry{
		{FIADD, i32, 0}, {FIMUL, i32, 0}, {FICOM, i32, 0}, {FICOMP, i32, 0},
		{FISUB, i32, 0}, {FISUBR, i32, 0}, {FIDIV, i32, 0}, {FIDIVR, i32, 0},
		{FCMOVB, st0STi, 0}, {FCMOVE, st0STi, 0}, {FCMOVBE, st0STi, 0}, {FCMOVU, st0STi, 0},
		{}, {escapeDARm5, byRM, 0}, {}, {},
	}
	x87DB = [16]entry{
		{FILD, i32, 0}, {FISTTP, i32, 0}, {FIST, i32, 0}, {FISTP, i32, 0},
		{}, {FLD, f80, 0}, {}, {FSTP, f80, 0},
		{FCMOVNB, st0STi, 0}, {FCMOVNE, st0STi, 0}, {FCMOVNBE, st0STi, 0}, {FCMOVNU, st0STi, 0},
		{escapeDBRm4, byRM, 0}, {FUCOMI, st0STi, 0}, {FCOMI, st0STi, 0}, {},
	}
	x87DC = [16]entry{
		{FADD, f64, 0}, {FMUL, f64, 0}, {FCOM, f64, 0}, {FCOMP, f64, 0},
		{FSUB, f64, 0}, {FSUBR, f64, 0}, {FDIV, f64, 0}, {FDIVR, f64, 0},
		{FADD, stiST0, 0}, {FMUL, stiST0, 0}, {FCOM, st0STi, 0}, {FCOMP, st0STi, 0},
		{FSUBR, stiST0, 0}, {FSUB, stiST0, 0}, {FDIVR, stiST0, 0}, {FDIV, stiST0, 0},
	}
	x87DD = [16]entry{
		{FLD, f64, 0}, {FISTTP, i64, 0}, {FST, f64, 0}, {FSTP, f64, 0},
		{FRSTOR, fEnv, 0}, {}, {FNSAVE, fEnv, 0}, {FNSTSW, fWord, 0},
		{FFREE, sti, 0}, {FXCH, sti, 0}, {FST, sti, 0}, {FSTP, sti, 0},
		{FUCOM, st0STi, 0}, {FUCOMP, st0STi, 0}, {}, {},
	}
	x87DE = [16]entry{
		{FIADD, i16, 0}, {FIMUL, i16, 0}, {FICOM, i16, 0}, {FICOMP, i16, 0},
		{FISUB, i16, 0}, {FISUBR, i16, 0}, {FIDIV, i16, 0}, {FIDIVR, i16, 0},
		{FADDP, stiST0, 0}, {FMULP, stiST0, 0}, {FCOMP, st0STi, 0}, {escapeDERm3, byRM, 0},
		{FSUBRP, stiST0, 0}, {FSUBP, stiST0, 0}, {FDIVRP, stiST0, 0}, {FDIVP, stiST0, 0},
	}
	x87DF = [16]entry{
		{FILD, i16, 0}, {FISTTP, i16, 0}, {FIST, i16, 0}, {FISTP, i16, 0},
		{FBLD, f80, 0}, {FILD, i64, 0}, {FBSTP, f80, 0}, {FISTP, i64, 0},
		{FFREEP, sti, 0}, {FXCH, sti, 0}, {FSTP, sti, 0}, {FSTP, sti, 0},
		{escapeDFRm4, byRM, 0}, {FUCOMIP, st0STi, 0}, {FCOMIP, st0STi, 0}, {},
	}
)

// The register forms that ModRM.rm extends. FENI and FDISI of the 8087 are FNOP.
var (
	x87D9Rm2 = [8]entry{{FNOP, nothing, 0}}
	x87D9Rm4 = [8]entry{{FCHS, nothing, 0}, {FABS, nothing, 0}, 4: {FTST, nothing, 0}, {FXAM, nothing, 0}}
	x87D9Rm5 = [8]entry{
		{FLD1, nothing, 0}, {FLDL2T, nothing, 0}, {FLDL2E, nothing, 0}, {FLDPI, nothing, 0},
		{FLDLG2, nothing, 0}, {FLDLN2, nothing, 0}, {FLDZ, nothing, 0}}
	x87D9Rm6 = [8]entry{
		{F2XM1, nothing, 0}, {FYL2X, nothing, 0}, {FPTAN, nothing, 0}, {FPATAN, nothing, 0},
		{FXTRACT, nothing, 0}, {FPREM1, nothing, 0}, {FDECSTP, nothing, 0}, {FINCSTP, nothing, 0}}
	x87D9Rm7 = [8]entry{
		{FPREM, nothing, 0}, {FYL2XP1, nothing, 0}, {FSQRT, nothing, 0}, {FSINCOS, nothing, 0},
		{FRNDINT, nothing, 0}, {FSCALE, nothing, 0}, {FSIN, nothing, 0}, {FCOS, nothing, 0}}
	x87DARm5 = [8]entry{1: {FUCOMPP, st0STi, 0}}
	x87DBRm4 = [8]entry{
		{FNOP, nothing, 0}, {FNOP, nothing, 0}, {FNCLEX, nothing, 0}, {FNINIT, nothing, 0},
		{FNSETPM, nothing, 0}}
	x87DERm3 = [8]entry{1: {FCOMPP, st0STi, 0}}
	x87DFRm4 = [8]entry{{FNSTSW, fAX, 0}}
)
