package decode

// twoByteSSE is the two-byte opcode map where mandatory prefixes select: none,
// 66H, F3H, F2H.
var twoByteSSE = [256][4]entry{
	0x01: {{group7, byReg, 0}, {group7Bare, byReg, 0}, {group7F3, byReg, 0}, {group7Bare, byReg, 0}},
	0x1e: {{NOP, m, 0}, {NOP, m, 0}, {groupCETF3, byReg, 0}, {NOP, m, 0}},
	0xae: {{group15, byReg, 0}, {group1566, byReg, 0}, {group15F3, byReg, 0}, {group15F2, byReg, 0}},
	0xb8: {prefixF3: {POPCNT, gvEv, 0}},
	0xbc: {{BSF, gvEv, 0}, {BSF, gvEv, 0}, {TZCNT, gvEv, 0}, {BSF, gvEv, 0}},
	0xbd: {{BSR, gvEv, 0}, {BSR, gvEv, 0}, {LZCNT, gvEv, 0}, {BSR, gvEv, 0}},
	0xc3: {{MOVNTI, eyGy, memOnly}},
	0xc7: {{group9, byReg, 0}, {group966, byReg, 0}, {group9F3, byReg, 0}, {group9F2, byReg, 0}},
}

var map38 [256][4]entry
var map3A [256][4]entry
