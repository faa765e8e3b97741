package hw

import (
	"fmt"
	"os"

	"gvmm/kvm"
	"gvmm/uintr/spec"
	"gvmm/vmm/memory"
)

// tssAddress is where VMX keeps three pages for guests in real mode: below the
// BIOS, clear of RAM and devices.
const tssAddress = 0xfffbd000

// A Machine is a KVM virtual machine with memory, local APICs in the kernel, and
// user-space MSR exits. Processors are added with NewCPU.
type Machine struct {
	System *kvm.System
	VM     *kvm.VM
	Host   kvm.Host

	memory Memory
	cpuid  kvm.CPUID
}

// Open makes a machine over the KVM device at path with the given RAM. The
// slots must stay mapped until Close.
func Open(path string, mem *memory.Memory) (*Machine, error) {
	sys, err := kvm.Open(path)
	if err != nil {
		return nil, err
	}
	m := &Machine{System: sys, Host: kvm.DescribeHost(os.DirFS("/")), memory: mem}
	if err := m.create(mem.Slots()); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// required are the capabilities without which a guest here cannot run.
var required = []kvm.Cap{
	kvm.CapUserMemory, kvm.CapSplitIRQChip, kvm.CapX2APICAPI, kvm.CapSignalMSI, kvm.CapIRQFD, kvm.CapIOEventFD,
	kvm.CapIRQRouting, kvm.CapX86UserSpaceMSR, kvm.CapImmediateExit, kvm.CapBinaryStatsFD,
}

func (m *Machine) create(slots []memory.Slot) error {
	for _, c := range required {
		if n, err := m.System.CheckExtension(c); err != nil {
			return err
		} else if n == 0 {
			return fmt.Errorf("hw: this host's KVM lacks %v", c)
		}
	}
	var err error
	if m.cpuid, err = m.System.GetSupportedCPUID(); err != nil {
		return err
	}
	if m.VM, err = m.System.CreateVM(); err != nil {
		return err
	}
	if err := m.VM.SetTSSAddr(tssAddress); err != nil {
		return err
	}
	// No IOAPIC of ours yet: no GSI is reserved for one.
	if err := m.VM.EnableSplitIRQChip(0); err != nil {
		return err
	}
	if err := m.VM.EnableX2APICAPI(kvm.X2APICAPIUse32BitIDs | kvm.X2APICAPIDisableBroadcastQuirk); err != nil {
		return err
	}
	reasons := kvm.MSRExitReasonInval | kvm.MSRExitReasonUnknown | kvm.MSRExitReasonFilter
	if err := m.VM.EnableUserSpaceMSR(reasons); err != nil {
		return err
	}
	if err := m.filterMSRs(); err != nil {
		return err
	}
	for i, s := range slots {
		r := kvm.MemoryRegion{Slot: uint32(i), GuestPhysAddr: s.Base, Memory: s.Host}
		if err := m.VM.SetUserMemoryRegion(r); err != nil {
			return err
		}
	}
	return nil
}

// filterMSRs makes the user-interrupt MSRs leave to user space even where the
// host's KVM knows them.
func (m *Machine) filterMSRs() error {
	if n, err := m.System.CheckExtension(kvm.CapX86MSRFilter); err != nil || n == 0 {
		return err // without the filter they leave as unknown ones
	}
	first, last := uint32(spec.MSRRR), uint32(spec.MSRTT)
	return m.VM.SetMSRFilter(kvm.MSRFilter{Ranges: []kvm.MSRFilterRange{{
		Flags: kvm.MSRFilterRead | kvm.MSRFilterWrite, Base: first, Count: last - first + 1,
		Bitmap: []byte{0},
	}}})
}

// Close releases the machine; its processors must have been closed.
func (m *Machine) Close() error {
	var err error
	if m.VM != nil {
		err = m.VM.Close()
	}
	if e := m.System.Close(); err == nil {
		err = e
	}
	return err
}
