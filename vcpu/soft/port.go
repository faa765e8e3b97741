package soft

import (
	"gvmm/vcpu"
	"gvmm/vcpu/soft/decode"
)

// ioAllowed judges an access to ports: IOPL, or the TSS's I/O permission bitmap
// (SDM 1 §19.5). A failure is #GP(0), or the bitmap's own page fault.
func (c *CPU) ioAllowed(port uint16, size uint8) bool {
	if c.real() || !c.v86() && uint64(c.cpl) <= c.rflags>>12&3 {
		return true
	}
	t := &c.seg[tr]
	if t.null || t.attr&attrType|busyBit != typeTSSBusy || tssMinimum > t.limit {
		return c.gp0()
	}
	base, ok := c.readSystem(t.base+tssIOMap, 2)
	if !ok {
		return false
	}
	at := base + uint64(port)>>3
	if at+1 > uint64(t.limit) {
		return c.gp0()
	}
	bits, ok := c.readSystem(t.base+at, 2)
	if !ok {
		return false
	}
	if bits>>(port&7)&(1<<size-1) != 0 {
		return c.gp0()
	}
	return true
}

// portIn reads 1, 2 or 4 bytes of a port.
func (c *CPU) portIn(port uint16, size uint8) uint32 {
	c.watchPort(port, size)
	c.exits.Count(vcpu.PortRead)
	b := c.sys.port[:size]
	c.handler.PortRead(port, b)
	v := uint32(little(b))
	c.traceExit(vcpu.PortRead, uint64(port), int(size), uint64(v))
	return v
}

// portOut writes 1, 2 or 4 bytes to a port.
func (c *CPU) portOut(port uint16, size uint8, v uint32) {
	c.watchPort(port, size)
	c.exits.Count(vcpu.PortWrite)
	c.traceExit(vcpu.PortWrite, uint64(port), int(size), uint64(v))
	b := c.sys.port[:size]
	putLittle(b, uint64(v))
	c.handler.PortWrite(port, b)
}

// portMove is IN and OUT. The port is an immediate, or DX.
func (c *CPU) portMove(in *decode.Inst) bool {
	port := uint16(c.r[rdx])
	if in.Form == decode.FormMI {
		port = uint16(in.Imm)
	}
	if !c.ioAllowed(port, in.Size) {
		return false
	}
	if in.Op == decode.IN {
		c.set(rax, in.Size, uint64(c.portIn(port, in.Size)))
	} else {
		c.portOut(port, in.Size, uint32(c.get(rax, in.Size)))
	}
	return true
}
