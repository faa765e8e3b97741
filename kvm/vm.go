package kvm

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// VM is a machine. Its methods may be called from any goroutine.
type VM struct {
	descriptor
	mmapSize int

	mu    sync.Mutex
	slots map[uint32]uint64 // pages by memory slot: what GetDirtyLog will write
}

// CheckExtension asks for a capability of this machine (KVM_CHECK_EXTENSION,
// [CapCheckExtensionVM]); some differ from the host's, such as [CapXSAVE2].
func (vm *VM) CheckExtension(c Cap) (int, error) {
	return vm.ioctl(reqCheckExtension, uintptr(c))
}

// EnableCap turns a capability of the machine on, with up to four arguments
// (KVM_ENABLE_CAP, [CapEnableCapVM]). Most must precede the first vCPU.
func (vm *VM) EnableCap(c Cap, args ...uint64) error {
	return enableCap(&vm.descriptor, c, args)
}

// enableCapArgs is struct kvm_enable_cap.
type enableCapArgs struct {
	cap  Cap
	_    uint32
	args [4]uint64
	_    [64]byte
}

func enableCap(d *descriptor, c Cap, args []uint64) error {
	in := enableCapArgs{cap: c}
	if copy(in.args[:], args) < len(args) {
		return fmt.Errorf("kvm: %s with %d arguments: %w", c, len(args), unix.EINVAL)
	}
	if _, err := ioctlPtr(d, reqEnableCap, &in); err != nil {
		return fmt.Errorf("%w (%s)", err, c)
	}
	return nil
}

// CreateVCPU adds a processor (KVM_CREATE_VCPU) and maps its page; id is its
// local APIC's initial id, below [CapMaxVCPUID].
func (vm *VM) CreateVCPU(id uint32) (*VCPU, error) {
	xsaveSize, err := vm.CheckExtension(CapXSAVE2)
	if err != nil {
		return nil, err
	}
	fd, err := vm.ioctl(reqCreateVCPU, uintptr(id))
	if err != nil {
		return nil, err
	}
	v := &VCPU{id: id, xsaveSize: max(xsaveSize, legacyXSAVESize)}
	v.init(fd)
	mem, err := unix.Mmap(fd, 0, vm.mmapSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		v.descriptor.Close()
		return nil, fmt.Errorf("kvm: map vCPU page: %w", err)
	}
	v.run = newRun(mem)
	return v, nil
}

// SetTSSAddr gives Intel hosts three pages below 4 GiB for real-mode guests
// (KVM_SET_TSS_ADDR, [CapSetTSSAddr]).
func (vm *VM) SetTSSAddr(addr uint64) error {
	_, err := vm.ioctl(reqSetTSSAddr, uintptr(addr))
	return err
}

// SetIdentityMapAddr gives Intel hosts one page below 4 GiB for real-mode
// guests (KVM_SET_IDENTITY_MAP_ADDR, [CapSetIdentityMapAddr]); before any vCPU.
func (vm *VM) SetIdentityMapAddr(addr uint64) error {
	return call(&vm.descriptor, reqSetIdentityMapAddr, &addr)
}

// Clock is the machine's paravirtual clock (struct kvm_clock_data).
type Clock struct {
	Clock    uint64 // ns since the VM was made
	Flags    uint32 // ClockTSCStable, ClockRealtime, ClockHostTSC: which fields hold
	_        uint32
	Realtime uint64 // ns of CLOCK_REALTIME at the same moment
	HostTSC  uint64 // ticks at the same moment
	_        [4]uint32
}

// GetClock reads the clock (KVM_GET_CLOCK, [CapAdjustClock]).
func (vm *VM) GetClock() (Clock, error) {
	var c Clock
	_, err := ioctlPtr(&vm.descriptor, reqGetClock, &c)
	return c, err
}

// SetTSCKHz sets the TSC frequency, in kHz, of vCPUs yet to be created
// (KVM_SET_TSC_KHZ, [CapVMTSCControl]).
func (vm *VM) SetTSCKHz(khz uint32) error {
	_, err := vm.ioctl(reqSetTSCKHz, uintptr(khz))
	return err
}

// GetTSCKHz returns the TSC frequency, in kHz, of vCPUs yet to be created
// (KVM_GET_TSC_KHZ, [CapVMTSCControl]).
func (vm *VM) GetTSCKHz() (uint32, error) {
	khz, err := vm.ioctl(reqGetTSCKHz, 0)
	return uint32(khz), err
}

// Stats opens the machine's counters (KVM_GET_STATS_FD, [CapBinaryStatsFD]).
func (vm *VM) Stats() (*Stats, error) { return openStats(&vm.descriptor) }
