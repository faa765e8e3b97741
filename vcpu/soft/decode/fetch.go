package decode

import "encoding/binary"

// byte takes one byte.
func (d *decoder) byte() byte {
	if d.n < len(d.b) {
		c := d.b[d.n]
		d.n++
		return c
	}
	d.short = true
	return 0
}

// take takes n bytes. It returns nil where there are fewer.
func (d *decoder) take(n int) []byte {
	if len(d.b)-d.n < n {
		d.short = true
		d.n = len(d.b)
		return nil
	}
	d.n += n
	return d.b[d.n-n : d.n]
}

// word takes two bytes, zero-extended.
func (d *decoder) word() uint64 {
	if b := d.take(2); len(b) == 2 {
		return uint64(binary.LittleEndian.Uint16(b))
	}
	return 0
}

// long takes four bytes, zero-extended.
func (d *decoder) long() uint64 {
	if b := d.take(4); len(b) == 4 {
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return 0
}

// quad takes eight bytes.
func (d *decoder) quad() uint64 {
	if b := d.take(8); len(b) == 8 {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// immediate takes an immediate into Imm and Imm2.
func (d *decoder) immediate(in *Inst, i imm) {
	switch i {
	case imm1:
		in.Imm = 1
	case imm8:
		in.Imm = uint64(int8(d.byte()))
	case immU8:
		in.Imm = uint64(d.byte())
	case immU16:
		in.Imm = d.word()
	case immV:
		if in.Size == 8 {
			in.Imm = d.quad()
			break
		}
		fallthrough
	case immZ:
		if in.Size == 2 {
			in.Imm = uint64(int16(d.word()))
		} else {
			in.Imm = uint64(int32(d.long()))
		}
	case immFar:
		if in.Size == 2 {
			in.Imm = d.word()
		} else {
			in.Imm = d.long()
		}
		in.Imm2 = uint16(d.word())
	case immEnter:
		in.Imm = d.word()
		in.Imm2 = uint16(d.byte() & 31)
	case immMoffs:
		in.Prefix |= Mem
		switch in.Addr {
		case 2:
			in.Disp = d.word()
		case 4:
			in.Disp = d.long()
		default:
			in.Disp = d.quad()
		}
	}
}

// base16 and index16 are the registers of ModRM.rm with 16-bit addresses.
var (
	base16  = [8]uint8{3, 3, 5, 5, 6, 7, 5, 3}
	index16 = [8]uint8{6, 7, 6, 7, NoReg, NoReg, NoReg, NoReg}
)

// memory takes the SIB byte and the displacement that ModRM asks for, and sets
// what is known of a memory operand.
func (d *decoder) memory(in *Inst) {
	in.Prefix |= Mem
	mod, rm := d.modrm>>6, d.modrm&7
	if in.Addr == 2 {
		in.Base, in.Index = base16[rm], index16[rm]
		switch {
		case mod == 0 && rm == 6:
			in.Base = NoReg
			in.Disp = d.word()
		case mod == 1:
			in.Disp = uint64(int8(d.byte()))
		case mod == 2:
			in.Disp = uint64(int16(d.word()))
		}
		d.stackSegment(in, 5)
		return
	}
	in.Base = rm
	if d.rex&rexB != 0 {
		in.Base |= 8
	}
	if rm == 4 {
		sib := d.byte()
		in.Scale = sib >> 6
		rm = sib & 7 // the displacement's size depends on the base's low bits now
		in.Base = in.Base&8 | rm
		in.Index = sib >> 3 & 7
		if d.rex&rexX != 0 {
			in.Index |= 8
		}
		if in.Index == 4 {
			in.Index, in.Scale = NoReg, 0
		}
	}
	switch {
	case mod == 0 && rm == 5:
		if in.Base = NoReg; d.mode == Mode64 && d.modrm&7 == 5 {
			in.Base = RIP
		}
		in.Disp = uint64(int32(d.long()))
	case mod == 1:
		in.Disp = uint64(int8(d.byte()))
	case mod == 2:
		in.Disp = uint64(int32(d.long()))
	}
	d.stackSegment(in, 4)
	d.stackSegment(in, 5)
}

// stackSegment makes SS the segment of an operand with base r that names none.
func (d *decoder) stackSegment(in *Inst, r uint8) {
	if in.Base == r && in.Prefix&Segment == 0 {
		in.Seg = SS
	}
}

// memorySize is rm's size in bytes.
func (d *decoder) memorySize(in *Inst, m msize) uint8 {
	switch m {
	case mSame:
		return in.Size
	case mFar:
		return in.Size + 2
	case mTwice:
		return 2 * in.Size
	case mTable:
		if d.mode == Mode64 {
			return 10
		}
		return 6
	case mD:
		return min(in.Size, 4)
	case mV:
		return sizes[sV][d.variant(in)]
	case m1OrReg, m2OrReg, m4OrReg:
		if in.Prefix&Mem == 0 {
			return in.Size
		}
		return 1 << (m - m1OrReg)
	}
	return uint8(m)
}
