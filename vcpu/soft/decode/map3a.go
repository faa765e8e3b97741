package decode

// map3A is the three-byte opcode map behind 0F3AH (SDM 2 A.3, table A-5) by
// mandatory prefix: none, 66H, F3H, F2H.
var map3A = [256][4]entry{
	0x08: {prefix66: {ROUNDPS, vwU8, 0}},
	0x09: {prefix66: {ROUNDPD, vwU8, 0}},
	0x0a: {prefix66: {ROUNDSS, vwDU8, 0}},
	0x0b: {prefix66: {ROUNDSD, vwQU8, 0}},
	0x0c: {prefix66: {BLENDPS, vwU8, 0}},
	0x0d: {prefix66: {BLENDPD, vwU8, 0}},
	0x0e: {prefix66: {PBLENDW, vwU8, 0}},
	0x0f: {{PALIGNR, pqU8, 0}, {PALIGNR, vwU8, 0}},
	0x14: {prefix66: {PEXTRB, ebVU8, 0}},
	0x15: {prefix66: {PEXTRW, ewVU8, 0}},
	0x16: {prefix66: {PEXTRD, eyVU8, 0}},
	0x17: {prefix66: {EXTRACTPS, edVU8, 0}},
	0x20: {prefix66: {PINSRB, vEbU8, 0}},
	0x21: {prefix66: {INSERTPS, vwDU8, 0}},
	0x22: {prefix66: {PINSRD, vEyU8, 0}},
	0x40: {prefix66: {DPPS, vwU8, 0}},
	0x41: {prefix66: {DPPD, vwU8, 0}},
	0x42: {prefix66: {MPSADBW, vwU8, 0}},
	0x44: {prefix66: {PCLMULQDQ, vwU8, 0}},
	0x60: {prefix66: {PCMPESTRM, vwU8, 0}},
	0x61: {prefix66: {PCMPESTRI, vwU8, 0}},
	0x62: {prefix66: {PCMPISTRM, vwU8, 0}},
	0x63: {prefix66: {PCMPISTRI, vwU8, 0}},
	0xcc: {{SHA1RNDS4, vwU8, 0}},
	0xdf: {prefix66: {AESKEYGENASSIST, vwU8, 0}},
}
