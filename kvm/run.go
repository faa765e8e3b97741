package kvm

import "sync/atomic"

// Run is the page that a vCPU shares with the kernel (struct kvm_run). The
// goroutine that runs the vCPU owns it between two [VCPU.Run]s; only
// SetImmediateExit may be called by others. Each exit's accessor holds while
// ExitReason names that exit; none allocates.
type Run struct {
	page *runPage
	mem  []byte
}

// ExitReason is why [VCPU.Run] returned.
type ExitReason uint32

// ExitReason returns why the last Run returned.
func (r *Run) ExitReason() ExitReason { return r.page.exitReason }

// SetImmediateExit makes Run return EINTR at once, or no more
// ([CapImmediateExit]). Set it before the signal that kicks, so that a kick just
// before KVM_RUN is not lost. It is atomic.
func (r *Run) SetImmediateExit(on bool) { r.setRequest(requestImmediateExit, on) }

// ImmediateExit tells whether Run would return at once.
func (r *Run) ImmediateExit() bool {
	return atomic.LoadUint32(&r.page.request)&requestImmediateExit != 0
}

// SetRequestInterruptWindow asks for [ExitIRQWindowOpen] as soon as the guest
// can take an external interrupt; only without an in-kernel or split irqchip.
func (r *Run) SetRequestInterruptWindow(on bool) { r.setRequest(requestInterruptWindow, on) }

// ReadyForInterruptInjection tells whether [VCPU.Interrupt] would be accepted.
func (r *Run) ReadyForInterruptInjection() bool { return r.page.readyForInterruptInjection != 0 }

// InterruptFlag returns the guest's RFLAGS.IF at the exit.
func (r *Run) InterruptFlag() bool { return r.page.ifFlag != 0 }

// Flags returns RunX86 bits.
func (r *Run) Flags() uint16 { return r.page.flags }

// CR8 returns the task priority at the exit.
func (r *Run) CR8() uint64 { return r.page.cr8 }

// SetCR8 sets the task priority for the next Run; only without an in-kernel or
// split irqchip.
func (r *Run) SetCR8(v uint64) { r.page.cr8 = v }

// APICBase returns IA32_APIC_BASE at the exit.
func (r *Run) APICBase() uint64 { return r.page.apicBase }

// IO is a port access ([ExitIO]).
type IO struct {
	Direction uint8 // IOIn, IOOut
	Size      uint8 // bytes an element: 1, 2 or 4
	Port      uint16
	Count     uint32 // elements; more than one for INS and OUTS
	// Data aliases the page: Size*Count bytes that were written, or that are to
	// be filled before the next Run. It is nil if they would lie outside.
	Data []byte
}

// IO decodes [ExitIO].
func (r *Run) IO() IO {
	raw := union[rawIO](r)
	x := IO{Direction: raw.direction, Size: raw.size, Port: raw.port, Count: raw.count}
	n := uint64(raw.size) * uint64(raw.count)
	if off := raw.dataOffset; off <= uint64(len(r.mem)) && n <= uint64(len(r.mem))-off {
		x.Data = r.mem[off : off+n : off+n]
	}
	return x
}

// MMIO is an access to guest-physical memory that no slot has ([ExitMMIO]).
type MMIO struct {
	Addr  uint64
	Write bool
	// Data aliases the page: 1 to 8 bytes that were written, or that are to be
	// filled before the next Run.
	Data []byte
}

// MMIO decodes [ExitMMIO].
func (r *Run) MMIO() MMIO {
	raw := union[rawMMIO](r)
	return MMIO{Addr: raw.physAddr, Write: raw.isWrite != 0, Data: raw.data[:min(raw.len, 8)]}
}

// MSRExitReason is why an MSR access left to user space.
type MSRExitReason uint32

// MSR is an access that KVM leaves to user space ([ExitX86RDMSR],
// [ExitX86WRMSR]).
type MSR struct {
	Index  uint32
	Reason MSRExitReason
	Data   uint64 // what was written
	Write  bool
}

// MSR decodes [ExitX86RDMSR] and [ExitX86WRMSR]. Unless refused, a write takes
// effect with the next Run, a read returns what ReplyMSR left, else 0.
func (r *Run) MSR() MSR {
	raw := union[rawMSR](r)
	return MSR{Index: raw.index, Reason: raw.reason, Data: raw.data, Write: r.page.exitReason == ExitX86WRMSR}
}

// ReplyMSR answers [ExitX86RDMSR] with a value.
func (r *Run) ReplyMSR(data uint64) { union[rawMSR](r).data = data }

// RefuseMSR answers [ExitX86RDMSR] or [ExitX86WRMSR] with #GP.
func (r *Run) RefuseMSR() { union[rawMSR](r).error = 1 }

// InternalErrorCause is why KVM gave up.
type InternalErrorCause uint32

// InternalError is KVM giving up on the guest ([ExitInternalError]).
type InternalError struct {
	Cause InternalErrorCause
	Data  []uint64 // particulars, aliasing the page
	// Insn is the instruction that KVM could not emulate, with what follows it,
	// up to 15 bytes; aliases the page. Nil if the cause is another, or if KVM
	// could not fetch it.
	Insn []byte
}

// InternalError decodes [ExitInternalError].
func (r *Run) InternalError() InternalError {
	raw := union[rawInternal](r)
	x := InternalError{Cause: raw.suberror, Data: raw.data[:min(raw.ndata, 16)]}
	// Flags, size and bytes are three of the data words.
	f := union[rawEmulationFailure](r)
	if f.suberror == InternalErrorEmulation && f.ndata >= 3 && f.flags&emulationFlagInstructionBytes != 0 {
		x.Insn = f.insnBytes[:min(f.insnSize, 15)]
	}
	return x
}

// SystemEventType is what a system event asks for.
type SystemEventType uint32

// SystemEvent is a request for the whole machine ([ExitSystemEvent]).
type SystemEvent struct {
	Type SystemEventType
	Data []uint64 // particulars, aliasing the page ([CapSystemEventData])
}

// SystemEvent decodes [ExitSystemEvent].
func (r *Run) SystemEvent() SystemEvent {
	raw := union[rawSystemEvent](r)
	return SystemEvent{Type: raw.kind, Data: raw.data[:min(raw.ndata, 16)]}
}

// FailEntry is the hardware refusing the guest's state ([ExitFailEntry]).
type FailEntry struct {
	Reason uint64 // the hardware's own code
	CPU    uint32 // host CPU
}

// FailEntry decodes [ExitFailEntry].
func (r *Run) FailEntry() FailEntry {
	raw := union[rawFailEntry](r)
	return FailEntry{Reason: raw.reason, CPU: raw.cpu}
}

// Debug is a step or breakpoint of [VCPU.SetGuestDebug] ([ExitDebug]).
type Debug struct {
	Exception uint32 // vector: 1 or 3
	PC        uint64 // linear
	DR6       uint64
	DR7       uint64
}

// Debug decodes [ExitDebug].
func (r *Run) Debug() Debug {
	raw := union[rawDebug](r)
	return Debug{Exception: raw.exception, PC: raw.pc, DR6: raw.dr6, DR7: raw.dr7}
}

// IOAPICEOI decodes [ExitIOAPICEOI]: the local APIC's vector that was ended.
func (r *Run) IOAPICEOI() uint8 { return union[rawEOI](r).vector }

// UnknownExit decodes [ExitUnknown]: the hardware's own exit code.
func (r *Run) UnknownExit() uint64 { return union[rawUnknown](r).reason }

// SetValidRegs asks that each exit store the given classes of registers in the
// page (SyncRegs, SyncSRegs, SyncEvents). [CapSyncRegs] gives the classes that
// the host knows.
func (r *Run) SetValidRegs(classes uint64) { r.page.validRegs = classes }

// SetDirtyRegs makes the next Run load the given classes from the page; KVM
// clears them as it does.
func (r *Run) SetDirtyRegs(classes uint64) { r.page.dirtyRegs = classes }

// DirtyRegs returns the classes not yet loaded.
func (r *Run) DirtyRegs() uint64 { return r.page.dirtyRegs }

// Regs returns the general registers in the page; current if SyncRegs is valid.
func (r *Run) Regs() *Regs { return &r.page.sync.regs }

// SRegs returns the special registers in the page; current if SyncSRegs is valid.
func (r *Run) SRegs() *SRegs { return &r.page.sync.sregs }

// Events returns the events in the page; current if SyncEvents is valid.
func (r *Run) Events() *VCPUEvents { return &r.page.sync.events }
