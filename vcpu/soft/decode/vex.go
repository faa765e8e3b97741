package decode

// isVEX reports whether C4H or C5H, just taken, begins a VEX prefix: outside
// 64-bit mode it does where LES and LDS would have a register.
func (d *decoder) isVEX() bool {
	if d.mode == Mode64 {
		return true
	}
	if d.n >= len(d.b) {
		return false // LES reads on and finds that nothing is left
	}
	return d.b[d.n] >= 0xc0
}

// vex takes the rest of a VEX prefix and the opcode behind it and returns the
// opcode's entry. c is the prefix's first byte. The two-byte prefix has no map
// with instructions on general-purpose registers.
func (d *decoder) vex(in *Inst, c byte) (entry, byte) {
	legacy := d.rex != 0 || d.lock || d.rep != noPrefix || in.Prefix&OpSize != 0
	p0 := d.byte()
	if c == 0xc5 {
		return entry{}, c
	}
	p1 := d.byte()
	d.rex, d.lock = 0, false
	if d.mode == Mode64 {
		d.rex = ^p0>>5&7 | p1>>7<<3
		if p1&0x80 != 0 {
			in.Prefix |= REXW
		}
	}
	in.VReg = ^p1 >> 3 & 15
	c = d.byte()
	pp := p1 & 3
	switch {
	case legacy || p1&4 != 0: // VEX.L
		return entry{}, c
	case p0&31 == 2 && c >= 0xf0 && c < 0xf8:
		return vex38[c&7][pp], c
	case p0&31 == 3 && c == 0xf0 && pp == prefixF2:
		return entry{RORX, gyEyU8, 0}, c
	}
	return entry{}, c
}

// vex38 is the part of the VEX map 0F38H from F0H (SDM 2 A.3, table A-4).
var vex38 = [8][4]entry{
	2: {{ANDN, gyByEy, 0}},
	3: {{group17VEX, byReg, 0}},
	5: {{BZHI, gyEyBy, 0}, {}, {PEXT, gyByEy, 0}, {PDEP, gyByEy, 0}},
	6: {prefixF2: {MULX, gyByEy, 0}},
	7: {{BEXTR, gyEyBy, 0}, {SHLX, gyEyBy, 0}, {SARX, gyEyBy, 0}, {SHRX, gyEyBy, 0}},
}
