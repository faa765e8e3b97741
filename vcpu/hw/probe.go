package hw

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gvmm/kvm"
	"gvmm/vcpu"
	"gvmm/vmm/memory"
)

// ErrWay is a way that this host does not carry.
var ErrWay = errors.New("hw: user interrupts")

// probeRounds is how many interrupts the probe sends each way.
const probeRounds = 64

// probeDeadline bounds the wait for one interrupt on a busy host.
const probeDeadline = 2 * time.Second

// A Trial is what the probe measured of one way to interrupt a program that runs.
type Trial struct {
	Works  bool    `json:"works"`
	Why    string  `json:"why,omitempty"` // if it does not
	P50    int64   `json:"p50_ns"`        // from the host's send to the handler's first instructions at CPL 3
	Exits  float64 `json:"kvm_exits"`     // of KVM, an interrupt
	Inject float64 `json:"kvm_irq_injections"`
	Emul   float64 `json:"kvm_insn_emulation"`
}

// Probe is what was found out about this host.
type Probe struct {
	Direct   Trial `json:"direct"`   // a DPL-3 gate
	Resident Trial `json:"resident"` // a shim of ten instructions at CPL 0 that enters a handler
	Kick     Trial `json:"kick"`     // a signal to the vCPU's thread, registers rewritten, no gate at all
	// ExitFree says that the counters stood still while interrupts came in.
	ExitFree bool `json:"exit_free"`
}

// RunProbe measures the ways on the KVM device at path, in a machine of its own.
// It takes some tens of milliseconds.
func RunProbe(path string) (*Probe, error) {
	p := new(Probe)
	for _, t := range []struct {
		trial   *Trial
		handler uint64
		direct  bool
		kick    bool
	}{
		{trial: &p.Direct, handler: probeDirect, direct: true},
		{trial: &p.Resident, handler: probeShim},
		{trial: &p.Kick, handler: probeShim, kick: true},
	} {
		m := &probeMachine{kick: t.kick}
		if err := m.open(path, t.handler, t.direct); err != nil {
			return nil, err
		}
		*t.trial = m.measure()
		m.close()
	}
	best := p.Direct
	if !best.Works {
		best = p.Resident
	}
	// APICv and AVIC leave both counters alone; host interrupts may still cost an exit now and then.
	p.ExitFree = best.Works && best.Exits < 0.25 && best.Inject < 0.25
	return p, nil
}

// Choose returns the way to go: want if it works here, or for vcpu.WayNone the best
// that does.
func (p *Probe) Choose(want vcpu.Way) (vcpu.Way, error) {
	switch {
	case want == vcpu.WayDirect && !p.Direct.Works:
		return vcpu.WayNone, fmt.Errorf("%w: the direct way does not work on this host: %s; try --way resident", ErrWay, p.Direct.Why)
	case want == vcpu.WayResident && !p.Resident.Works:
		return vcpu.WayNone, fmt.Errorf("%w: the resident way does not work on this host: %s", ErrWay, p.Resident.Why)
	case want != vcpu.WayNone:
		return want, nil
	case p.Direct.Works:
		return vcpu.WayDirect, nil
	case p.Resident.Works:
		return vcpu.WayResident, nil
	}
	return vcpu.WayNone, fmt.Errorf("%w: neither way works on this host: direct: %s; resident: %s", ErrWay, p.Direct.Why, p.Resident.Why)
}

// probeMachine is the probe's machine: one processor that spins at CPL 3.
type probeMachine struct {
	memory *memory.Memory
	hw     *Machine
	cpu    *CPU
	kick   bool

	stop   atomic.Bool
	wanted atomic.Bool // kick: the next EINTR is to enter the handler
	done   sync.WaitGroup
	failed error
}

func (p *probeMachine) open(path string, handler uint64, direct bool) error {
	p.memory = memory.New()
	err := p.memory.AddRAM(0, probeRAM)
	if err == nil {
		err = probeMemory(p.memory, handler, direct)
	}
	if err == nil {
		p.hw, err = Open(path, p.memory)
	}
	if err == nil {
		p.cpu, err = p.hw.NewCPU(CPUConfig{CPUs: 1})
	}
	if err == nil {
		err = probeRegisters(p.cpu.vcpu)
	}
	if err != nil {
		p.close()
		return err
	}
	if p.kick {
		p.cpu.run.SetValidRegs(kvm.SyncRegs)
		p.cpu.interrupted = p.enterHandler
	}
	p.done.Go(func() { p.failed = p.cpu.Run(nobody{}, &p.stop) })
	return nil
}

func (p *probeMachine) close() {
	p.stop.Store(true)
	if p.cpu != nil {
		p.cpu.Kick()
		p.done.Wait()
		_ = p.cpu.Close()
	}
	if p.hw != nil {
		_ = p.hw.Close()
	}
	_ = p.memory.Close()
}

// enterHandler is the kick's delivery: the interrupted loop keeps no state, so
// entering the handler is a matter of RIP.
func (p *probeMachine) enterHandler() {
	if p.wanted.CompareAndSwap(true, false) {
		p.cpu.run.Regs().RIP = probeStub
		p.cpu.run.SetDirtyRegs(kvm.SyncRegs)
	}
}

// wait spins until the word at addr is not old.
func (p *probeMachine) wait(addr, old uint64) bool {
	for deadline := time.Now().Add(probeDeadline); ; {
		for range 1000 {
			if v, _ := p.memory.Load64(addr); v != old {
				return true
			}
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

func (p *probeMachine) send() error {
	if p.kick {
		p.wanted.Store(true)
		p.cpu.Kick()
		return nil
	}
	_, err := p.hw.VM.SignalMSI(0xfee00000, probeVector)
	return err
}

func (p *probeMachine) measure() Trial {
	fail := func(format string, args ...any) Trial { return Trial{Why: fmt.Sprintf(format, args...)} }
	if !p.wait(probeStarted, 0) {
		return fail("the probe's program does not start: %v", p.failed)
	}
	before, err := p.cpu.Statistics()
	if err != nil {
		return fail("no statistics: %v", err)
	}
	var ticks []uint64
	for i := range uint64(probeRounds) {
		sent := vcpu.ReadTSC()
		if err := p.send(); err != nil {
			return fail("sending: %v", err)
		}
		if !p.wait(probeCount, i) {
			return fail("interrupt %d does not arrive: %v", i, p.failed)
		}
		stamp, _ := p.memory.Load64(probeStamp)
		ticks = append(ticks, stamp-sent)
		if why := p.check(); why != "" {
			return fail("%s", why)
		}
	}
	after, err := p.cpu.Statistics()
	if err != nil {
		return fail("no statistics: %v", err)
	}
	each := func(name string) float64 { return float64(after[name]-before[name]) / probeRounds }
	return Trial{
		Works: true, P50: p.nanoseconds(ticks),
		Exits: each("exits"), Inject: each("irq_injections"), Emul: each("insn_emulation"),
	}
}

// check looks at the frame that the gate pushed, and that the loop goes on.
func (p *probeMachine) check() string {
	if !p.kick {
		rip, _ := p.memory.Load64(probeRIP)
		rsp, _ := p.memory.Load64(probeRSP)
		if rip < probeSpin || rip >= probeEnd || rsp != probeUser {
			return fmt.Sprintf("the frame is wrong: RIP %#x, RSP %#x", rip, rsp)
		}
	}
	beat, _ := p.memory.Load64(probeBeat)
	if !p.wait(probeBeat, beat) {
		return "the program does not go on after the handler"
	}
	return ""
}

// nanoseconds is the median of differences between the guest's TSC and the
// host's, 0 where they cannot be related.
func (p *probeMachine) nanoseconds(ticks []uint64) int64 {
	tsc := p.cpu.TSC()
	if !tsc.Known {
		return 0
	}
	slices.SortFunc(ticks, func(a, b uint64) int { return int(int64(a - b)) })
	return int64(ticks[len(ticks)/2]-tsc.Offset) * 1e6 / int64(tsc.KHz)
}

// nobody serves a machine without devices.
type nobody struct{}

func (nobody) PortRead(_ uint16, p []byte)        { clear(p) }
func (nobody) PortWrite(uint16, []byte)           {}
func (nobody) MemoryRead(_ uint64, p []byte)      { clear(p) }
func (nobody) MemoryWrite(uint64, []byte)         {}
func (nobody) ReadMSR(int, uint32) (uint64, bool) { return 0, false }
func (nobody) WriteMSR(int, uint32, uint64) bool  { return false }
