package kvm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// VCPU is a processor. One goroutine at a time runs it; every other method but
// ID, FD and RunPage waits in the kernel until KVM_RUN returns. Get and Set
// methods that take a pointer do not allocate.
type VCPU struct {
	descriptor
	id        uint32
	xsaveSize int
	run       *Run
}

// ID returns the id given to [VM.CreateVCPU].
func (v *VCPU) ID() uint32 { return v.id }

// RunPage returns the page shared with the kernel. It is valid until Close.
func (v *VCPU) RunPage() *Run { return v.run }

// Run enters the guest until it leaves for user space (KVM_RUN); the cause is
// in [Run.ExitReason]. It does not allocate and never retries.
//
// The error is a bare [unix.Errno]. EINTR means that a signal came or
// [Run.SetImmediateExit] was set: that is how a vCPU is kicked (set the flag,
// then tgkill the thread, to which the goroutine is locked), but the Go
// runtime's own signals look the same, so look at the kick's reason and go
// round again. After EINTR the exit reason says nothing, and an I/O, MMIO or
// MSR exit that was answered has been completed. EAGAIN means that the vCPU was
// [MPStateUninitialized] and has been woken; go round again as well.
func (v *VCPU) Run() error { return v.descriptor.run() }

// Close releases the vCPU and its page. No other goroutine may use either any
// more: kicks included.
func (v *VCPU) Close() error {
	if err := v.descriptor.Close(); err != nil {
		return err
	}
	return unix.Munmap(v.run.mem)
}

// EnableCap turns on a capability of this vCPU, with up to four arguments
// (KVM_ENABLE_CAP, [CapEnableCap]).
func (v *VCPU) EnableCap(c Cap, args ...uint64) error {
	return enableCap(&v.descriptor, c, args)
}

// GetRegs reads the general registers (KVM_GET_REGS).
func (v *VCPU) GetRegs(r *Regs) error { return call(&v.descriptor, reqGetRegs, r) }

// SetRegs writes the general registers (KVM_SET_REGS). It drops an exception
// that waits for delivery.
func (v *VCPU) SetRegs(r *Regs) error { return call(&v.descriptor, reqSetRegs, r) }

// GetSRegs reads the special registers (KVM_GET_SREGS).
func (v *VCPU) GetSRegs(r *SRegs) error { return call(&v.descriptor, reqGetSRegs, r) }

// SetSRegs writes the special registers (KVM_SET_SREGS); EINVAL for a control
// register bit that the vCPU's CPUID does not have.
func (v *VCPU) SetSRegs(r *SRegs) error { return call(&v.descriptor, reqSetSRegs, r) }

// GetDebugRegs reads the guest's debug registers (KVM_GET_DEBUGREGS, [CapDebugRegs]).
func (v *VCPU) GetDebugRegs(r *DebugRegs) error { return call(&v.descriptor, reqGetDebugRegs, r) }

// SetDebugRegs writes the guest's debug registers (KVM_SET_DEBUGREGS, [CapDebugRegs]).
func (v *VCPU) SetDebugRegs(r *DebugRegs) error { return call(&v.descriptor, reqSetDebugRegs, r) }

// GetFPU reads x87 and SSE state (KVM_GET_FPU).
func (v *VCPU) GetFPU(f *FPU) error { return call(&v.descriptor, reqGetFPU, f) }

// SetFPU writes x87 and SSE state (KVM_SET_FPU). Some hosts lose it
// (kvm-hosts.md §6): SetXSAVE with XSTATE_BV set works everywhere.
func (v *VCPU) SetFPU(f *FPU) error { return call(&v.descriptor, reqSetFPU, f) }

// GetXCRS reads the extended control registers (KVM_GET_XCRS, [CapXCRS]).
func (v *VCPU) GetXCRS(x *XCRS) error { return call(&v.descriptor, reqGetXCRS, x) }

// SetXCRS writes the extended control registers (KVM_SET_XCRS, [CapXCRS]).
func (v *VCPU) SetXCRS(x *XCRS) error { return call(&v.descriptor, reqSetXCRS, x) }

// GetVCPUEvents reads the events underway (KVM_GET_VCPU_EVENTS, [CapVCPUEvents]).
func (v *VCPU) GetVCPUEvents(e *VCPUEvents) error { return call(&v.descriptor, reqGetVCPUEvents, e) }

// SetVCPUEvents writes the events underway (KVM_SET_VCPU_EVENTS, [CapVCPUEvents]).
func (v *VCPU) SetVCPUEvents(e *VCPUEvents) error { return call(&v.descriptor, reqSetVCPUEvents, e) }

// MPState tells whether a vCPU of an in-kernel local APIC runs or waits.
type MPState uint32

// GetMPState reads the multiprocessing state (KVM_GET_MP_STATE, [CapMPState]).
func (v *VCPU) GetMPState() (MPState, error) {
	var s MPState
	err := call(&v.descriptor, reqGetMPState, &s)
	return s, err
}

// SetMPState writes the multiprocessing state (KVM_SET_MP_STATE, [CapMPState]).
func (v *VCPU) SetMPState(s MPState) error { return call(&v.descriptor, reqSetMPState, &s) }

// SetCPUID2 sets what CPUID answers (KVM_SET_CPUID2, [CapExtCPUID]), at most 256
// leaves; before the first Run. Hosts may overrule it (kvm-hosts.md §5).
func (v *VCPU) SetCPUID2(c CPUID) error {
	_, _, err := ioctlArray(&v.descriptor, reqSetCPUID2, c)
	return err
}

// GetCPUID2 returns what CPUID answers (KVM_GET_CPUID2, [CapExtCPUID]).
func (v *VCPU) GetCPUID2() (CPUID, error) {
	leaves := make(CPUID, maxCPUIDEntries)
	_, n, err := ioctlArray(&v.descriptor, reqGetCPUID2, leaves)
	if err != nil {
		return nil, err
	}
	return leaves[:n:n], nil
}

// Interrupt injects an external interrupt (KVM_INTERRUPT); only without an
// in-kernel or split irqchip, and when [Run.ReadyForInterruptInjection].
func (v *VCPU) Interrupt(vector uint8) error {
	irq := uint32(vector) // struct kvm_interrupt
	return call(&v.descriptor, reqInterrupt, &irq)
}

// NMI makes an NMI pending (KVM_NMI, [CapUserNMI]).
func (v *VCPU) NMI() error {
	_, err := v.ioctl(reqNMI, 0)
	return err
}

// Translation is the guest's view of a linear address (struct kvm_translation).
type Translation struct {
	LinearAddress   uint64
	PhysicalAddress uint64
	Valid           uint8 // whether PhysicalAddress holds
	Writeable       uint8 // KVM on x86 does not look: always 1
	UserMode        uint8 // likewise: always 0
	_               [5]uint8
}

// Translate walks the guest's page tables for a supervisor read
// (KVM_TRANSLATE).
func (v *VCPU) Translate(linear uint64) (Translation, error) {
	t := Translation{LinearAddress: linear}
	err := call(&v.descriptor, reqTranslate, &t)
	return t, err
}

// GuestDebug asks for debug exits (struct kvm_guest_debug): Control is
// GuestDebugEnable with what is wanted, DebugReg the breakpoints as DR0-3 and
// DR7 have them.
type GuestDebug struct {
	Control  uint32
	_        uint32
	DebugReg [8]uint64
}

// SetGuestDebug turns single steps and breakpoints on or, with a zero Control,
// off (KVM_SET_GUEST_DEBUG, [CapSetGuestDebug]); each leaves with [ExitDebug].
func (v *VCPU) SetGuestDebug(g *GuestDebug) error {
	return call(&v.descriptor, reqSetGuestDebug, g)
}

// SetTSCKHz sets this vCPU's TSC frequency in kHz (KVM_SET_TSC_KHZ, [CapTSCControl]).
func (v *VCPU) SetTSCKHz(khz uint32) error {
	_, err := v.ioctl(reqSetTSCKHz, uintptr(khz))
	return err
}

// GetTSCKHz returns this vCPU's TSC frequency in kHz (KVM_GET_TSC_KHZ, [CapGetTSCKHz]).
func (v *VCPU) GetTSCKHz() (uint32, error) {
	khz, err := v.ioctl(reqGetTSCKHz, 0)
	return uint32(khz), err
}

// deviceAttr is struct kvm_device_attr.
type deviceAttr struct {
	_     uint32
	group uint32
	attr  uint64
	addr  *uint64
}

func (v *VCPU) tscOffset(req request, offset *uint64) error {
	return call(&v.descriptor, req, &deviceAttr{group: attrTSCCtrl, attr: attrTSCOffset, addr: offset})
}

// HasTSCOffset tells whether the TSC offset can be read and written
// (KVM_HAS_DEVICE_ATTR, [CapVCPUAttributes]).
func (v *VCPU) HasTSCOffset() (bool, error) {
	err := v.tscOffset(reqHasDeviceAttr, nil)
	if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOTTY) {
		return false, nil
	}
	return err == nil, err
}

// GetTSCOffset returns what is added to the host's TSC, after scaling, modulo
// 2^64 (KVM_GET_DEVICE_ATTR, [CapVCPUAttributes]).
func (v *VCPU) GetTSCOffset() (uint64, error) {
	var offset uint64
	err := v.tscOffset(reqGetDeviceAttr, &offset)
	return offset, err
}

// SetTSCOffset sets what is added to the host's TSC (KVM_SET_DEVICE_ATTR,
// [CapVCPUAttributes]). A host whose guests read the TSC natively accepts the
// offset and ignores it: read it back.
func (v *VCPU) SetTSCOffset(offset uint64) error { return v.tscOffset(reqSetDeviceAttr, &offset) }

// legacyXSAVESize is the size of struct kvm_xsave before KVM_CAP_XSAVE2.
const legacyXSAVESize = 4096

// XSAVESize returns the bytes that GetXSAVE2 and SetXSAVE need: 4096, or more
// if the process was granted dynamic components before the VM was made.
func (v *VCPU) XSAVESize() int { return v.xsaveSize }

// GetXSAVE reads the extended state, a standard-format XSAVE image, into the
// first 4096 bytes of buf (KVM_GET_XSAVE, [CapXSAVE]).
func (v *VCPU) GetXSAVE(buf []byte) error { return v.xsave(reqGetXSAVE, buf, legacyXSAVESize) }

// GetXSAVE2 reads the extended state into the first [VCPU.XSAVESize] bytes of
// buf (KVM_GET_XSAVE2, [CapXSAVE2]).
func (v *VCPU) GetXSAVE2(buf []byte) error { return v.xsave(reqGetXSAVE2, buf, v.xsaveSize) }

// SetXSAVE writes the extended state from the first [VCPU.XSAVESize] bytes of
// buf (KVM_SET_XSAVE, [CapXSAVE]).
func (v *VCPU) SetXSAVE(buf []byte) error { return v.xsave(reqSetXSAVE, buf, v.xsaveSize) }

func (v *VCPU) xsave(req request, buf []byte, size int) error {
	// The kernel trusts the buffer to be long enough.
	if len(buf) < size {
		return fmt.Errorf("kvm: %s: buffer of %d bytes, want %d: %w", req, len(buf), size, unix.EINVAL)
	}
	return call(&v.descriptor, req, &buf[0])
}

// Stats opens the vCPU's counters (KVM_GET_STATS_FD, [CapBinaryStatsFD]). Like
// any ioctl of a vCPU it waits for KVM_RUN to return, so open them before the
// vCPU runs; reading them waits for nothing.
func (v *VCPU) Stats() (*Stats, error) { return openStats(&v.descriptor) }
