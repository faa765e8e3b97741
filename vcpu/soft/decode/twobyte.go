package decode

// twoByte is the two-byte opcode map behind 0FH (SDM 2 A.3, table A-3) as far as
// mandatory prefixes do not matter; where they do, see twoByteSSE.
var twoByte = [256]entry{
	0x00: {group6, byReg, 0}, 0x01: {shape: byPrefix}, 0x02: {LAR, gvEw, 0}, 0x03: {LSL, gvEw, 0},
	0x05: {SYSCALL, nothing, 0}, 0x06: {CLTS, nothing, 0}, 0x07: {SYSRET, opY, 0},
	0x08: {INVD, nothing, 0}, 0x09: {WBINVD, nothing, 0}, 0x0d: {groupP, byReg, 0},
	0x0f: {UD, ebIb, 0}, // 3DNow!

	0x10: {shape: byPrefix}, 0x11: {shape: byPrefix}, 0x12: {shape: byPrefix}, 0x13: {shape: byPrefix},
	0x14: {shape: byPrefix}, 0x15: {shape: byPrefix}, 0x16: {shape: byPrefix}, 0x17: {shape: byPrefix},
	0x18: {group16, byReg, 0}, 0x19: {NOP, m, 0}, 0x1a: {NOP, m, 0}, 0x1b: {NOP, m, 0},
	0x1c: {NOP, m, 0}, 0x1d: {NOP, m, 0}, 0x1e: {shape: byPrefix}, 0x1f: {NOP, m, 0},

	0x20: {MOVFROMCR, rC, 0}, 0x21: {MOVFROMDR, rD, 0}, 0x22: {MOVTOCR, cR, 0}, 0x23: {MOVTODR, dR, 0},
	0x28: {shape: byPrefix}, 0x29: {shape: byPrefix}, 0x2a: {shape: byPrefix}, 0x2b: {shape: byPrefix},
	0x2c: {shape: byPrefix}, 0x2d: {shape: byPrefix}, 0x2e: {shape: byPrefix}, 0x2f: {shape: byPrefix},

	0x30: {WRMSR, nothing, 0}, 0x31: {RDTSC, nothing, 0}, 0x32: {RDMSR, nothing, 0}, 0x33: {RDPMC, nothing, 0},
	0x34: {SYSENTER, nothing, 0}, 0x35: {SYSEXIT, opY, 0},
	0x38: {shape: byPrefix}, 0x3a: {shape: byPrefix},

	0x40: {CMOVCC, gvEv, 0}, 0x41: {CMOVCC, gvEv, 0}, 0x42: {CMOVCC, gvEv, 0}, 0x43: {CMOVCC, gvEv, 0},
	0x44: {CMOVCC, gvEv, 0}, 0x45: {CMOVCC, gvEv, 0}, 0x46: {CMOVCC, gvEv, 0}, 0x47: {CMOVCC, gvEv, 0},
	0x48: {CMOVCC, gvEv, 0}, 0x49: {CMOVCC, gvEv, 0}, 0x4a: {CMOVCC, gvEv, 0}, 0x4b: {CMOVCC, gvEv, 0},
	0x4c: {CMOVCC, gvEv, 0}, 0x4d: {CMOVCC, gvEv, 0}, 0x4e: {CMOVCC, gvEv, 0}, 0x4f: {CMOVCC, gvEv, 0},

	0x50: {shape: byPrefix}, 0x51: {shape: byPrefix}, 0x52: {shape: byPrefix}, 0x53: {shape: byPrefix},
	0x54: {shape: byPrefix}, 0x55: {shape: byPrefix}, 0x56: {shape: byPrefix}, 0x57: {shape: byPrefix},
	0x58: {shape: byPrefix}, 0x59: {shape: byPrefix}, 0x5a: {shape: byPrefix}, 0x5b: {shape: byPrefix},
	0x5c: {shape: byPrefix}, 0x5d: {shape: byPrefix}, 0x5e: {shape: byPrefix}, 0x5f: {shape: byPrefix},
	0x60: {shape: byPrefix}, 0x61: {shape: byPrefix}, 0x62: {shape: byPrefix}, 0x63: {shape: byPrefix},
	0x64: {shape: byPrefix}, 0x65: {shape: byPrefix}, 0x66: {shape: byPrefix}, 0x67: {shape: byPrefix},
	0x68: {shape: byPrefix}, 0x69: {shape: byPrefix}, 0x6a: {shape: byPrefix}, 0x6b: {shape: byPrefix},
	0x6c: {shape: byPrefix}, 0x6d: {shape: byPrefix}, 0x6e: {shape: byPrefix}, 0x6f: {shape: byPrefix},
	0x70: {shape: byPrefix}, 0x71: {shape: byPrefix}, 0x72: {shape: byPrefix}, 0x73: {shape: byPrefix},
	0x74: {shape: byPrefix}, 0x75: {shape: byPrefix}, 0x76: {shape: byPrefix}, 0x77: {shape: byPrefix},
	0x78: {UD, invalid, 0}, 0x79: {UD, invalid, 0}, 0x7c: {shape: byPrefix}, 0x7d: {shape: byPrefix},
	0x7e: {shape: byPrefix}, 0x7f: {shape: byPrefix},

	0x80: {JCC, jz, 0}, 0x81: {JCC, jz, 0}, 0x82: {JCC, jz, 0}, 0x83: {JCC, jz, 0},
	0x84: {JCC, jz, 0}, 0x85: {JCC, jz, 0}, 0x86: {JCC, jz, 0}, 0x87: {JCC, jz, 0},
	0x88: {JCC, jz, 0}, 0x89: {JCC, jz, 0}, 0x8a: {JCC, jz, 0}, 0x8b: {JCC, jz, 0},
	0x8c: {JCC, jz, 0}, 0x8d: {JCC, jz, 0}, 0x8e: {JCC, jz, 0}, 0x8f: {JCC, jz, 0},

	0x90: {SETCC, eb, 0}, 0x91: {SETCC, eb, 0}, 0x92: {SETCC, eb, 0}, 0x93: {SETCC, eb, 0},
	0x94: {SETCC, eb, 0}, 0x95: {SETCC, eb, 0}, 0x96: {SETCC, eb, 0}, 0x97: {SETCC, eb, 0},
	0x98: {SETCC, eb, 0}, 0x99: {SETCC, eb, 0}, 0x9a: {SETCC, eb, 0}, 0x9b: {SETCC, eb, 0},
	0x9c: {SETCC, eb, 0}, 0x9d: {SETCC, eb, 0}, 0x9e: {SETCC, eb, 0}, 0x9f: {SETCC, eb, 0},

	0xa0: {PUSHSEG, segS, 0}, 0xa1: {POPSEG, segS, 0}, 0xa2: {CPUID, nothing, 0}, 0xa3: {BT, evGv, 0},
	0xa4: {SHLD, evGvU8, 0}, 0xa5: {SHLD, evGvCL, 0},
	0xa8: {PUSHSEG, segS, 0}, 0xa9: {POPSEG, segS, 0}, 0xaa: {RSM, nothing, 0}, 0xab: {BTS, evGv, lockable},
	0xac: {SHRD, evGvU8, 0}, 0xad: {SHRD, evGvCL, 0}, 0xae: {shape: byPrefix}, 0xaf: {IMUL, gvEv, 0},

	0xb0: {CMPXCHG, ebGb, lockable}, 0xb1: {CMPXCHG, evGv, lockable}, 0xb2: {LSS, gvMp, memOnly}, 0xb3: {BTR, evGv, lockable},
	0xb4: {LFS, gvMp, memOnly}, 0xb5: {LGS, gvMp, memOnly}, 0xb6: {MOVZX, gvEb, 0}, 0xb7: {MOVZX, gvEw, 0},
	0xb8: {shape: byPrefix}, 0xb9: {UD, invalid, 0}, 0xba: {group8, byReg, 0}, 0xbb: {BTC, evGv, lockable},
	0xbc: {shape: byPrefix}, 0xbd: {shape: byPrefix}, 0xbe: {MOVSX, gvEb, 0}, 0xbf: {MOVSX, gvEw, 0},

	0xc0: {XADD, ebGb, lockable}, 0xc1: {XADD, evGv, lockable}, 0xc2: {shape: byPrefix}, 0xc3: {shape: byPrefix},
	0xc4: {shape: byPrefix}, 0xc5: {shape: byPrefix}, 0xc6: {shape: byPrefix}, 0xc7: {shape: byPrefix},
	0xc8: {BSWAP, rv, 0}, 0xc9: {BSWAP, rv, 0}, 0xca: {BSWAP, rv, 0}, 0xcb: {BSWAP, rv, 0},
	0xcc: {BSWAP, rv, 0}, 0xcd: {BSWAP, rv, 0}, 0xce: {BSWAP, rv, 0}, 0xcf: {BSWAP, rv, 0},

	0xd0: {shape: byPrefix}, 0xd1: {shape: byPrefix}, 0xd2: {shape: byPrefix}, 0xd3: {shape: byPrefix},
	0xd4: {shape: byPrefix}, 0xd5: {shape: byPrefix}, 0xd6: {shape: byPrefix}, 0xd7: {shape: byPrefix},
	0xd8: {shape: byPrefix}, 0xd9: {shape: byPrefix}, 0xda: {shape: byPrefix}, 0xdb: {shape: byPrefix},
	0xdc: {shape: byPrefix}, 0xdd: {shape: byPrefix}, 0xde: {shape: byPrefix}, 0xdf: {shape: byPrefix},
	0xe0: {shape: byPrefix}, 0xe1: {shape: byPrefix}, 0xe2: {shape: byPrefix}, 0xe3: {shape: byPrefix},
	0xe4: {shape: byPrefix}, 0xe5: {shape: byPrefix}, 0xe6: {shape: byPrefix}, 0xe7: {shape: byPrefix},
	0xe8: {shape: byPrefix}, 0xe9: {shape: byPrefix}, 0xea: {shape: byPrefix}, 0xeb: {shape: byPrefix},
	0xec: {shape: byPrefix}, 0xed: {shape: byPrefix}, 0xee: {shape: byPrefix}, 0xef: {shape: byPrefix},
	0xf0: {shape: byPrefix}, 0xf1: {shape: byPrefix}, 0xf2: {shape: byPrefix}, 0xf3: {shape: byPrefix},
	0xf4: {shape: byPrefix}, 0xf5: {shape: byPrefix}, 0xf6: {shape: byPrefix}, 0xf7: {shape: byPrefix},
	0xf8: {shape: byPrefix}, 0xf9: {shape: byPrefix}, 0xfa: {shape: byPrefix}, 0xfb: {shape: byPrefix},
	0xfc: {shape: byPrefix}, 0xfd: {shape: byPrefix}, 0xfe: {shape: byPrefix}, 0xff: {UD, invalid, 0},
}
