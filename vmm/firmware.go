package vmm

import (
	"gvmm/irqchip"
	"gvmm/vcpu"
	"gvmm/vmm/boot"
	"gvmm/vmm/platform"
)

// Where what the ACPI tables name lies beside config.go's places.
const (
	localAPICBase = 0xFEE0_0000
	lineSCI       = 9
	addressBits   = 46 // of the software CPU's physical addresses
)

// inform writes what firmware leaves for a kernel, and returns the address of what its
// protocol hands over.
func (m *Machine) inform(entry boot.Entry) (uint32, error) {
	info := boot.Info{Command: m.config.Command, Map: boot.PCMap(m.config.Memory)}
	var err error
	if m.config.Initrd != "" {
		if info.Initrd, err = boot.LoadInitrd(m.config.Initrd, m.memory, entry, m.config.Memory); err != nil {
			return 0, err
		}
	}
	if m.config.Accel == vcpu.AccelSoft { // KVM's machine has neither an I/O APIC nor PM registers
		if info.RSDP, err = m.acpi().Write(m.memory); err != nil {
			return 0, err
		}
	}
	return entry.Information(m.memory, info)
}

// acpi is the machine as its tables describe it.
func (m *Machine) acpi() boot.ACPI {
	a := boot.ACPI{
		CPUs: m.config.CPUs, LocalAPIC: localAPICBase, IOAPIC: irqchip.IOAPICBase,
		PM: portPM, SCI: lineSCI, SleepOff: platform.SleepOff, Reset: portReset,
		COM1: portCOM1, RTC: platform.PortCMOS,
		Window: boot.Region{Base: barBase, Size: doorbellBase - barBase},
	}
	if m.config.IOMMU {
		a.DMAR = boot.DMAR{Base: iommuBase, Width: addressBits, IOAPIC: uint16(ioapicRID)}
	}
	return a
}
