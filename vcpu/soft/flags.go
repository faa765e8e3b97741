package soft

import "math/bits"

// Bits of RFLAGS.
const (
	flagCF   = 1 << 0
	flagPF   = 1 << 2
	flagAF   = 1 << 4
	flagZF   = 1 << 6
	flagSF   = 1 << 7
	flagTF   = 1 << 8
	flagIF   = 1 << 9
	flagDF   = 1 << 10
	flagOF   = 1 << 11
	flagIOPL = 3 << 12
	flagNT   = 1 << 14
	flagRF   = 1 << 16
	flagVM   = 1 << 17
	flagAC   = 1 << 18
	flagVIF  = 1 << 19
	flagVIP  = 1 << 20
	flagID   = 1 << 21

	flagsArith = flagCF | flagPF | flagAF | flagZF | flagSF | flagOF
)

// The arithmetic flags are kept as what they are computed from: a kind, which
// is a class and the operand size, the result flagR and a second value flagB.
// An instruction that nobody asks for its flags pays three stores.
const (
	classReady = iota << 2 // flagR holds the six bits as in RFLAGS
	classOver              // flagsBefore, but the bits of flagR are those of flagB
	classAdd               // flagB: second source
	classAdc               // the same with a carry in of 1
	classSub
	classSbb // a borrow in of 1
	classLogic
	classInc // flagB: CF before
	classDec
	classShl // flagB: the operand before the last of the single shifts
	classShr
)

// size8 to size64 are log2 of the operand size in bytes: the low bits of a kind.
const (
	size8 = iota
	size16
	size32
	size64
)

// log2 is the size class of 1, 2, 4 or 8 bytes.
func log2(size uint8) uint8 { return uint8(bits.TrailingZeros8(size)) }

// sizeMask is the mask of a value of n bytes, n 1 to 8.
func sizeMask(n uint8) uint64 { return ^uint64(0) >> (64 - 8*uint(n)) }

// lazy sets the arithmetic flags to be computed when asked for. r is masked to
// the size.
func (c *CPU) lazy(class, log uint8, r, b uint64) {
	c.flagKind, c.flagR, c.flagB = class|log, r, b
}

// lazyFlags are the arithmetic flags as they are kept.
type lazyFlags struct {
	kind uint8
	r, b uint64
}

// override sets the flags of mask to those of v and keeps the others, whatever they
// will turn out to be.
func (c *CPU) override(mask, v uint64) {
	if c.flagKind == classOver {
		c.flagR |= mask
		c.flagB = c.flagB&^mask | v
		return
	}
	c.flagsBefore = lazyFlags{c.flagKind, c.flagR, c.flagB}
	c.flagKind, c.flagR, c.flagB = classOver, mask, v
}

// setArith sets the six arithmetic flags to those of v.
func (c *CPU) setArith(v uint64) {
	c.flagKind, c.flagR = classReady, v&flagsArith
}

// arith computes the six arithmetic flags.
func (c *CPU) arith() uint64 {
	class, log := c.flagKind&^3, c.flagKind&3
	switch class {
	case classReady:
		return c.flagR
	case classOver:
		mask, v, b := c.flagR, c.flagB, &c.flagsBefore
		c.flagKind, c.flagR, c.flagB = b.kind, b.r, b.b
		v |= c.arith() &^ mask
		c.setArith(v)
		return v
	}
	width := 8 << log
	mask := ^uint64(0) >> (64 - width)
	sign := uint(width - 1)
	r, b := c.flagR, c.flagB
	var cf, af, of uint64
	switch class {
	case classAdd, classAdc:
		a := r - b
		if class == classAdc {
			a--
		}
		carries := a&b | (a|b)&^r
		cf, of, af = carries>>sign&1, (a^r)&(b^r)>>sign&1, (a^b^r)&flagAF
	case classSub, classSbb:
		a := r + b
		if class == classSbb {
			a++
		}
		borrows := ^a&b | (^a|b)&r
		cf, of, af = borrows>>sign&1, (a^b)&(a^r)>>sign&1, (a^b^r)&flagAF
	case classInc:
		cf = b
		if r == 1<<sign {
			of = 1
		}
		if r&15 == 0 {
			af = flagAF
		}
	case classDec:
		cf = b
		if r == mask>>1 {
			of = 1
		}
		if r&15 == 15 {
			af = flagAF
		}
	case classShl:
		cf, of, af = b>>sign&1, (b^r)>>sign&1, flagAF
	case classShr:
		cf, of, af = b&1, (b^r)>>sign&1, flagAF
	}
	v := cf | af | of<<11 | r>>sign&1<<7
	if r == 0 {
		v |= flagZF
	}
	if bits.OnesCount8(uint8(r))&1 == 0 {
		v |= flagPF
	}
	c.setArith(v)
	return v
}

// carry is CF.
func (c *CPU) carry() uint64 {
	class, log := c.flagKind&^3, c.flagKind&3
	switch class {
	case classReady:
		return c.flagR & flagCF
	case classOver:
		if c.flagR&flagCF != 0 {
			return c.flagB & flagCF
		}
	case classLogic:
		return 0
	case classInc, classDec:
		return c.flagB
	case classSub:
		mask := ^uint64(0) >> (64 - 8<<log)
		return lessBit((c.flagR+c.flagB)&mask, c.flagB&mask)
	case classAdd:
		mask := ^uint64(0) >> (64 - 8<<log)
		return lessBit(c.flagR, c.flagB&mask)
	case classAdc: // no more than the source, if something was carried
		mask := ^uint64(0) >> (64 - 8<<log)
		return 1 - lessBit(c.flagB&mask, c.flagR)
	case classSbb:
		mask := ^uint64(0) >> (64 - 8<<log)
		return 1 - lessBit(c.flagB&mask, (c.flagR+c.flagB+1)&mask)
	}
	return c.arith() & flagCF
}

func lessBit(a, b uint64) uint64 {
	_, borrow := bits.Sub64(a, b, 0)
	return borrow
}

// zero is ZF.
func (c *CPU) zero() bool {
	if c.flagKind < classAdd {
		return c.arith()&flagZF != 0
	}
	return c.flagR == 0
}

// sign is SF.
func (c *CPU) sign() bool {
	if c.flagKind < classAdd {
		return c.arith()&flagSF != 0
	}
	return c.flagR>>(8<<(c.flagKind&3)-1) != 0
}

// cond evaluates a condition code, 0 (O) to 15 (NLE).
func (c *CPU) cond(cc uint8) bool {
	var v bool
	switch cc >> 1 {
	case 0:
		v = c.arith()&flagOF != 0
	case 1:
		v = c.carry() != 0
	case 2:
		v = c.zero()
	case 3:
		v = c.carry() != 0 || c.zero()
	case 4:
		v = c.sign()
	case 5:
		if c.flagKind < classAdd {
			v = c.arith()&flagPF != 0
		} else {
			v = bits.OnesCount8(uint8(c.flagR))&1 == 0
		}
	case 6:
		v = c.less()
	case 7:
		v = c.less() || c.zero()
	}
	return v != (cc&1 != 0)
}

// less is SF != OF.
func (c *CPU) less() bool {
	switch c.flagKind &^ 3 {
	case classSub:
		shift := 64 - 8<<(c.flagKind&3)
		return int64((c.flagR+c.flagB)<<shift) < int64(c.flagB<<shift)
	case classLogic:
		return c.sign()
	}
	v := c.arith()
	return v>>7&1 != v>>11&1
}

// RFLAGS returns the whole register.
func (c *CPU) RFLAGS() uint64 { return c.rflags | c.arith() | 2 }

// setRFLAGS sets the bits of mask to those of v. Bit 1 is 1 and the reserved ones
// stay 0. What follows from IF, TF and AC is brought up to date.
func (c *CPU) setRFLAGS(v, mask uint64) {
	const known = flagsArith | flagTF | flagIF | flagDF | flagIOPL | flagNT | flagRF | flagVM | flagAC | flagVIF | flagVIP | flagID
	mask &= known
	now := (c.RFLAGS()&^mask | v&mask) & known
	changed := now ^ c.rflags
	c.setArith(now)
	c.rflags = now &^ flagsArith
	if changed&(flagAC|flagVM) != 0 {
		c.updateMode()
	}
}
