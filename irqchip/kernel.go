package irqchip

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gvmm/kvm"
	"gvmm/vmm/pci"
)

// DoorbellSize is the distance of two processors' doorbells, in bytes.
const DoorbellSize = 4096

// messageBase is the address of an interrupt message (iommu.md §1.7).
const messageBase = 0xFEE00000

// ErrRefused is a message that no local APIC took.
var ErrRefused = errors.New("irqchip: no local APIC took the message")

// Kernel sends messages to local APICs inside KVM. All methods may be called
// from any goroutine.
type Kernel struct {
	vm   *kvm.VM
	base uint64 // of the doorbells, guest-physical

	mu        sync.Mutex // guards what follows; never taken by SendMSI
	doorbells []doorbell

	sent    atomic.Uint64
	refused atomic.Uint64
}

var _ pci.MSISender = (*Kernel)(nil)

// doorbell is one processor's: a 32-bit store of vector to its page raises that
// vector there. A store of any other value leaves to user space (Ring).
type doorbell struct {
	eventfd int
	vector  uint8 // 0: not armed
}

// NewKernel makes doorbells for processors 0..cpus-1 at base+DoorbellSize*cpu.
func NewKernel(vm *kvm.VM, base uint64, cpus int) (*Kernel, error) {
	k := &Kernel{vm: vm, base: base}
	for range cpus {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			k.Close()
			return nil, fmt.Errorf("irqchip: eventfd: %w", err)
		}
		k.doorbells = append(k.doorbells, doorbell{eventfd: fd})
	}
	return k, nil
}

// SendMSI implements pci.MSISender. KVM takes messages to processors that run,
// halt or wait alike; an absent destination is ErrRefused.
func (k *Kernel) SendMSI(m pci.Message) error {
	n, err := k.vm.SignalMSI(m.Address, m.Data)
	if err == nil && n > 0 {
		k.sent.Add(1)
		return nil
	}
	k.refused.Add(1)
	if err == nil {
		err = ErrRefused
	}
	return err
}

// Sent is how many messages local APICs took.
func (k *Kernel) Sent() uint64 { return k.sent.Load() }

// Arm makes the processor's doorbell raise vector; 0 disarms it. It is slow: KVM
// replaces its whole routing table.
func (k *Kernel) Arm(cpu uint32, vector uint8) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if int(cpu) >= len(k.doorbells) || k.doorbells[cpu].vector == vector {
		return nil
	}
	d := &k.doorbells[cpu]
	if d.vector != 0 {
		if err := k.vm.DeassignIOEventFD(k.ioeventfd(cpu)); err != nil {
			return err
		}
		if err := k.vm.DeassignIRQFD(cpu, d.eventfd); err != nil {
			return err
		}
	}
	d.vector = vector
	if err := k.route(); err != nil || vector == 0 {
		return err
	}
	if err := k.vm.AssignIRQFD(cpu, d.eventfd); err != nil {
		return err
	}
	return k.vm.AssignIOEventFD(k.ioeventfd(cpu))
}

// Armed is the vector that the processor's doorbell raises, 0 for none.
func (k *Kernel) Armed(cpu uint32) uint8 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if int(cpu) >= len(k.doorbells) {
		return 0
	}
	return k.doorbells[cpu].vector
}

func (k *Kernel) ioeventfd(cpu uint32) kvm.IOEventFD {
	d := &k.doorbells[cpu]
	return kvm.IOEventFD{
		Addr: k.base + DoorbellSize*uint64(cpu), Len: 4, Match: true, DataMatch: uint64(d.vector), FD: d.eventfd,
	}
}

// route gives every armed doorbell the GSI of its processor's number.
func (k *Kernel) route() error {
	var routes []kvm.IRQRoute
	for cpu := range k.doorbells {
		if v := k.doorbells[cpu].vector; v != 0 {
			routes = append(routes, kvm.MSIRoute(uint32(cpu), Address(uint32(cpu)), uint32(v)))
		}
	}
	return k.vm.SetGSIRouting(routes)
}

// Address is where a message for one local APIC goes: physical destination, in
// the form with 32-bit ids.
func Address(apic uint32) uint64 {
	return uint64(apic&^0xff)<<32 | messageBase | uint64(apic&0xff)<<12
}

// ReadMMIO implements pci.Region for the doorbell window: it reads zero.
func (k *Kernel) ReadMMIO(_ uint64, p []byte) { clear(p) }

// WriteMMIO implements pci.Region for stores that no armed doorbell matched: the
// vector stored, to the processor of that page.
func (k *Kernel) WriteMMIO(off uint64, p []byte) {
	if off%DoorbellSize != 0 || len(p) == 0 || p[0] < 16 {
		return
	}
	_ = k.SendMSI(pci.Message{Address: Address(uint32(off / DoorbellSize)), Data: uint32(p[0])})
}

// Size is the length of the doorbell window in bytes.
func (k *Kernel) Size() uint64 { return DoorbellSize * uint64(len(k.doorbells)) }

// Close closes the eventfds. The VM must not run any more.
func (k *Kernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var first error
	for _, d := range k.doorbells {
		if err := unix.Close(d.eventfd); err != nil && first == nil {
			first = err
		}
	}
	k.doorbells = nil
	return first
}
