package soft

import (
	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/float"
)

// Bits of the x87 status word (SDM 1 §8.1.3).
const (
	swExceptions = 0x3f
	swStackFault = 1 << 6
	swES         = 1 << 7 // an unmasked exception is pending
	swC0         = 1 << 8
	swC1         = 1 << 9
	swC2         = 1 << 10
	swTop        = 7 << 11
	swC3         = 1 << 14
	swB          = 1 << 15
	swTopShift   = 11
)

// The x87 control word (SDM 1 §8.1.5): what FNINIT loads, and what it can hold.
const (
	cwInit     = 0x037f
	cwWritable = 0x1f7f // infinity control, RC, PC, masks and bit 6,
	cwOnes     = 1 << 6 // which is always 1
	cwMasks    = 0x3f
)

// stackFault rides along with an Env's flags as SF does with the status word's. It
// is always masked: Invalid comes with it.
const stackFault = float.Flags(swStackFault)

// x87 executes an instruction of group X87. Exceptions that it raises unmasked stay
// pending until the next waiting instruction (SDM 1 §8.6), which is #MF; with CR0.NE
// clear, where they go to a pin that nothing is wired to, they are ignored.
func (c *CPU) x87(in *decode.Inst) bool {
	f := &c.fpu
	if in.Op == decode.FWAIT {
		if c.cr0&(cr0MP|cr0TS) == cr0MP|cr0TS {
			return c.raise(vectorNM)
		}
		return !c.x87Waits()
	}
	if c.cr0&(cr0EM|cr0TS) != 0 {
		return c.raise(vectorNM)
	}
	switch in.Op {
	case decode.FNSTCW, decode.FNSTSW, decode.FNSTENV, decode.FNSAVE, decode.FNCLEX, decode.FNINIT, decode.FNSETPM:
		return c.x87Control(in)
	}
	if c.x87Waits() {
		return false
	}
	var ok bool
	switch op := in.Op; {
	case op >= decode.FCOM && op <= decode.FUCOMIP:
		ok = c.x87Compare(in)
	case op <= decode.FIDIVR:
		ok = c.x87Arith(in)
	case op <= decode.FLD:
		ok = c.x87Load(in)
	case op <= decode.FFREEP:
		ok = c.x87Move(in)
	case op <= decode.FCOS:
		ok = c.x87Function(in)
	case op <= decode.FCMOVNU:
		ok = c.x87Cmov(in)
	default:
		return c.x87Control(in)
	}
	if ok {
		f.ip, f.cs = c.rip, c.seg[cs].sel
		if in.Prefix&decode.Mem != 0 {
			f.dp, f.ds = c.offset(in), c.seg[in.Seg&7].sel
		}
		if f.status&swES != 0 {
			c.x87Opcode(in)
		}
	}
	return ok
}

// x87Waits reports that a pending exception was raised as #MF.
func (c *CPU) x87Waits() bool {
	if c.fpu.status&swES != 0 && c.cr0&cr0NE != 0 {
		c.raise(vectorMF)
		return true
	}
	return false
}

// x87Opcode keeps the opcode of an instruction that raised an unmasked exception
// (SDM 1 §8.1.9), which its decoded form has forgotten.
func (c *CPU) x87Opcode(in *decode.Inst) {
	b := c.image[:in.Len]
	c.fpu.opcode = 0
	if !c.readAcross(c.wrap(c.rip+c.bases[cs]), b, accessFetch) {
		return
	}
	for i := 0; i+1 < len(b); i++ {
		if b[i]&0xf8 == 0xd8 {
			c.fpu.opcode = uint16(b[i]&7)<<8 | uint16(b[i+1])
			return
		}
	}
}

// x87Reset is what FNINIT does.
func (c *CPU) x87Reset() {
	f := &c.fpu
	f.control, f.status, f.tag = cwInit, 0, 0
	f.ip, f.dp, f.cs, f.ds, f.opcode = 0, 0, 0, 0, 0
}

// env is the environment of one x87 operation.
func (f *x87State) env() float.Env {
	e := float.FromControl(f.control)
	e.Masks |= stackFault
	return e
}

// phys is the register that is ST(i).
func (f *x87State) phys(i uint8) uint8 { return (uint8(f.status>>swTopShift) + i) & 7 }

func (f *x87State) st(i uint8) float.F80 { return f.reg[f.phys(i)&7] }

func (f *x87State) empty(i uint8) bool { return f.tag>>f.phys(i)&1 == 0 }

func (f *x87State) setST(i uint8, v float.F80) {
	p := f.phys(i) & 7
	f.reg[p] = v
	f.tag |= 1 << p
}

func (f *x87State) free(i uint8) { f.tag &^= 1 << f.phys(i) }

// rotate moves the top of stack.
func (f *x87State) rotate(n uint16) {
	f.status = f.status&^swTop | (f.status+n<<swTopShift)&swTop
}

func (f *x87State) pop() {
	f.free(0)
	f.rotate(1)
}

// underflow raises a stack underflow: an operand's register is empty.
func underflow(e *float.Env) { e.Flags |= float.Invalid | stackFault }

// report merges what an operation raised into the status word, and C1. It is true
// if the operation's result must not be used.
func (f *x87State) report(e *float.Env) (stop bool) {
	f.status = f.status&^swC1 | uint16(e.Flags)
	if e.C1 {
		f.status |= swC1
	}
	if e.Raised() != 0 {
		f.status |= swES | swB
	}
	return e.Raised()&float.Before != 0
}

// push reports and pushes v, also where Denormal is unmasked. A full stack is an
// overflow: nothing else was raised then, and the indefinite is pushed.
func (f *x87State) push(e *float.Env, v float.F80) {
	if !f.empty(7) && e.Flags&stackFault == 0 {
		e.Flags = float.Invalid | stackFault
		e.C1 = true
		v = float.Indefinite80
	}
	f.report(e)
	if e.Raised()&float.Invalid == 0 {
		f.rotate(7)
		f.setST(0, v)
	}
}

// codes sets the condition codes but C1.
func (f *x87State) codes(v uint16) {
	f.status = f.status&^(swC0|swC2|swC3) | v
}

// pending brings ES and B in line with flags and masks, after one of them was
// loaded.
func (f *x87State) pending() {
	f.status &^= swES | swB
	if f.status&^f.control&swExceptions != 0 {
		f.status |= swES | swB
	}
}
