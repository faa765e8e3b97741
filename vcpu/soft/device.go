package soft

import "gvmm/vcpu"

// LocalAPIC is a processor's interrupt controller: irqchip.Local.
type LocalAPIC interface {
	// Pending reports, by one load, that a vector is deliverable.
	Pending() bool
	// Acknowledge takes the vector; false if there is none any more.
	Acknowledge() (vector uint8, ok bool)
	EOI()
	ReadMMIO(off uint64, p []byte)
	WriteMMIO(off uint64, p []byte)
	ReadMSR(msr uint32) (uint64, bool)
	WriteMSR(msr uint32, v uint64) bool
	// Base is where the xAPIC's page is; mmio is false in x2APIC mode or where it is disabled.
	Base() (addr uint64, mmio bool)
	X2APIC() bool
	TPR() uint8
	SetTPR(v uint8)
	// Notify sends the interrupt that SENDUIPI owes its receiver.
	Notify(vector uint8, destination uint32)
	// Deadline is the TSC at which the timer fires next, all ones for never.
	Deadline() uint64
	Tick(now uint64)
	Reset()
}

// readDevice reads 1 to 4096 bytes of what is not RAM, in parts of at most 8.
func (c *CPU) readDevice(pa uint64, p []byte) {
	for len(p) > 0 {
		n := part(pa, len(p))
		if base, mmio := c.apic.Base(); mmio && pa&^0xfff == base {
			c.apic.ReadMMIO(pa&0xfff, p[:n])
			c.modelled(vcpu.APICAccess, pa, n, little(p[:n]))
		} else {
			c.exits.Count(vcpu.MemoryRead)
			c.handler.MemoryRead(pa, p[:n])
			c.traceExit(vcpu.MemoryRead, pa, n, little(p[:n]))
		}
		p, pa = p[n:], pa+uint64(n)
	}
}

// writeDevice writes 1 to 4096 bytes to what is not RAM.
func (c *CPU) writeDevice(pa uint64, p []byte) {
	for len(p) > 0 {
		n := part(pa, len(p))
		if base, mmio := c.apic.Base(); mmio && pa&^0xfff == base {
			c.modelled(vcpu.APICAccess, pa, n, little(p[:n]))
			c.apic.WriteMMIO(pa&0xfff, p[:n])
			c.lookAPIC() // EOI and TPR let in what waited
		} else {
			c.exits.Count(vcpu.MemoryWrite)
			c.traceExit(vcpu.MemoryWrite, pa, n, little(p[:n]))
			c.handler.MemoryWrite(pa, p[:n])
		}
		p, pa = p[n:], pa+uint64(n)
	}
}

// part is the longest aligned access of 1, 2, 4 or 8 bytes at the start of n bytes.
func part(pa uint64, n int) int {
	for size := 8; size > 1; size /= 2 {
		if n >= size && pa&uint64(size-1) == 0 {
			return size
		}
	}
	return 1
}

// modelled counts an exit that a host without posted interrupts and APIC
// virtualisation would take. This processor never does.
func (c *CPU) modelled(cause vcpu.Cause, addr uint64, size int, value uint64) {
	if !c.config.Posted {
		c.exits.Count(cause)
		c.traceExit(cause, addr, size, value)
	}
}
