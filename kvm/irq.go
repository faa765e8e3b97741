package kvm

// CreateIRQChip puts PICs, an IOAPIC and a local APIC for each later vCPU into
// the kernel (KVM_CREATE_IRQCHIP, [CapIRQChip]).
func (vm *VM) CreateIRQChip() error {
	_, err := vm.ioctl(reqCreateIRQChip, 0)
	return err
}

// EnableSplitIRQChip keeps only the local APICs in the kernel; PIC and IOAPIC
// are the caller's ([CapSplitIRQChip]). The first pins GSIs are reserved for
// the IOAPIC: an EOI of a vector routed through them leaves with
// [ExitIOAPICEOI]. Before any vCPU, and instead of CreateIRQChip.
func (vm *VM) EnableSplitIRQChip(pins uint32) error {
	return vm.EnableCap(CapSplitIRQChip, uint64(pins))
}

// EnableX2APICAPI chooses how interrupt messages name their destination
// ([CapX2APICAPI]): flags are X2APICAPIUse32BitIDs (bits 31:8 of the upper
// address word are id bits 31:8) and X2APICAPIDisableBroadcastQuirk (255 is an
// id in x2APIC mode, not everyone).
func (vm *VM) EnableX2APICAPI(flags uint64) error {
	return vm.EnableCap(CapX2APICAPI, flags)
}

// pitConfig is struct kvm_pit_config.
type pitConfig struct {
	_ uint32
	_ [15]uint32
}

// CreatePIT2 puts an i8254 into the kernel (KVM_CREATE_PIT2, [CapPIT2]); it
// needs [VM.CreateIRQChip].
func (vm *VM) CreatePIT2() error {
	return call(&vm.descriptor, reqCreatePIT2, new(pitConfig))
}

// irqLevel is struct kvm_irq_level.
type irqLevel struct {
	gsi   uint32
	level uint32
}

// IRQLine drives a GSI of the in-kernel controllers (KVM_IRQ_LINE, [CapIRQChip]).
func (vm *VM) IRQLine(gsi uint32, high bool) error {
	in := irqLevel{gsi: gsi}
	if high {
		in.level = 1
	}
	return call(&vm.descriptor, reqIRQLine, &in)
}

// msi is struct kvm_msi.
type msi struct {
	addressLo, addressHi uint32
	data                 uint32
	_                    uint32 // flags
	_                    uint32 // devid
	_                    [12]byte
}

// SignalMSI sends one message to the local APICs (KVM_SIGNAL_MSI,
// [CapSignalMSI]) and returns how many took it: 0 if the interrupt was already
// pending, or if no APIC has that id, which some kernels report as EPERM. It
// does not allocate, and may sleep.
func (vm *VM) SignalMSI(address uint64, data uint32) (delivered int, err error) {
	return ioctlPtr(&vm.descriptor, reqSignalMSI, &msi{
		addressLo: uint32(address),
		addressHi: uint32(address >> 32),
		data:      data,
	})
}

// IRQRoute is one entry of the GSI table (struct kvm_irq_routing_entry): make
// it with [MSIRoute] or [IRQChipRoute].
type IRQRoute struct {
	GSI   uint32
	Type  uint32 // IRQRoutingMSI, IRQRoutingIRQChip
	Flags uint32
	_     uint32
	U     [8]uint32 // MSI: address low, high, data, device; IRQChip: chip, pin
}

// MSIRoute sends a GSI as a message.
func MSIRoute(gsi uint32, address uint64, data uint32) IRQRoute {
	return IRQRoute{GSI: gsi, Type: IRQRoutingMSI, U: [8]uint32{uint32(address), uint32(address >> 32), data}}
}

// IRQChipRoute connects a GSI to a pin of an in-kernel controller (IRQChipPICMaster, …).
func IRQChipRoute(gsi, chip, pin uint32) IRQRoute {
	return IRQRoute{GSI: gsi, Type: IRQRoutingIRQChip, U: [8]uint32{chip, pin}}
}

// SetGSIRouting replaces the whole GSI table (KVM_SET_GSI_ROUTING,
// [CapIRQRouting], which also gives the number of GSIs). It waits for the
// table's readers, milliseconds: not for a data path.
func (vm *VM) SetGSIRouting(routes []IRQRoute) error {
	_, _, err := ioctlArray(&vm.descriptor, reqSetGSIRouting, routes)
	return err
}

// irqfd is struct kvm_irqfd.
type irqfd struct {
	fd         uint32
	gsi        uint32
	flags      uint32
	resampleFD uint32
	_          [16]byte
}

// AssignIRQFD raises gsi at each write to eventfd fd (KVM_IRQFD, [CapIRQFD]).
// The kernel consumes the eventfd's count; the binding ends with DeassignIRQFD
// or when the last descriptor of the eventfd closes.
func (vm *VM) AssignIRQFD(gsi uint32, fd int) error {
	return vm.irqfd(irqfd{fd: uint32(fd), gsi: gsi})
}

// AssignIRQFDResample is AssignIRQFD for a level-triggered pin of the in-kernel
// IOAPIC (not of a split one): fd raises the level, the guest's EOI lowers it
// and writes resampleFD ([CapIRQFDResample]).
func (vm *VM) AssignIRQFDResample(gsi uint32, fd, resampleFD int) error {
	return vm.irqfd(irqfd{fd: uint32(fd), gsi: gsi, flags: irqfdFlagResample, resampleFD: uint32(resampleFD)})
}

// DeassignIRQFD undoes AssignIRQFD and AssignIRQFDResample; it returns when no
// interrupt from fd is in flight.
func (vm *VM) DeassignIRQFD(gsi uint32, fd int) error {
	return vm.irqfd(irqfd{fd: uint32(fd), gsi: gsi, flags: irqfdFlagDeassign})
}

func (vm *VM) irqfd(in irqfd) error {
	return call(&vm.descriptor, reqIRQFD, &in)
}

// IOEventFD is a doorbell: a guest store that writes an eventfd instead of
// leaving to user space.
type IOEventFD struct {
	Addr      uint64 // guest-physical address, or port if PIO
	Len       uint32 // 1, 2, 4 or 8 bytes; 0 takes a store of any length ([CapIOEventFDAnyLength])
	FD        int
	PIO       bool
	Match     bool // only stores of DataMatch; not with Len 0
	DataMatch uint64
}

// ioeventfd is struct kvm_ioeventfd.
type ioeventfd struct {
	datamatch uint64
	addr      uint64
	len       uint32
	fd        int32
	flags     uint32
	_         [36]byte
}

// AssignIOEventFD installs a doorbell (KVM_IOEVENTFD, [CapIOEventFD]). A store
// that fits no doorbell leaves with [ExitMMIO] or [ExitIO].
func (vm *VM) AssignIOEventFD(e IOEventFD) error { return vm.ioeventfd(e, 0) }

// DeassignIOEventFD removes the doorbell that was assigned with the same fields.
func (vm *VM) DeassignIOEventFD(e IOEventFD) error { return vm.ioeventfd(e, ioeventfdFlagDeassign) }

func (vm *VM) ioeventfd(e IOEventFD, flags uint32) error {
	if e.PIO {
		flags |= ioeventfdFlagPIO
	}
	if e.Match {
		flags |= ioeventfdFlagDataMatch
	}
	_, err := ioctlPtr(&vm.descriptor, reqIOEventFD, &ioeventfd{
		datamatch: e.DataMatch, addr: e.Addr, len: e.Len, fd: int32(e.FD), flags: flags,
	})
	return err
}
