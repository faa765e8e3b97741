package soft

import (
	"encoding/binary"
	"errors"

	"gvmm/vcpu"
	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/simd"
)

// errNotCanonical is an address that a register cannot hold.
var errNotCanonical = errors.New("soft: RIP or a segment's base is not canonical")

// Registers implements vcpu.Debuggable.
func (c *CPU) Registers(r *vcpu.Registers) error {
	*r = vcpu.Registers{
		RIP: c.rip, RFLAGS: c.RFLAGS(),
		FSBase: c.seg[fs].base, GSBase: c.seg[gs].base, KernelGSBase: c.msr.kernelGSBase,
		CR0: c.cr0, CR2: c.cr2, CR3: c.cr3, CR4: c.cr4, CR8: uint64(c.apic.TPR() >> 4), EFER: c.efer,
		MXCSR: c.mxcsr,
	}
	copy(r.General[:], c.r[:16])
	for i := range r.Selectors {
		r.Selectors[i] = c.seg[i].sel
	}
	for i, v := range c.xmm {
		binary.LittleEndian.PutUint64(r.XMM[i][:], v.Lo)
		binary.LittleEndian.PutUint64(r.XMM[i][8:], v.Hi)
	}
	f := &c.fpu
	r.X87 = vcpu.X87{
		Control: f.control, Status: f.status, Tag: uint8(f.tag), Opcode: f.opcode,
		Instruction: f.ip, Data: f.dp, InstructionSel: f.cs, DataSel: f.ds,
	}
	for i := range r.X87.ST {
		putF80(r.X87.ST[i][:], f.reg[(f.status>>swTopShift+uint16(i))&7])
	}
	return nil
}

// SetRegisters implements vcpu.Debuggable.
func (c *CPU) SetRegisters(r *vcpu.Registers) error {
	var now vcpu.Registers
	_ = c.Registers(&now)
	if err := r.CheckFixed(&now); err != nil {
		return err
	}
	switch {
	case c.mode == decode.Mode64 && !c.canonical(r.RIP), c.mode != decode.Mode64 && r.RIP>>32 != 0,
		!canonicalWide(r.FSBase), !canonicalWide(r.GSBase), !canonicalWide(r.KernelGSBase):
		return errNotCanonical
	}
	copy(c.r[:16], r.General[:])
	if r.RIP != c.rip {
		c.rip, c.next = r.RIP, r.RIP
		c.halted, c.sys.wait.active = false, false
		c.shadow = 0
		c.pending.And(^pendingShadow)
	}
	if r.RFLAGS != now.RFLAGS {
		c.setRFLAGS(r.RFLAGS, ^uint64(flagVM))
		c.ignore = 0
		c.updateStep()
	}
	c.setBase(fs, r.FSBase)
	c.setBase(gs, r.GSBase)
	c.msr.kernelGSBase = r.KernelGSBase
	for i, b := range r.XMM {
		c.xmm[i] = simd.Vec{Lo: binary.LittleEndian.Uint64(b[:]), Hi: binary.LittleEndian.Uint64(b[8:])}
	}
	c.mxcsr = r.MXCSR & mxcsrMask
	if r.X87 != now.X87 {
		c.setX87(&r.X87)
	}
	return nil
}

// setX87 loads the x87 unit as FXRSTOR would.
func (c *CPU) setX87(x *vcpu.X87) {
	f := &c.fpu
	f.control = x.Control&cwWritable | cwOnes
	f.status = x.Status &^ (swES | swB)
	if f.status&^f.control&swExceptions != 0 {
		f.status |= swES | swB
	}
	f.tag, f.opcode = uint16(x.Tag), x.Opcode&0x7ff
	f.ip, f.dp, f.cs, f.ds = x.Instruction, x.Data, x.InstructionSel, x.DataSel
	for i := range x.ST {
		f.reg[(f.status>>swTopShift+uint16(i))&7] = getF80(x.ST[i][:])
	}
}
