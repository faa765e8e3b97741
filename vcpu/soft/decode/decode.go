package decode

import "errors"

// ErrTruncated is an instruction of which not all bytes were given.
var ErrTruncated = errors.New("decode: truncated instruction")

// MaxLength is the longest instruction, in bytes.
const MaxLength = 15

// Decode decodes the instruction at the start of b. An undefined one is UD and one
// longer than MaxLength TOOLONG, with the length of what was looked at. It fails
// only with ErrTruncated, and never for b of MaxLength bytes or more.
func Decode(b []byte, mode Mode) (in Inst, err error) {
	if len(b) > MaxLength {
		b = b[:MaxLength]
	}
	d := decoder{b: b, mode: min(mode, Mode64)}
	d.decode(&in)
	switch {
	case d.short && len(b) == MaxLength:
		return Inst{Op: TOOLONG, Len: MaxLength}, nil
	case d.short:
		return Inst{}, ErrTruncated
	case in.Op == UD:
		in = Inst{}
	}
	in.Len = uint8(d.n)
	return in, nil
}

// decoder is the state of one decode. Once short is set what was read is zeroes
// and the result is not used.
type decoder struct {
	b     []byte
	n     int // bytes taken
	short bool
	lock  bool
	mode  Mode
	rex   uint8 // the REX prefix, or VEX's bits arranged as one; 0: none
	rep   uint8 // column of the last F2H or F3H: noPrefix, prefixF3, prefixF2
	modrm uint8
}

// Columns of the tables that mandatory prefixes select.
const (
	noPrefix = iota
	prefix66
	prefixF3
	prefixF2
)

// Bits of a REX prefix.
const (
	rexB = 1 << iota
	rexX
	rexR
	rexW
)

// decode fills in. Its Op stays UD where the bytes mean nothing.
func (d *decoder) decode(in *Inst) {
	in.Seg, in.Base, in.Index = DS, NoReg, NoReg
	in.Addr = addressSizes[d.mode][0]
	c := d.prefixes(in)
	var e entry
	if c&0xfe == 0xc4 && d.isVEX() {
		e, c = d.vex(in, c)
	} else {
		e, c = d.opcode(in, c)
	}
	s := &shapes[e.shape]
	if s.flags&modRM != 0 {
		d.modrm = d.byte()
		for e.shape == byReg || e.shape == byRM {
			if e.shape == byReg {
				e = groups[e.op][d.modrm>>3&7|boolean(d.modrm >= 0xc0)<<3]
			} else {
				e = subgroups[e.op][d.modrm&7]
			}
		}
		s = &shapes[e.shape]
		if s.flags&anyMod != 0 {
			d.modrm |= 0xc0
		}
		if d.modrm < 0xc0 {
			d.memory(in)
		}
	}
	d.operands(in, e, s, c)
	if d.mode != Mode64 {
		in.VReg &= 7 // VEX.vvvv's high bit counts only where no register is named
	}
}

// prefixes takes the prefixes and returns the byte that follows them.
func (d *decoder) prefixes(in *Inst) byte {
	for {
		c := d.byte()
		switch prefixOf[c] {
		case notPrefix:
			return c
		case rexPrefix:
			if d.mode != Mode64 {
				return c
			}
			d.rex = c
			continue
		case flatSegment: // ES, CS, SS, DS
			if d.mode != Mode64 {
				in.Seg = c >> 3 & 3
				in.Prefix |= Segment
			}
		case baseSegment: // FS, GS
			in.Seg = FS + c&1
			in.Prefix |= Segment
		case opSizePrefix:
			in.Prefix |= OpSize
		case addrSizePrefix:
			in.Addr = addressSizes[d.mode][1]
		case repPrefix:
			d.rep = prefixF3
		case repnePrefix:
			d.rep = prefixF2
		case lockPrefix:
			d.lock = true
		}
		d.rex = 0 // counts only right before the opcode
	}
}

// opcode finds the entry of the opcode that begins with c; it returns the
// opcode's last byte too.
func (d *decoder) opcode(in *Inst, c byte) (entry, byte) {
	if d.rex != 0 {
		in.Prefix |= REX
		if d.rex&rexW != 0 {
			in.Prefix |= REXW
		}
	}
	var e entry
	if c != 0x0f {
		e = oneByte[c]
		if c == 0x63 && d.mode == Mode64 {
			e = entry{MOVSXD, gvEd, 0}
		}
	} else {
		c = d.byte()
		e = twoByte[c]
		if e.shape == byPrefix {
			column := d.rep
			if column == noPrefix && in.Prefix&OpSize != 0 {
				column = prefix66
			}
			switch c {
			case 0x38:
				c = d.byte()
				return map38[c][column], c
			case 0x3a:
				c = d.byte()
				return map3A[c][column], c
			}
			return twoByteSSE[c][column], c
		}
	}
	switch d.rep {
	case prefixF3:
		in.Prefix |= Rep
	case prefixF2:
		in.Prefix |= Repne
	}
	return e, c
}

// operands fills in what the entry e of shape s says. c is the last byte of the
// opcode.
func (d *decoder) operands(in *Inst, e entry, s *shape, c byte) {
	in.Op, in.Form = e.op, s.form
	if in.Size = sizes[s.size][d.variant(in)]; s.size == sA {
		in.Size = in.Addr
	}
	in.CC = c & 15

	switch {
	case s.flags&modRM != 0:
		d.registers(in, s)
	case s.flags&opReg != 0:
		in.RM = c & 7
		if d.rex&rexB != 0 {
			in.RM |= 8
		}
		if s.flags&rm8 != 0 && d.rex == 0 && in.RM >= 4 {
			in.RM += AH - 4
		}
	case s.flags&opSeg != 0:
		in.Reg = c >> 3 & 7
	}
	if s.imm != immNone {
		d.immediate(in, s.imm)
	}
	in.MSize = d.memorySize(in, s.msize)

	bad := false
	switch f := e.flags; {
	case f == 0:
	case f&no64 != 0 && d.mode == Mode64,
		f&only64 != 0 && d.mode != Mode64,
		f&memOnly != 0 && in.Prefix&Mem == 0,
		f&regOnly != 0 && in.Prefix&Mem != 0:
		bad = true
	}
	if d.lock {
		in.Prefix |= Lock
		bad = bad || e.flags&lockable == 0 || in.Prefix&Mem == 0
	}
	if s.fix != fixNone {
		bad = bad || !d.fix(in, s.fix)
	}
	if bad {
		in.Op = UD
	}
}

// registers sets Reg and RM from ModRM.
func (d *decoder) registers(in *Inst, s *shape) {
	reg, rm := d.modrm>>3&7, d.modrm&7
	if s.flags&(reg8|rm8) != 0 && d.rex == 0 {
		if s.flags&reg8 != 0 && reg >= 4 {
			reg += AH - 4
		}
		if s.flags&rm8 != 0 && rm >= 4 {
			rm += AH - 4
		}
	}
	if d.rex&rexR != 0 && s.flags&reg3 == 0 {
		reg |= 8
	}
	if d.rex&rexB != 0 && s.flags&rm3 == 0 {
		rm |= 8
	}
	in.Reg = reg
	if in.Prefix&Mem == 0 {
		in.RM = rm
	}
}

// fix does what no table says. It reports whether the instruction exists.
func (d *decoder) fix(in *Inst, f fix) bool {
	switch f {
	case fixNOP: // XCHG rAX,rAX is none; with REX.B it is XCHG R8,rAX
		if in.RM == 0 {
			in.Op, in.Form = NOP, FormNone
			if in.Prefix&Rep != 0 {
				in.Op = PAUSE
				in.Prefix &^= Rep
			}
		}
	case fixW: // the next operation where REX.W is set
		if d.rex&rexW != 0 {
			in.Op++
		}
	case fixFromSeg:
		return in.Reg <= GS
	case fixToSeg:
		return in.Reg <= GS && in.Reg != CS
	case fixCR:
		return in.Reg < 16 && 1<<in.Reg&(1<<0|1<<2|1<<3|1<<4|1<<8) != 0
	case fixDR:
		return in.Reg < 8
	case fixVVVV:
		return in.VReg == 0
	}
	return true
}

// variant is the column of sizes that the mode and the prefixes select.
func (d *decoder) variant(in *Inst) uint8 {
	v := uint8(d.mode) << 2
	if in.Prefix&OpSize != 0 {
		v |= 2
	}
	if d.rex&rexW != 0 {
		v |= 1
	}
	return v
}

func boolean(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
