package soft

import (
	"gvmm/uintr"
	"gvmm/vcpu"
)

// Model-specific registers: SDM 4.
const (
	msrTSC            = 0x10
	msrPlatformID     = 0x17
	msrAPICBase       = 0x1b
	msrFeatureControl = 0x3a
	msrTSCAdjust      = 0x3b
	msrSpecCtrl       = 0x48
	msrPredCmd        = 0x49
	msrBIOSUpdate     = 0x79
	msrBIOSSignID     = 0x8b
	msrUMWaitControl  = 0xe1
	msrMTRRCap        = 0xfe
	msrArchCaps       = 0x10a
	msrFlushCmd       = 0x10b
	msrSysenterCS     = 0x174
	msrSysenterESP    = 0x175
	msrSysenterEIP    = 0x176
	msrMCGCap         = 0x179
	msrMCGStatus      = 0x17a
	msrMiscEnable     = 0x1a0
	msrDebugCtl       = 0x1d9
	msrMTRRPhys       = 0x200
	msrPAT            = 0x277
	msrMTRRDefType    = 0x2ff
	msrTSCDeadline    = 0x6e0
	msrX2APIC         = 0x800
	msrX2APICEnd      = 0x83f
	msrXSS            = 0xda0
	msrEFER           = 0xc0000080
	msrSTAR           = 0xc0000081
	msrLSTAR          = 0xc0000082
	msrCSTAR          = 0xc0000083
	msrFMASK          = 0xc0000084
	msrFSBase         = 0xc0000100
	msrGSBase         = 0xc0000101
	msrKernelGSBase   = 0xc0000102
	msrTSCAux         = 0xc0000103
)

const (
	mtrrVariable = 8 // pairs
	mtrrCap      = mtrrVariable | 1<<8 | 1<<10

	miscFastStrings = 1 << 0
	miscNoBTS       = 1 << 11
	miscNoPEBS      = 1 << 12
	miscMonitor     = 1 << 18
	miscLimitCPUID  = 1 << 22
	miscMay         = miscFastStrings | miscMonitor

	// Not vulnerable to anything that the register can tell, and with enhanced IBRS.
	archCaps = 1<<0 | 1<<1 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<8 | 1<<13 | 1<<14 | 1<<15 | 1<<20 | 1<<24 | 1<<26 | 1<<27 | 1<<62

	patReset        = 0x0007040600070406
	microcodeReset  = 0x2b000603 << 32
	featureLocked   = 1
	debugCtlMay     = 1<<0 | 1<<1 // LBR, BTF: state without effect
	specCtrlMay     = 7
	umwaitMay       = 0xffffffff &^ 2
	umwaitControlC0 = 1
)

// fixedMTRRs are the numbers of the fixed-range ones.
var fixedMTRRs = [11]uint32{0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f}

// fixedMTRR is the index of a fixed-range MTRR, or -1.
func fixedMTRR(n uint32) int {
	for i, m := range fixedMTRRs {
		if m == n {
			return i
		}
	}
	return -1
}

// tsc is the guest's time stamp counter.
func (c *CPU) tsc() uint64 { return c.machine.clock.TSC() + c.msr.tscOffset }

// shiftTSC moves the counter by delta. The deadline stays where it is in the
// guest's time.
func (c *CPU) shiftTSC(delta uint64) {
	deadline, armed := c.readDeadline()
	c.msr.tscOffset += delta
	c.msr.tscAdjust += delta
	if armed && deadline != 0 {
		c.writeDeadline(deadline)
	}
}

// readDeadline is IA32_TSC_DEADLINE. The APIC counts in the clock's time.
func (c *CPU) readDeadline() (uint64, bool) {
	v, ok := c.apic.ReadMSR(msrTSCDeadline)
	if ok && v != 0 {
		v += c.msr.tscOffset
	}
	return v, ok
}

func (c *CPU) writeDeadline(v uint64) bool {
	if v != 0 {
		if v <= c.tsc() {
			v = 1 // past: due at once
		} else {
			v -= c.msr.tscOffset
		}
	}
	return c.apic.WriteMSR(msrTSCDeadline, v)
}

// rdmsr is RDMSR.
func (c *CPU) rdmsr() bool {
	if c.cpl != 0 {
		return c.gp0()
	}
	v, ok := c.readMSR(uint32(c.r[rcx]))
	if !ok {
		return c.gp0()
	}
	c.setEDXEAX(v)
	return true
}

// wrmsr is WRMSR.
func (c *CPU) wrmsr() bool {
	if c.cpl != 0 {
		return c.gp0()
	}
	if !c.writeMSR(uint32(c.r[rcx]), c.edxEAX()) {
		return c.gp0()
	}
	return true
}

// readMSR reads a model-specific register; false is #GP(0).
func (c *CPU) readMSR(n uint32) (uint64, bool) {
	m := &c.msr
	switch n {
	case msrTSC:
		return c.tsc(), true
	case msrPlatformID, msrMCGCap, msrMCGStatus, msrBIOSUpdate:
		return 0, n != msrBIOSUpdate
	case msrFeatureControl:
		return m.featureControl, true
	case msrTSCAdjust:
		return m.tscAdjust, true
	case msrSpecCtrl:
		return m.specControl, true
	case msrBIOSSignID:
		return m.microcode, true
	case msrUMWaitControl:
		return m.umwaitControl, true
	case msrMTRRCap:
		return mtrrCap, true
	case msrArchCaps:
		return archCaps, true
	case msrSysenterCS:
		return m.sysenterCS, true
	case msrSysenterESP:
		return m.sysenterESP, true
	case msrSysenterEIP:
		return m.sysenterEIP, true
	case msrMiscEnable:
		return m.miscEnable, true
	case msrDebugCtl:
		return m.debugCtl, true
	case msrPAT:
		return m.pat, true
	case msrMTRRDefType:
		return m.mtrrDefType, true
	case msrTSCDeadline:
		return c.readDeadline()
	case msrXSS:
		return m.xss, true
	case msrEFER:
		return c.efer, true
	case msrSTAR:
		return m.star, true
	case msrLSTAR:
		return m.lstar, true
	case msrCSTAR:
		return m.cstar, true
	case msrFMASK:
		return m.fmask, true
	case msrFSBase:
		return c.seg[fs].base, true
	case msrGSBase:
		return c.seg[gs].base, true
	case msrKernelGSBase:
		return m.kernelGSBase, true
	case msrTSCAux:
		return m.tscAux, true
	}
	switch {
	case n == msrAPICBase || n >= msrX2APIC && n <= msrX2APICEnd:
		return c.apic.ReadMSR(n)
	case n >= msrMTRRPhys && n < msrMTRRPhys+2*mtrrVariable:
		if i := (n - msrMTRRPhys) / 2; n&1 == 0 {
			return m.mtrrBase[i], true
		} else {
			return m.mtrrMask[i], true
		}
	case fixedMTRR(n) >= 0:
		return m.mtrrFixed[fixedMTRR(n)], true
	case c.config.UINTR && uintr.IsMSR(n):
		v, err := c.uintr.ReadMSR(n)
		return v, err == nil
	}
	c.exits.Count(vcpu.MSRRead)
	v, ok := c.handler.ReadMSR(int(c.id), n)
	c.traceMSR(vcpu.MSRRead, n, v, ok)
	return v, ok
}

// writeMSR writes a model-specific register; false is #GP(0), and it is as it
// was.
func (c *CPU) writeMSR(n uint32, v uint64) bool {
	m := &c.msr
	switch n {
	case msrTSC:
		c.shiftTSC(v - c.tsc())
	case msrTSCAdjust:
		c.shiftTSC(v - m.tscAdjust)
	case msrBIOSUpdate, msrMCGStatus: // no update and no error to clear
	case msrBIOSSignID:
		if v != 0 {
			return false
		}
		m.microcode = microcodeReset // CPUID loads it: it is there at once
	case msrSpecCtrl:
		return setBits(&m.specControl, v, specCtrlMay)
	case msrPredCmd, msrFlushCmd:
		return v&^1 == 0
	case msrUMWaitControl:
		return setBits(&m.umwaitControl, v, umwaitMay)
	case msrSysenterCS:
		m.sysenterCS = v
	case msrSysenterESP:
		return setAddress(&m.sysenterESP, v)
	case msrSysenterEIP:
		return setAddress(&m.sysenterEIP, v)
	case msrMiscEnable:
		if (v^m.miscEnable)&^(miscMay|miscLimitCPUID) != 0 || v&miscLimitCPUID != 0 {
			return false
		}
		m.miscEnable = v
	case msrDebugCtl:
		return setBits(&m.debugCtl, v, debugCtlMay)
	case msrPAT:
		for i := range 8 {
			if t := v >> (8 * i) & 0xff; t > 7 || t == 2 || t == 3 {
				return false
			}
		}
		m.pat = v
	case msrMTRRDefType:
		return v&^0xcff == 0 && memoryType(v&0xff) && setBits(&m.mtrrDefType, v, 0xcff)
	case msrTSCDeadline:
		ok := c.writeDeadline(v)
		c.lookAPIC()
		return ok
	case msrXSS:
		known := uint64(0)
		if c.config.UINTR && uintr.CheckXSS(v) == nil {
			known = v
		}
		return setBits(&m.xss, v, known)
	case msrEFER:
		return c.writeEFER(v)
	case msrSTAR:
		m.star = v
	case msrLSTAR:
		return setAddress(&m.lstar, v)
	case msrCSTAR:
		return setAddress(&m.cstar, v)
	case msrFMASK:
		return setBits(&m.fmask, v, 0xffffffff)
	case msrFSBase:
		return c.setBase(fs, v)
	case msrGSBase:
		return c.setBase(gs, v)
	case msrKernelGSBase:
		return setAddress(&m.kernelGSBase, v)
	case msrTSCAux:
		return setBits(&m.tscAux, v, 0xffffffff)
	case msrPlatformID, msrFeatureControl, msrMTRRCap, msrArchCaps, msrMCGCap:
		return false
	default:
		return c.writeMSRRange(n, v)
	}
	return true
}

// writeMSRRange writes what is one of many, or not the processor's own.
func (c *CPU) writeMSRRange(n uint32, v uint64) bool {
	m := &c.msr
	switch {
	case n == msrAPICBase || n >= msrX2APIC && n <= msrX2APICEnd:
		if n != msrAPICBase {
			c.modelled(vcpu.APICAccess, uint64(n), 8, v)
		}
		ok := c.apic.WriteMSR(n, v)
		c.lookAPIC()
		return ok
	case n >= msrMTRRPhys && n < msrMTRRPhys+2*mtrrVariable:
		if i := (n - msrMTRRPhys) / 2; n&1 == 0 {
			return memoryType(v&0xff) && setBits(&m.mtrrBase[i], v, pteAddress|0xff)
		} else {
			return setBits(&m.mtrrMask[i], v, pteAddress|1<<11)
		}
	case fixedMTRR(n) >= 0:
		for i := range 8 {
			if !memoryType(v >> (8 * i) & 0xff) {
				return false
			}
		}
		m.mtrrFixed[fixedMTRR(n)] = v
		return true
	case c.config.UINTR && uintr.IsMSR(n):
		ok := c.uintr.WriteMSR(n, v, linearBits) == nil
		if ok {
			c.traceUser(vcpu.UserMSR(n), v)
		}
		c.lookUser()
		return ok
	}
	c.exits.Count(vcpu.MSRWrite)
	ok := c.handler.WriteMSR(int(c.id), n, v)
	c.traceMSR(vcpu.MSRWrite, n, v, ok)
	return ok
}

// memoryType reports a type that an MTRR may hold.
func memoryType(t uint64) bool { return t == 0 || t == 1 || t >= 4 && t <= 6 }

// setBits sets a register unless bits beyond may are set.
func setBits(p *uint64, v, may uint64) bool {
	if v&^may != 0 {
		return false
	}
	*p = v
	return true
}

// setAddress sets a register to a canonical address.
func setAddress(p *uint64, v uint64) bool {
	if !canonicalWide(v) {
		return false
	}
	*p = v
	return true
}

// setBase sets the base of FS or GS.
func (c *CPU) setBase(seg uint8, v uint64) bool {
	if !setAddress(&c.seg[seg].base, v) {
		return false
	}
	c.bases[seg] = v
	return true
}
