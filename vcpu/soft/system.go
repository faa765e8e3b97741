package soft

import (
	"runtime"
	"time"

	"gvmm/vcpu/soft/decode"
)

// system executes the instructions of group System.
func (c *CPU) system(in *decode.Inst) bool {
	if serializes(in.Op) {
		c.order()
	}
	switch in.Op {
	case decode.JMPF:
		return c.farJump(in, false)
	case decode.CALLF:
		return c.farJump(in, true)
	case decode.RETF:
		return c.farReturn(in)
	case decode.IRET:
		return c.interruptReturn(in)
	case decode.INT:
		return c.softInterrupt(uint8(in.Imm), eventSoft)
	case decode.INT3:
		return c.softInterrupt(vectorBP, eventSoft3)
	case decode.INT1:
		return c.softInterrupt(vectorDB, eventInt1)
	case decode.INTO:
		return c.arith()&flagOF == 0 || c.softInterrupt(vectorOF, eventSoft3)
	case decode.SYSCALL:
		return c.syscall()
	case decode.SYSRET:
		return c.sysret(in)
	case decode.SYSENTER:
		return c.sysenter()
	case decode.SYSEXIT:
		return c.sysexit(in)

	case decode.MOVFROMSEG, decode.MOVTOSEG, decode.PUSHSEG, decode.POPSEG, decode.LDS, decode.LES, decode.LFS, decode.LGS, decode.LSS:
		return c.segmentMove(in)
	case decode.LGDT, decode.LIDT, decode.SGDT, decode.SIDT, decode.LLDT, decode.LTR, decode.SLDT, decode.STR, decode.SMSW, decode.LMSW:
		return c.tableMove(in)
	case decode.LAR, decode.LSL, decode.VERR, decode.VERW, decode.ARPL:
		return c.selectorTest(in)

	case decode.MOVFROMCR:
		return c.moveFromCR(in)
	case decode.MOVTOCR:
		return c.moveToCR(in)
	case decode.MOVFROMDR:
		return c.moveFromDR(in)
	case decode.MOVTODR:
		return c.moveToDR(in)
	case decode.IN, decode.OUT:
		return c.portMove(in)
	case decode.CLI, decode.STI, decode.CLAC, decode.STAC:
		return c.flagInstruction(in.Op)

	case decode.CPUID:
		return c.cpuid()
	case decode.RDMSR:
		return c.rdmsr()
	case decode.WRMSR:
		return c.wrmsr()
	case decode.RDTSC, decode.RDTSCP:
		return c.rdtsc(in.Op == decode.RDTSCP)
	case decode.RDPMC:
		return c.gp0() // no counter
	case decode.RDPID:
		c.set(in.RM, in.Size, c.msr.tscAux)
		return true
	case decode.XGETBV:
		return c.xgetbv()
	case decode.XSETBV:
		return c.xsetbv()
	case decode.INVLPG:
		return c.invlpg(in)
	case decode.INVPCID:
		return c.invpcid(in)
	case decode.SWAPGS, decode.RDFSBASE, decode.RDGSBASE, decode.WRFSBASE, decode.WRGSBASE:
		return c.baseInstruction(in)
	case decode.CLTS, decode.HLT, decode.INVD, decode.WBINVD:
		if c.cpl != 0 {
			return c.gp0()
		}
		switch in.Op {
		case decode.CLTS:
			c.cr0 &^= cr0TS
		case decode.HLT:
			c.halted = true
		}
		return true
	case decode.MONITOR, decode.MWAIT:
		return c.kernelWait(in)
	case decode.UMONITOR:
		return c.arm(in.Seg, c.get(in.RM, in.Size))
	case decode.UMWAIT, decode.TPAUSE:
		return c.userWaits(in)
	case decode.SENDUIPI, decode.UIRET, decode.TESTUI, decode.CLUI, decode.STUI:
		return c.user(in)
	}
	return c.ud() // RSM, VMCALL, RDPKRU, WRPKRU
}

// flagInstruction is CLI, STI, CLAC and STAC.
func (c *CPU) flagInstruction(op decode.Op) bool {
	if op == decode.CLAC || op == decode.STAC {
		if c.cpl != 0 {
			return c.ud()
		}
		c.rflags &^= flagAC
		if op == decode.STAC {
			c.rflags |= flagAC
		}
		c.updateMode()
		return true
	}
	if !c.real() && uint64(c.cpl) > c.rflags>>12&3 {
		return c.gp0()
	}
	if op == decode.CLI {
		c.rflags &^= flagIF
		return true
	}
	if c.rflags&flagIF == 0 {
		c.rflags |= flagIF
		c.setShadow(shadowSTI)
	}
	return true
}

// rdtsc is RDTSC and RDTSCP.
func (c *CPU) rdtsc(p bool) bool {
	if c.cr4&cr4TSD != 0 && c.cpl != 0 {
		return c.gp0()
	}
	c.setEDXEAX(c.tsc())
	if p {
		c.r[rcx] = c.msr.tscAux
	}
	return true
}

// baseInstruction is SWAPGS and what reads and writes the bases of FS and GS.
func (c *CPU) baseInstruction(in *decode.Inst) bool {
	if c.mode != decode.Mode64 {
		return c.ud()
	}
	if in.Op == decode.SWAPGS {
		if c.cpl != 0 {
			return c.gp0()
		}
		c.seg[gs].base, c.msr.kernelGSBase = c.msr.kernelGSBase, c.seg[gs].base
		c.bases[gs] = c.seg[gs].base
		return true
	}
	if c.cr4&cr4FSGSBASE == 0 {
		return c.ud()
	}
	seg := uint8(fs)
	if in.Op == decode.RDGSBASE || in.Op == decode.WRGSBASE {
		seg = gs
	}
	if in.Op == decode.RDFSBASE || in.Op == decode.RDGSBASE {
		c.set(in.RM, in.Size, c.seg[seg].base)
		return true
	}
	if !c.setBase(seg, c.get(in.RM, in.Size)) {
		return c.gp0()
	}
	return true
}

// arm is MONITOR and UMONITOR: it takes the line's physical address and what it
// holds.
func (c *CPU) arm(seg uint8, off uint64) bool {
	la, ok := c.linear(seg, off, 1, false)
	if !ok {
		return false
	}
	if _, ok = c.read(la, 1, 0); !ok {
		return false
	}
	pa, ok := c.translate(la, 0)
	if !ok {
		return false
	}
	_, ram := c.machine.host(pa)
	c.monitor = monitor{armed: ram, addr: pa &^ (lineSize - 1)}
	c.monitor.value = c.digest()
	return true
}

// digest is that of the monitored line that no change of one word leaves as it
// is.
func (c *CPU) digest() uint64 {
	host, ok := c.machine.host(c.monitor.addr)
	if !ok {
		return 0
	}
	var v uint64
	for i := range uint64(lineSize / 8) {
		v = (v ^ host.load(c.monitor.addr&0xfff+8*i, 8)) * 0x9e3779b97f4a7c15
	}
	return v
}

// kernelWait is MONITOR and MWAIT, which IA32_MISC_ENABLE has to switch on. MWAIT
// may end at any time: here it lets others run.
func (c *CPU) kernelWait(in *decode.Inst) bool {
	if c.msr.miscEnable&miscMonitor == 0 || c.cpl != 0 {
		return c.ud()
	}
	ecx := uint32(c.r[rcx])
	if in.Op == decode.MONITOR {
		if ecx != 0 {
			return c.gp0()
		}
		return c.arm(in.Seg, c.r[rax]&sizeMask(in.Addr))
	}
	if ecx&^1 != 0 {
		return c.gp0()
	}
	c.monitor.armed = false
	runtime.Gosched()
	return true
}

// userWait is a UMWAIT or TPAUSE under way.
type userWait struct {
	active   bool
	limited  bool // by IA32_UMWAIT_CONTROL
	rip      uint64
	next     uint64 // the address behind it
	deadline uint64
}

// waitSlice is how long a wait lasts before the run loop looks around.
const waitSlice = 50 * time.Microsecond

// userWaits is UMWAIT and TPAUSE. The instruction restarts until a wait is over:
// at the deadline, at the operating system's limit, when the monitored line
// changed, or when something is pending.
func (c *CPU) userWaits(in *decode.Inst) bool {
	if c.get(in.RM, 4)&^1 != 0 {
		return c.gp0()
	}
	if c.cr4&cr4TSD != 0 && c.cpl != 0 {
		return c.gp0()
	}
	w := &c.sys.wait
	now := c.tsc()
	if !w.active || w.rip != c.rip {
		*w = userWait{active: true, rip: c.rip, next: c.next, deadline: c.edxEAX()}
		if most := c.msr.umwaitControl &^ 3; most != 0 {
			if end := now + most; end < w.deadline {
				w.deadline, w.limited = end, true
			}
		}
	}
	monitored := in.Op == decode.UMWAIT
	slice := now + uint64(waitSlice.Seconds()*float64(c.machine.clock.Hz()))
	for {
		switch {
		case now >= w.deadline:
			return c.endWait(w.limited)
		case c.waitOver(), monitored && (!c.monitor.armed || c.digest() != c.monitor.value):
			return c.endWait(false)
		case now >= slice || c.config.Virtual:
			c.grant(0) // timers
			c.next = c.rip
			return true
		}
		runtime.Gosched()
		now = c.tsc()
	}
}

// waitOver reports that an event ends a wait.
func (c *CPU) waitOver() bool {
	return c.pending.Load()&^pendingUser != 0 || c.uintr.UIRR != 0 && c.uintr.Deliverable(registers{c})
}

// leaveWait completes a wait that an interrupt ends between two of its slices: the
// handler returns behind it.
func (c *CPU) leaveWait() {
	if w := &c.sys.wait; w.active && w.rip == c.rip {
		c.rip = w.next
		c.endWait(false)
	}
}

// endWait completes UMWAIT or TPAUSE: CF tells that the operating system's limit
// ended it, the other flags are 0.
func (c *CPU) endWait(limited bool) bool {
	c.sys.wait.active = false
	c.monitor.armed = false
	var v uint64
	if limited {
		v = flagCF
	}
	c.setArith(v)
	return true
}
