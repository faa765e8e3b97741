package hw

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gvmm/kvm"
	"gvmm/uintr"
	"gvmm/uintr/spec"
	"gvmm/vcpu"
)

// CPUConfig is what a processor is told about its machine.
type CPUConfig struct {
	ID   uint32 // also the local APIC's
	CPUs uint32 // in the machine

	// UINTR shows user interrupts in CPUID.7.EDX where KVM lets it.
	UINTR bool
	// Leaves are added to CPUID; EBX, ECX and EDX as GVMM_LEAF_* of guests/lib/abi.h say.
	Leaves []vcpu.Leaf
	// UINVChanged, if set, is called on the processor's goroutine when the guest arms another notification vector.
	UINVChanged func(cpu uint32, vector uint8)
	// Kick, if set, allows KickNotify, and sends the vector as an interrupt message where a kick cannot deliver.
	Kick func(cpu uint32, vector uint8)
	// Exit and User, if set, are called on the processor's goroutine for each exit that user space serves, and for what
	// it sees of user interrupts.
	Exit func(cpu uint32, e vcpu.Exit)
	User func(cpu uint32, what vcpu.UserStep, value uint64)
}

// msrBlock is GVMM_MSR_BLOCK of guests/lib/abi.h: the block's address, and the
// model of CR4.UINTR in bit 0.
const msrBlock = 0x47564d00

// CPU is a processor over KVM.
type CPU struct {
	vcpu   *kvm.VCPU
	run    *kvm.Run
	stats  *kvm.Stats
	config CPUConfig

	memory Memory
	block  Block
	uintr  uintr.State // until the guest gives a block
	addr   uint64      // of the block, with its control bit

	exits  vcpu.Exits
	thread atomic.Int32 // the kernel's id of the thread in Run, 0 outside
	linear uint8        // linear-address width

	tsc atomic.Pointer[TSC]

	interrupted func()        // if set, called after EINTR; may change synchronised registers
	debug       *hostDebug    // nil: no debugger
	answered    bool          // the last exit waits for KVM to go on with it
	notified    atomic.Uint32 // vector of a kick that is to be taken, 0 for none
}

var _ vcpu.CPU = (*CPU)(nil)

// NewCPU adds a processor. Processor 0 starts where SetEntry says, the others when
// a start-up interrupt comes.
func (m *Machine) NewCPU(config CPUConfig) (*CPU, error) {
	v, err := m.VM.CreateVCPU(config.ID)
	if err != nil {
		return nil, err
	}
	c := &CPU{vcpu: v, run: v.RunPage(), config: config, memory: m.memory, linear: 48}
	if err := c.init(m.cpuid); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *CPU) init(host kvm.CPUID) error {
	if err := c.vcpu.SetCPUID2(guestCPUID(host, c.config)); err != nil {
		return err
	}
	c.readTSC()
	if c.config.Kick != nil {
		c.run.SetValidRegs(kvm.SyncRegs | kvm.SyncSRegs)
		c.interrupted = c.takeKick
	}
	// Opened now: later the ioctl would wait for KVM_RUN to return.
	var err error
	c.stats, err = c.vcpu.Stats()
	return err
}

// guestCPUID is the host's CPUID with this processor's APIC id, the user-interrupt
// bit and our leaves.
func guestCPUID(host kvm.CPUID, config CPUConfig) kvm.CPUID {
	c := append(kvm.CPUID(nil), host...)
	if e := c.Find(1, 0); e != nil {
		e.EBX = e.EBX&0x0000ffff | config.ID<<24 | config.CPUs<<16
	}
	for i := range c {
		if c[i].Function == 0xb || c[i].Function == 0x1f {
			c[i].EDX = config.ID
		}
	}
	if e := c.Find(spec.CPUIDLeaf, 0); e != nil {
		e.EDX &^= spec.CPUIDBit
		if config.UINTR {
			e.EDX |= spec.CPUIDBit
		}
	}
	for _, l := range config.Leaves {
		c.Set(kvm.CPUIDEntry{Function: l.Function, EAX: l.EAX, EBX: l.EBX, ECX: l.ECX, EDX: l.EDX})
	}
	return c
}

// SetEntry puts the processor at a PVH or multiboot entry point: 32-bit protected
// mode, flat segments, paging off.
func (c *CPU) SetEntry(entry, eax, ebx uint32) error {
	var s kvm.SRegs
	if err := c.vcpu.GetSRegs(&s); err != nil {
		return err
	}
	data := kvm.Segment{Limit: 0xffffffff, Selector: 0x18, Type: 3, Present: 1, DB: 1, S: 1, G: 1}
	code := data
	code.Selector, code.Type = 0x10, 11
	s.CS, s.DS, s.ES, s.FS, s.GS, s.SS = code, data, data, data, data, data
	s.TR = kvm.Segment{Limit: 0x67, Type: 11, Present: 1}
	s.LDT = kvm.Segment{Type: 2, Unusable: 1}
	s.CR0, s.CR3, s.CR4, s.EFER = 0x11, 0, 0, 0 // PE, ET
	if err := c.vcpu.SetSRegs(&s); err != nil {
		return err
	}
	return c.vcpu.SetRegs(&kvm.Regs{RIP: uint64(entry), RAX: uint64(eax), RBX: uint64(ebx), RFLAGS: 2})
}

// TSC relates the processor's TSC to the host's: its frequency, and what is added
// to the host's count, as of the last time that the processor did not run.
type TSC struct {
	Offset uint64
	KHz    uint32
	Known  bool // the host tells
}

// TSC returns how the processor's TSC relates to the host's.
func (c *CPU) TSC() TSC { return *c.tsc.Load() }

// readTSC asks KVM, which would wait for KVM_RUN to return.
func (c *CPU) readTSC() {
	var t TSC
	if ok, err := c.vcpu.HasTSCOffset(); err == nil && ok {
		offset, err := c.vcpu.GetTSCOffset()
		khz, err2 := c.vcpu.GetTSCKHz()
		t = TSC{Offset: offset, KHz: khz, Known: err == nil && err2 == nil && khz != 0}
	}
	c.tsc.Store(&t)
}

// Run implements vcpu.CPU. It must not be called twice at once.
func (c *CPU) Run(h vcpu.Handler, stop *atomic.Bool) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c.thread.Store(int32(unix.Gettid()))
	defer c.readTSC() // the guest may have moved it
	defer c.thread.Store(0)
	for !stop.Load() {
		err := c.vcpu.Run()
		c.answered = err == nil
		switch err {
		case nil:
			if err := c.serve(h); err != nil {
				return err
			}
		case unix.EINTR, unix.EAGAIN:
			// A kick, a signal of the Go runtime's, or a start-up interrupt. Stop is looked at after the flag is
			// cleared, so a kick is never lost.
			c.run.SetImmediateExit(false)
			c.exits.Count(vcpu.Interrupted)
			c.trace(vcpu.Exit{Cause: vcpu.Interrupted})
			if c.interrupted != nil {
				c.interrupted()
			}
		default:
			return fmt.Errorf("hw: running vCPU %d: %w", c.config.ID, err)
		}
	}
	return nil
}

// Kick implements vcpu.CPU: the runtime's own preemption signal interrupts
// KVM_RUN and is otherwise ignored.
func (c *CPU) Kick() {
	c.run.SetImmediateExit(true)
	if t := c.thread.Load(); t != 0 {
		_ = unix.Tgkill(unix.Getpid(), int(t), unix.SIGURG)
	}
}

func (c *CPU) serve(h vcpu.Handler) error {
	switch reason := c.run.ExitReason(); reason {
	case kvm.ExitIO:
		c.serveIO(h)
	case kvm.ExitMMIO:
		m := c.run.MMIO()
		if m.Write {
			c.exits.Count(vcpu.MemoryWrite)
			c.traceAccess(vcpu.MemoryWrite, m.Addr, m.Data)
			h.MemoryWrite(m.Addr, m.Data)
		} else {
			c.exits.Count(vcpu.MemoryRead)
			h.MemoryRead(m.Addr, m.Data)
			c.traceAccess(vcpu.MemoryRead, m.Addr, m.Data)
		}
	case kvm.ExitX86RDMSR:
		c.exits.Count(vcpu.MSRRead)
		msr := c.run.MSR().Index
		v, ok := c.readMSR(h, msr)
		if ok {
			c.run.ReplyMSR(v)
		} else {
			c.run.RefuseMSR()
		}
		c.trace(vcpu.Exit{Cause: vcpu.MSRRead, Addr: uint64(msr), Size: 8, Value: v, Refused: !ok})
	case kvm.ExitX86WRMSR:
		c.exits.Count(vcpu.MSRWrite)
		m := c.run.MSR()
		ok := c.writeMSR(h, m.Index, m.Data)
		if !ok {
			c.run.RefuseMSR()
		}
		c.trace(vcpu.Exit{Cause: vcpu.MSRWrite, Addr: uint64(m.Index), Size: 8, Value: m.Data, Refused: !ok})
	case kvm.ExitDebug:
		return c.trapped()
	case kvm.ExitHLT:
		c.exits.Count(vcpu.Halt)
		c.trace(vcpu.Exit{Cause: vcpu.Halt})
	case kvm.ExitIntr, kvm.ExitIRQWindowOpen:
		c.exits.Count(vcpu.Interrupted)
		c.trace(vcpu.Exit{Cause: vcpu.Interrupted})
	default:
		c.exits.Count(vcpu.Other)
		c.trace(vcpu.Exit{Cause: vcpu.Other, Value: uint64(reason)})
		return c.failure(reason)
	}
	return nil
}

func (c *CPU) serveIO(h vcpu.Handler) {
	io := c.run.IO()
	size := int(io.Size)
	for d := io.Data; len(d) >= size && size > 0; d = d[size:] {
		if io.Direction == kvm.IOOut {
			c.traceAccess(vcpu.PortWrite, uint64(io.Port), d[:size])
			h.PortWrite(io.Port, d[:size])
		} else {
			h.PortRead(io.Port, d[:size])
			c.traceAccess(vcpu.PortRead, uint64(io.Port), d[:size])
		}
	}
	if io.Direction == kvm.IOOut {
		c.exits.Count(vcpu.PortWrite)
	} else {
		c.exits.Count(vcpu.PortRead)
	}
}

// failure describes an exit from which the guest cannot go on.
func (c *CPU) failure(reason kvm.ExitReason) error {
	var r kvm.Regs
	_ = c.vcpu.GetRegs(&r)
	what := reason.String()
	switch reason {
	case kvm.ExitShutdown:
		what = "triple fault"
	case kvm.ExitInternalError:
		e := c.run.InternalError()
		what = e.Cause.String()
		if e.Insn != nil {
			what += fmt.Sprintf(", instruction bytes % x", e.Insn)
		}
	case kvm.ExitFailEntry:
		what = fmt.Sprintf("entry refused by the hardware, reason %#x", c.run.FailEntry().Reason)
	}
	return fmt.Errorf("%w: vCPU %d at RIP %#x: %s", vcpu.ErrGuest, c.config.ID, r.RIP, what)
}

func (c *CPU) readMSR(h vcpu.Handler, msr uint32) (uint64, bool) {
	switch {
	case !c.config.UINTR:
	case uintr.IsMSR(msr):
		s := c.state()
		v, err := s.ReadMSR(msr)
		return v, err == nil
	case msr == msrBlock:
		return c.addr, true
	}
	return h.ReadMSR(int(c.config.ID), msr)
}

func (c *CPU) writeMSR(h vcpu.Handler, msr uint32, v uint64) bool {
	switch {
	case !c.config.UINTR:
	case uintr.IsMSR(msr):
		s := c.state()
		before := s.UINV
		if s.WriteMSR(msr, v, c.linear) != nil {
			return false
		}
		c.setState(s)
		c.traceUser(vcpu.UserMSR(msr), v)
		if s.UINV != before && c.config.UINVChanged != nil {
			c.config.UINVChanged(c.config.ID, s.UINV)
		}
		return true
	case msr == msrBlock:
		return c.setBlock(v)
	}
	return h.WriteMSR(int(c.config.ID), msr, v)
}

func (c *CPU) state() uintr.State {
	if c.block != nil {
		return c.block.State()
	}
	return c.uintr
}

func (c *CPU) setState(s uintr.State) {
	c.uintr = s
	if c.block != nil {
		c.block.SetState(s)
	}
}

// setBlock takes the address of the block. The state moves into it.
func (c *CPU) setBlock(v uint64) bool {
	b, err := blockAt(c.memory, v&^blockFlags)
	if err != nil || v&blockFlags&^1 != 0 {
		return false
	}
	s := c.state()
	c.block, c.addr = b, v
	b.setControl(v&1 != 0)
	c.setState(s)
	return true
}

// Exits implements vcpu.CPU.
func (c *CPU) Exits(e *vcpu.Exits) { e.Add(&c.exits) }

// Statistics implements vcpu.CPU: KVM's counters of this vCPU.
func (c *CPU) Statistics() (map[string]uint64, error) { return c.stats.Snapshot() }

// Close implements vcpu.CPU. Run must have returned, and no Kick may follow.
func (c *CPU) Close() error {
	var err error
	if c.stats != nil {
		err = c.stats.Close()
	}
	if e := c.vcpu.Close(); err == nil {
		err = e
	}
	return err
}
