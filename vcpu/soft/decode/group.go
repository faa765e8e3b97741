package decode

// Groups: opcodes that ModRM.reg extends (SDM 2 A.4, table A-6).
const (
	group1Eb Op = iota
	group1EvIz
	group1Eb82
	group1EvIb
	group1A
	group2EbIb
	group2EvIb
	group2Eb1
	group2Ev1
	group2EbCL
	group2EvCL
	group3Eb
	group3Ev
	group4
	group5
	group6
	group7
	group7F3
	group7Bare // 66H or F2H
	group8
	group9
	group966
	group9F3
	group9F2
	group11Eb
	group11Ev
	groupMOVL
	groupMOVH
	group12
	group1266
	group13
	group1366
	group14
	group1466
	group15
	group1566
	group15F3
	group15F2
	group16
	groupP
	groupCETF3
	escapeD8
	escapeD9
	escapeDA
	escapeDB
	escapeDC
	escapeDD
	escapeDE
	escapeDF
	group17VEX

	numGroups
)

// groups gives each group's entries by ModRM.reg: eight with memory, then eight
// with a register.
var groups = [numGroups][16]entry{
	group1Eb:   both(arithmetic(ebIb, 0)),
	group1EvIz: both(arithmetic(evIz, 0)),
	group1Eb82: both(arithmetic(ebIb, no64)),
	group1EvIb: both(arithmetic(evIb, 0)),
	group1A:    both([8]entry{{POP, evS, 0}}),
	group2EbIb: both(shifts(ebU8)),
	group2EvIb: both(shifts(evU8)),
	group2Eb1:  both(shifts(eb1)),
	group2Ev1:  both(shifts(ev1)),
	group2EbCL: both(shifts(ebCL)),
	group2EvCL: both(shifts(evCL)),
	group3Eb: both([8]entry{
		{TEST, ebIb, 0}, {TEST, ebIb, 0}, {NOT, eb, lockable}, {NEG, eb, lockable},
		{MUL, eb, 0}, {IMUL, eb, 0}, {DIV, eb, 0}, {IDIV, eb, 0}}),
	group3Ev: both([8]entry{
		{TEST, evIz, 0}, {TEST, evIz, 0}, {NOT, ev, lockable}, {NEG, ev, lockable},
		{MUL, ev, 0}, {IMUL, ev, 0}, {DIV, ev, 0}, {IDIV, ev, 0}}),
	group4: both([8]entry{{INC, eb, lockable}, {DEC, eb, lockable}}),
	group5: both([8]entry{
		{INC, ev, lockable}, {DEC, ev, lockable}, {CALL, evF, 0}, {CALLF, mp, memOnly},
		{JMP, evF, 0}, {JMPF, mp, memOnly}, {PUSH, evS, 0}, {}}),
	group6: both([8]entry{
		{SLDT, ewV, 0}, {STR, ewV, 0}, {LLDT, ew, 0}, {LTR, ew, 0}, {VERR, ew, 0}, {VERW, ew, 0}}),
	group8: both([8]entry{4: {BT, evU8, 0}, {BTS, evU8, lockable}, {BTR, evU8, lockable}, {BTC, evU8, lockable}}),
	group11Eb: both([8]entry{
		{MOV, ebIb, 0}, 7: {UD, ebIb, regOnly}}), // XABORT
	group11Ev: both([8]entry{
		{MOV, evIz, 0}, 7: {UD, evIz, regOnly}}), // XBEGIN

	group7: {
		{SGDT, mTab, 0}, {SIDT, mTab, 0}, {LGDT, mTab, 0}, {LIDT, mTab, 0},
		{SMSW, ewV, 0}, {}, {LMSW, ew, 0}, {INVLPG, m, 0},
		{group7Rm0, byRM, 0}, {group7Rm1, byRM, 0}, {group7Rm2, byRM, 0}, {group7Rm3, byRM, 0},
		{SMSW, ewV, 0}, {group7Rm5, byRM, 0}, {LMSW, ew, 0}, {group7Rm7, byRM, 0},
	},
	group7Bare: {
		{SGDT, mTab, 0}, {SIDT, mTab, 0}, {LGDT, mTab, 0}, {LIDT, mTab, 0},
		{SMSW, ewV, 0}, {}, {LMSW, ew, 0}, {INVLPG, m, 0},
		{group7Rm0, byRM, 0}, {group7Rm1Bare, byRM, 0}, {}, {group7Rm3, byRM, 0},
		{SMSW, ewV, 0}, {}, {LMSW, ew, 0}, {group7Rm7, byRM, 0},
	},
	group7F3: {
		{SGDT, mTab, 0}, {SIDT, mTab, 0}, {LGDT, mTab, 0}, {LIDT, mTab, 0},
		{SMSW, ewV, 0}, {}, {LMSW, ew, 0}, {INVLPG, m, 0},
		{group7Rm0, byRM, 0}, {group7Rm1Bare, byRM, 0}, {}, {group7Rm3, byRM, 0},
		{SMSW, ewV, 0}, {group7Rm5F3, byRM, 0}, {LMSW, ew, 0}, {group7Rm7, byRM, 0},
	},

	group9: {
		1: {CMPXCHG8B, mq, lockable}, 3: {XRSTORS, mY, 0}, 4: {XSAVEC, mY, 0}, 5: {XSAVES, mY, 0},
		8 + 6: {RDRAND, ev, 0}, 8 + 7: {RDSEED, ev, 0},
	},
	group966: {1: {CMPXCHG8B, mq, lockable}, 8 + 6: {RDRAND, ev, 0}, 8 + 7: {RDSEED, ev, 0}},
	group9F3: {1: {CMPXCHG8B, mq, lockable}, 8 + 6: {SENDUIPI, rq, only64}, 8 + 7: {RDPID, rN, 0}},
	group9F2: {1: {CMPXCHG8B, mq, lockable}},

	groupMOVL: split(entry{MOVLPS, vwQ, 0}, entry{MOVHLPS, vwQ, 0}),
	groupMOVH: split(entry{MOVHPS, vwQ, 0}, entry{MOVLHPS, vwQ, 0}),
	group12:   {8 + 2: {PSRLW, qU8, 0}, 8 + 4: {PSRAW, qU8, 0}, 8 + 6: {PSLLW, qU8, 0}},
	group1266: {8 + 2: {PSRLW, wU8, 0}, 8 + 4: {PSRAW, wU8, 0}, 8 + 6: {PSLLW, wU8, 0}},
	group13:   {8 + 2: {PSRLD, qU8, 0}, 8 + 4: {PSRAD, qU8, 0}, 8 + 6: {PSLLD, qU8, 0}},
	group1366: {8 + 2: {PSRLD, wU8, 0}, 8 + 4: {PSRAD, wU8, 0}, 8 + 6: {PSLLD, wU8, 0}},
	group14:   {8 + 2: {PSRLQ, qU8, 0}, 8 + 6: {PSLLQ, qU8, 0}},
	group1466: {8 + 2: {PSRLQ, wU8, 0}, {PSRLDQ, wU8, 0}, 8 + 6: {PSLLQ, wU8, 0}, {PSLLDQ, wU8, 0}},

	group15: {
		{FXSAVE, mY, 0}, {FXRSTOR, mY, 0}, {LDMXCSR, md, 0}, {STMXCSR, md, 0},
		{XSAVE, mY, 0}, {XRSTOR, mY, 0}, {XSAVEOPT, mY, 0}, {CLFLUSH, m, 0},
		8 + 5: {LFENCE, nothing, 0}, {MFENCE, nothing, 0}, {SFENCE, nothing, 0},
	},
	group1566: {6: {CLWB, m, 0}, {CLFLUSHOPT, m, 0}, 8 + 6: {TPAUSE, rd, 0}},
	group15F3: {
		8: {RDFSBASE, ry, only64}, {RDGSBASE, ry, only64}, {WRFSBASE, ry, only64}, {WRGSBASE, ry, only64},
		8 + 6: {UMONITOR, rA, 0},
	},
	group15F2: {8 + 6: {UMWAIT, rd, 0}},

	group16: {
		{PREFETCH, m, 0}, {PREFETCH, m, 0}, {PREFETCH, m, 0}, {PREFETCH, m, 0},
		{NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0},
		{NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0},
		{NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0},
	},
	groupP:     split(entry{PREFETCH, m, 0}, entry{NOP, m, 0}),
	group17VEX: both([8]entry{1: {BLSR, byEy, 0}, {BLSMSK, byEy, 0}, {BLSI, byEy, 0}}),

	escapeD8: x87D8,
	escapeD9: x87D9,
	escapeDA: x87DA,
	escapeDB: x87DB,
	escapeDC: x87DC,
	escapeDD: x87DD,
	escapeDE: x87DE,
	escapeDF: x87DF,

	groupCETF3: { // RDSSP, ENDBR: NOPs to who has no CET
		{NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0},
		{NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0},
		{NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0},
		{NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0}, {groupEndbr, byRM, 0},
	},
}

// Subgroups: register forms that ModRM.rm extends.
const (
	group7Rm0 Op = iota
	group7Rm1
	group7Rm1Bare
	group7Rm2
	group7Rm3
	group7Rm5
	group7Rm5F3
	group7Rm7
	groupEndbr
	escapeD9Rm2
	escapeD9Rm4
	escapeD9Rm5
	escapeD9Rm6
	escapeD9Rm7
	escapeDARm5
	escapeDBRm4
	escapeDERm3
	escapeDFRm4

	numSubgroups
)

// subgroups gives each subgroup's entries by ModRM.rm.
var subgroups = [numSubgroups][8]entry{
	group7Rm0:     {1: {VMCALL, nothing, 0}},
	group7Rm1:     {{MONITOR, opA, 0}, {MWAIT, nothing, 0}, {CLAC, nothing, 0}, {STAC, nothing, 0}},
	group7Rm1Bare: {{MONITOR, opA, 0}, {MWAIT, nothing, 0}},
	group7Rm2:     {{XGETBV, nothing, 0}, {XSETBV, nothing, 0}},
	group7Rm3:     {1: {VMCALL, nothing, 0}},
	group7Rm5:     {{SERIALIZE, nothing, 0}, 6: {RDPKRU, nothing, 0}, {WRPKRU, nothing, 0}},
	group7Rm5F3:   {4: {UIRET, nothing, only64}, {TESTUI, nothing, only64}, {CLUI, nothing, only64}, {STUI, nothing, only64}},
	group7Rm7:     {{SWAPGS, nothing, only64}, {RDTSCP, nothing, 0}},
	groupEndbr: {{NOP, m, 0}, {NOP, m, 0}, {ENDBR, nothing, 0}, {ENDBR, nothing, 0},
		{NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0}, {NOP, m, 0}},
	escapeD9Rm2: x87D9Rm2,
	escapeD9Rm4: x87D9Rm4,
	escapeD9Rm5: x87D9Rm5,
	escapeD9Rm6: x87D9Rm6,
	escapeD9Rm7: x87D9Rm7,
	escapeDARm5: x87DARm5,
	escapeDBRm4: x87DBRm4,
	escapeDERm3: x87DERm3,
	escapeDFRm4: x87DFRm4,
}

// both makes a group that memory and registers share.
func both(g [8]entry) (t [16]entry) {
	copy(t[:8], g[:])
	copy(t[8:], g[:])
	return t
}

// split makes a group that only tells memory from registers.
func split(mem, reg entry) (t [16]entry) {
	for i := range 8 {
		t[i], t[8+i] = mem, reg
	}
	return t
}

// arithmetic is group 1.
func arithmetic(s shapeID, f entryFlags) (g [8]entry) {
	for i, op := range [8]Op{ADD, OR, ADC, SBB, AND, SUB, XOR, CMP} {
		if g[i] = (entry{op, s, f}); op != CMP {
			g[i].flags |= lockable
		}
	}
	return g
}

// shifts is group 2. /6 is SHL too.
func shifts(s shapeID) (g [8]entry) {
	for i, op := range [8]Op{ROL, ROR, RCL, RCR, SHL, SHR, SHL, SAR} {
		g[i] = entry{op, s, 0}
	}
	return g
}
