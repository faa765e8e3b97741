package decode

// oneByte is the one-byte opcode map (SDM 2 A.3, table A-2). Prefixes, 0FH and
// VEX's C4H and C5H are taken before.
var oneByte = [256]entry{
	0x00: {ADD, ebGb, lockable}, 0x01: {ADD, evGv, lockable}, 0x02: {ADD, gbEb, 0}, 0x03: {ADD, gvEv, 0},
	0x04: {ADD, alIb, 0}, 0x05: {ADD, axIz, 0}, 0x06: {PUSHSEG, segS, no64}, 0x07: {POPSEG, segS, no64},
	0x08: {OR, ebGb, lockable}, 0x09: {OR, evGv, lockable}, 0x0a: {OR, gbEb, 0}, 0x0b: {OR, gvEv, 0},
	0x0c: {OR, alIb, 0}, 0x0d: {OR, axIz, 0}, 0x0e: {PUSHSEG, segS, no64},

	0x10: {ADC, ebGb, lockable}, 0x11: {ADC, evGv, lockable}, 0x12: {ADC, gbEb, 0}, 0x13: {ADC, gvEv, 0},
	0x14: {ADC, alIb, 0}, 0x15: {ADC, axIz, 0}, 0x16: {PUSHSEG, segS, no64}, 0x17: {POPSEG, segS, no64},
	0x18: {SBB, ebGb, lockable}, 0x19: {SBB, evGv, lockable}, 0x1a: {SBB, gbEb, 0}, 0x1b: {SBB, gvEv, 0},
	0x1c: {SBB, alIb, 0}, 0x1d: {SBB, axIz, 0}, 0x1e: {PUSHSEG, segS, no64}, 0x1f: {POPSEG, segS, no64},

	0x20: {AND, ebGb, lockable}, 0x21: {AND, evGv, lockable}, 0x22: {AND, gbEb, 0}, 0x23: {AND, gvEv, 0},
	0x24: {AND, alIb, 0}, 0x25: {AND, axIz, 0}, 0x27: {DAA, nothing, no64},
	0x28: {SUB, ebGb, lockable}, 0x29: {SUB, evGv, lockable}, 0x2a: {SUB, gbEb, 0}, 0x2b: {SUB, gvEv, 0},
	0x2c: {SUB, alIb, 0}, 0x2d: {SUB, axIz, 0}, 0x2f: {DAS, nothing, no64},

	0x30: {XOR, ebGb, lockable}, 0x31: {XOR, evGv, lockable}, 0x32: {XOR, gbEb, 0}, 0x33: {XOR, gvEv, 0},
	0x34: {XOR, alIb, 0}, 0x35: {XOR, axIz, 0}, 0x37: {AAA, nothing, no64},
	0x38: {CMP, ebGb, 0}, 0x39: {CMP, evGv, 0}, 0x3a: {CMP, gbEb, 0}, 0x3b: {CMP, gvEv, 0},
	0x3c: {CMP, alIb, 0}, 0x3d: {CMP, axIz, 0}, 0x3f: {AAS, nothing, no64},

	// In 64-bit mode these are REX prefixes.
	0x40: {INC, rv, 0}, 0x41: {INC, rv, 0}, 0x42: {INC, rv, 0}, 0x43: {INC, rv, 0},
	0x44: {INC, rv, 0}, 0x45: {INC, rv, 0}, 0x46: {INC, rv, 0}, 0x47: {INC, rv, 0},
	0x48: {DEC, rv, 0}, 0x49: {DEC, rv, 0}, 0x4a: {DEC, rv, 0}, 0x4b: {DEC, rv, 0},
	0x4c: {DEC, rv, 0}, 0x4d: {DEC, rv, 0}, 0x4e: {DEC, rv, 0}, 0x4f: {DEC, rv, 0},

	0x50: {PUSH, rvS, 0}, 0x51: {PUSH, rvS, 0}, 0x52: {PUSH, rvS, 0}, 0x53: {PUSH, rvS, 0},
	0x54: {PUSH, rvS, 0}, 0x55: {PUSH, rvS, 0}, 0x56: {PUSH, rvS, 0}, 0x57: {PUSH, rvS, 0},
	0x58: {POP, rvS, 0}, 0x59: {POP, rvS, 0}, 0x5a: {POP, rvS, 0}, 0x5b: {POP, rvS, 0},
	0x5c: {POP, rvS, 0}, 0x5d: {POP, rvS, 0}, 0x5e: {POP, rvS, 0}, 0x5f: {POP, rvS, 0},

	0x60: {PUSHA, opV, no64}, 0x61: {POPA, opV, no64},
	0x62: {BOUND, gvMa, no64 | memOnly}, // a register, or 64-bit mode: EVEX
	0x63: {ARPL, ewGw, 0},               // in 64-bit mode MOVSXD
	0x68: {PUSH, izS, 0}, 0x69: {IMUL, gvEvIz, 0}, 0x6a: {PUSH, ibS, 0}, 0x6b: {IMUL, gvEvIb, 0},
	0x6c: {INS, opB, 0}, 0x6d: {INS, opZ, 0}, 0x6e: {OUTS, opB, 0}, 0x6f: {OUTS, opZ, 0},

	0x70: {JCC, jb, 0}, 0x71: {JCC, jb, 0}, 0x72: {JCC, jb, 0}, 0x73: {JCC, jb, 0},
	0x74: {JCC, jb, 0}, 0x75: {JCC, jb, 0}, 0x76: {JCC, jb, 0}, 0x77: {JCC, jb, 0},
	0x78: {JCC, jb, 0}, 0x79: {JCC, jb, 0}, 0x7a: {JCC, jb, 0}, 0x7b: {JCC, jb, 0},
	0x7c: {JCC, jb, 0}, 0x7d: {JCC, jb, 0}, 0x7e: {JCC, jb, 0}, 0x7f: {JCC, jb, 0},

	0x80: {group1Eb, byReg, 0}, 0x81: {group1EvIz, byReg, 0}, 0x82: {group1Eb82, byReg, 0}, 0x83: {group1EvIb, byReg, 0},
	0x84: {TEST, ebGb, 0}, 0x85: {TEST, evGv, 0}, 0x86: {XCHG, ebGb, lockable}, 0x87: {XCHG, evGv, lockable},
	0x88: {MOV, ebGb, 0}, 0x89: {MOV, evGv, 0}, 0x8a: {MOV, gbEb, 0}, 0x8b: {MOV, gvEv, 0},
	0x8c: {MOVFROMSEG, evSw, 0}, 0x8d: {LEA, gvM, memOnly}, 0x8e: {MOVTOSEG, swEv, 0}, 0x8f: {group1A, byReg, 0},

	0x90: {XCHG, rvAX, 0}, 0x91: {XCHG, rvAX, 0}, 0x92: {XCHG, rvAX, 0}, 0x93: {XCHG, rvAX, 0},
	0x94: {XCHG, rvAX, 0}, 0x95: {XCHG, rvAX, 0}, 0x96: {XCHG, rvAX, 0}, 0x97: {XCHG, rvAX, 0},
	0x98: {CBW, opV, 0}, 0x99: {CWD, opV, 0}, 0x9a: {CALLF, ap, no64}, 0x9b: {FWAIT, nothing, 0},
	0x9c: {PUSHF, opS, 0}, 0x9d: {POPF, opS, 0}, 0x9e: {SAHF, nothing, 0}, 0x9f: {LAHF, nothing, 0},

	0xa0: {MOV, alOb, 0}, 0xa1: {MOV, axOv, 0}, 0xa2: {MOV, obAL, 0}, 0xa3: {MOV, ovAX, 0},
	0xa4: {MOVS, opB, 0}, 0xa5: {MOVS, opV, 0}, 0xa6: {CMPS, opB, 0}, 0xa7: {CMPS, opV, 0},
	0xa8: {TEST, alIb, 0}, 0xa9: {TEST, axIz, 0}, 0xaa: {STOS, opB, 0}, 0xab: {STOS, opV, 0},
	0xac: {LODS, opB, 0}, 0xad: {LODS, opV, 0}, 0xae: {SCAS, opB, 0}, 0xaf: {SCAS, opV, 0},

	0xb0: {MOV, rbIb, 0}, 0xb1: {MOV, rbIb, 0}, 0xb2: {MOV, rbIb, 0}, 0xb3: {MOV, rbIb, 0},
	0xb4: {MOV, rbIb, 0}, 0xb5: {MOV, rbIb, 0}, 0xb6: {MOV, rbIb, 0}, 0xb7: {MOV, rbIb, 0},
	0xb8: {MOV, rvIv, 0}, 0xb9: {MOV, rvIv, 0}, 0xba: {MOV, rvIv, 0}, 0xbb: {MOV, rvIv, 0},
	0xbc: {MOV, rvIv, 0}, 0xbd: {MOV, rvIv, 0}, 0xbe: {MOV, rvIv, 0}, 0xbf: {MOV, rvIv, 0},

	0xc0: {group2EbIb, byReg, 0}, 0xc1: {group2EvIb, byReg, 0}, 0xc2: {RET, iwF, 0}, 0xc3: {RET, opF, 0},
	0xc4: {LES, gvMp, memOnly}, 0xc5: {LDS, gvMp, memOnly}, // else VEX
	0xc6: {group11Eb, byReg, 0}, 0xc7: {group11Ev, byReg, 0},
	0xc8: {ENTER, iwIb, 0}, 0xc9: {LEAVE, opS, 0}, 0xca: {RETF, iwV, 0}, 0xcb: {RETF, opV, 0},
	0xcc: {INT3, nothing, 0}, 0xcd: {INT, ib, 0}, 0xce: {INTO, nothing, no64}, 0xcf: {IRET, opV, 0},

	0xd0: {group2Eb1, byReg, 0}, 0xd1: {group2Ev1, byReg, 0}, 0xd2: {group2EbCL, byReg, 0}, 0xd3: {group2EvCL, byReg, 0},
	0xd4: {AAM, ib, no64}, 0xd5: {AAD, ib, no64}, 0xd6: {SALC, nothing, no64}, 0xd7: {XLAT, opB, 0},
	0xd8: {escapeD8, byReg, 0}, 0xd9: {escapeD9, byReg, 0}, 0xda: {escapeDA, byReg, 0}, 0xdb: {escapeDB, byReg, 0},
	0xdc: {escapeDC, byReg, 0}, 0xdd: {escapeDD, byReg, 0}, 0xde: {escapeDE, byReg, 0}, 0xdf: {escapeDF, byReg, 0},

	0xe0: {LOOPNE, jb, 0}, 0xe1: {LOOPE, jb, 0}, 0xe2: {LOOP, jb, 0}, 0xe3: {JCXZ, jb, 0},
	0xe4: {IN, alPort, 0}, 0xe5: {IN, axPort, 0}, 0xe6: {OUT, alPort, 0}, 0xe7: {OUT, axPort, 0},
	0xe8: {CALL, jz, 0}, 0xe9: {JMP, jz, 0}, 0xea: {JMPF, ap, no64}, 0xeb: {JMP, jb, 0},
	0xec: {IN, opB, 0}, 0xed: {IN, opZ, 0}, 0xee: {OUT, opB, 0}, 0xef: {OUT, opZ, 0},

	0xf1: {INT1, nothing, 0}, 0xf4: {HLT, nothing, 0}, 0xf5: {CMC, nothing, 0},
	0xf6: {group3Eb, byReg, 0}, 0xf7: {group3Ev, byReg, 0},
	0xf8: {CLC, nothing, 0}, 0xf9: {STC, nothing, 0}, 0xfa: {CLI, nothing, 0}, 0xfb: {STI, nothing, 0},
	0xfc: {CLD, nothing, 0}, 0xfd: {STD, nothing, 0}, 0xfe: {group4, byReg, 0}, 0xff: {group5, byReg, 0},
}
