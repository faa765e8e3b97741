package soft

import (
	"encoding/binary"

	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/float"
)

// load80 reads a 10-byte operand into c.image.
func (c *CPU) load80(in *decode.Inst) ([]byte, bool) {
	p := c.image[:10]
	return p, c.loadBytes(in.Seg, c.offset(in), p)
}

func (c *CPU) store80(in *decode.Inst, v float.F80) bool {
	p := c.image[:10]
	putF80(p, v)
	return c.storeBytes(in.Seg, c.offset(in), p)
}

func getF80(p []byte) float.F80 {
	return float.F80{Man: binary.LittleEndian.Uint64(p), SE: binary.LittleEndian.Uint16(p[8:])}
}

func putF80(p []byte, v float.F80) {
	binary.LittleEndian.PutUint64(p, v.Man)
	binary.LittleEndian.PutUint16(p[8:], v.SE)
}

// x87Load executes FLD. Its siblings FILD and FBLD are x87Move's.
func (c *CPU) x87Load(in *decode.Inst) bool {
	f := &c.fpu
	e := f.env()
	if in.Prefix&decode.Mem == 0 {
		v := f.st(in.RM)
		if f.empty(in.RM) {
			underflow(&e)
			v = float.Indefinite80
		}
		f.push(&e, v)
		return true
	}
	var v float.F80
	if in.MSize == 10 {
		p, ok := c.load80(in)
		if !ok {
			return false
		}
		v = getF80(p)
	} else {
		m, ok := c.load(in, in.MSize)
		switch {
		case !ok:
			return false
		case in.MSize == 4:
			v = e.Load32(uint32(m))
		default:
			v = e.Load64(m)
		}
	}
	f.push(&e, v)
	return true
}

// x87Move executes the loads, stores and exchanges but FLD.
func (c *CPU) x87Move(in *decode.Inst) bool {
	f := &c.fpu
	switch in.Op {
	case decode.FST, decode.FSTP:
		if in.Prefix&decode.Mem == 0 {
			return c.x87Copy(in)
		}
		return c.x87Store(in)
	case decode.FIST, decode.FISTP, decode.FISTTP, decode.FBSTP:
		return c.x87Store(in)
	case decode.FILD:
		m, ok := c.load(in, in.MSize)
		if !ok {
			return false
		}
		e := f.env()
		f.push(&e, e.LoadInt(int64(signed(m, in.MSize))))
	case decode.FBLD:
		p, ok := c.load80(in)
		if !ok {
			return false
		}
		e := f.env()
		f.push(&e, e.LoadBCD(float.BCD(p)))
	case decode.FXCH:
		c.x87Exchange(in.RM)
	case decode.FFREE:
		f.status &^= swC1
		f.free(in.RM)
	case decode.FFREEP:
		f.status &^= swC1
		f.free(in.RM)
		f.pop()
	}
	return true
}

// x87Copy is FST and FSTP to a register.
func (c *CPU) x87Copy(in *decode.Inst) bool {
	f := &c.fpu
	e := f.env()
	v := f.st(0)
	if f.empty(0) {
		underflow(&e)
		v = float.Indefinite80
	}
	if f.report(&e) {
		return true
	}
	f.setST(in.RM, v)
	if in.Op == decode.FSTP {
		f.pop()
	}
	return true
}

// x87Store stores to memory. Nothing is stored nor popped where anything but Inexact
// is raised unmasked, and nothing changes where the store faults.
func (c *CPU) x87Store(in *decode.Inst) bool {
	f := &c.fpu
	e := f.env()
	a := f.st(0)
	if f.empty(0) {
		underflow(&e)
		a = float.Indefinite80
	}
	n := a.Num()
	var v uint64
	var bcd float.BCD
	pop := true
	switch in.Op {
	case decode.FST, decode.FSTP:
		pop = in.Op == decode.FSTP
		switch in.MSize {
		case 4:
			v = uint64(e.Store32(n))
		case 8:
			v = e.Store64(n)
		}
	case decode.FISTTP:
		v = uint64(e.StoreInt(n, 8*uint(in.MSize), float.Zero))
	case decode.FBSTP:
		bcd = e.StoreBCD(n)
	default:
		pop = in.Op == decode.FISTP
		v = uint64(e.StoreInt(n, 8*uint(in.MSize), e.Rounding))
	}
	stop := e.Raised()&^float.Inexact != 0
	if !stop {
		var ok bool
		switch {
		case in.MSize != 10:
			ok = c.store(in, in.MSize, v)
		case in.Op == decode.FBSTP:
			p := c.image[:10]
			copy(p, bcd[:])
			ok = c.storeBytes(in.Seg, c.offset(in), p)
		default:
			ok = c.store80(in, a)
		}
		if !ok {
			return false
		}
	}
	f.report(&e)
	if !stop && pop {
		f.pop()
	}
	return true
}

// x87Exchange is FXCH. Empty registers become the indefinite first.
func (c *CPU) x87Exchange(i uint8) {
	f := &c.fpu
	e := f.env()
	a, b := f.st(0), f.st(i)
	if f.empty(0) {
		underflow(&e)
		a = float.Indefinite80
	}
	if f.empty(i) {
		underflow(&e)
		b = float.Indefinite80
	}
	if !f.report(&e) {
		f.setST(0, b)
		f.setST(i, a)
	}
}

// x87Cmov executes FCMOVcc.
func (c *CPU) x87Cmov(in *decode.Inst) bool {
	f := &c.fpu
	e := f.env()
	if f.empty(0) || f.empty(in.RM) {
		underflow(&e)
		if !f.report(&e) {
			f.setST(0, float.Indefinite80)
		}
		return true
	}
	// The condition codes B, E, BE and U (P), then their opposites.
	op := uint8(in.Op - decode.FCMOVB)
	if c.cond([4]uint8{2, 4, 6, 10}[op&3] | op>>2) {
		f.setST(0, f.st(in.RM))
	}
	return true
}
