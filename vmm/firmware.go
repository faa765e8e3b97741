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
	info := boot.Info{Command: m.config.Command, Map: m.memoryMap()}
	var err error
	if disks := m.kernel.initrds; len(disks) > 0 {
		if info.Initrd, err = boot.LoadInitrd(m.memory, entry, m.config.Memory, disks...); err != nil {
			return 0, err
		}
		m.initrd = info.Initrd
	}
	if m.config.Accel == vcpu.AccelSoft { // KVM's machine has neither an I/O APIC nor PM registers
		if info.RSDP, err = m.acpi().Write(m.memory); err != nil {
			return 0, err
		}
	}
	return entry.Information(m.memory, info)
}

// addRAM makes the machine's RAM, as boot.Split has it.
func (m *Machine) addRAM() error {
	low, high := boot.Split(m.config.Memory)
	if err := m.memory.AddRAM(0, low); err != nil || high == 0 {
		return err
	}
	return m.memory.AddRAM(boot.HighBase, high)
}

func (m *Machine) isRAM(addr uint64) bool {
	low, high := boot.Split(m.config.Memory)
	return addr < low || addr-boot.HighBase < high
}

// memoryMap is what the guest is told of its memory.
func (m *Machine) memoryMap() []boot.Region {
	return boot.PCMap(m.config.Memory, boot.Region{Base: ecamBase, Size: ecamBytes, Type: boot.Reserved})
}

// acpi is the machine as its tables describe it.
func (m *Machine) acpi() boot.ACPI {
	a := boot.ACPI{
		CPUs: m.config.CPUs, LocalAPIC: localAPICBase, IOAPIC: irqchip.IOAPICBase,
		PM: portPM, SCI: lineSCI, SleepOff: platform.SleepOff, Reset: portReset,
		COM1: portCOM1, RTC: platform.PortCMOS, Panic: portPanic,
		Window: boot.Region{Base: barBase, Size: doorbellBase - barBase},
		ECAM:   boot.Region{Base: ecamBase, Size: ecamBytes},
	}
	if m.config.IOMMU {
		a.DMAR = boot.DMAR{Base: iommuBase, Width: addressBits, IOAPIC: uint16(ioapicRID)}
	}
	return a
}
