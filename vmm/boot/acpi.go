package boot

import (
	"encoding/binary"
	"fmt"
)

// ACPI is the machine that the tables describe.
type ACPI struct {
	CPUs      int    // with local APIC ids from 0 on
	LocalAPIC uint32 // physical addresses
	IOAPIC    uint32
	PM        uint16 // first port of the fixed registers: PM1a event, PM1a control and, at 8, a timer of 32 bits
	SCI       uint8  // ISA line of the fixed registers, level-triggered and active high
	SleepOff  uint8  // SLP_TYP of S5
	Reset     uint16 // port of the reset control register
	COM1, RTC uint16 // first ports; 0: no such device
	Panic     uint16 // port of the panic device; 0: none
	Window    Region // of PCI memory
	ECAM      Region // of PCI configuration by memory, a MiB for each bus from 0 on; Size 0: ports alone
	DMAR      DMAR
}

// ioapicID is the I/O APIC's id, in the MADT and wherever else it is named.
const ioapicID = 0

// acpiMaxCPUs is how many local APICs have an id of 8 bits, FFH being all of them.
const acpiMaxCPUs = 255

// Bytes of tables and of what they hold (ACPI 6.4 §5.2).
const (
	rsdpBytes  = 36
	tableHead  = 36
	facsBytes  = 64
	fadtBytes  = 276
	alignTable = 64
)

// Write puts the tables where firmware has its place and returns the address of the root
// pointer, which lies where kernels search it.
func (a ACPI) Write(m Memory) (rsdp uint64, err error) {
	if a.CPUs < 1 || a.CPUs > acpiMaxCPUs {
		return 0, fmt.Errorf("boot: ACPI for %d CPUs; it has room for %d", a.CPUs, acpiMaxCPUs)
	}
	area, err := m.View(firmwareBase, holeEnd-firmwareBase)
	if err != nil {
		return 0, fmt.Errorf("boot: ACPI tables: %w", err)
	}
	used := uint64(alignTable) // the root pointer's
	put := func(table []byte) uint64 {
		at := used
		if used += (uint64(len(table)) + alignTable - 1) &^ (alignTable - 1); used <= uint64(len(area)) {
			copy(area[at:], table)
		}
		return firmwareBase + at
	}
	facs := put(a.facs())
	dsdt := put(table("DSDT", 2, a.dsdt()))
	tables := append([]acpiTable{{"FACP", 6, a.fadt(facs, dsdt)}, {"APIC", 5, a.madt()}}, a.optional()...)
	var list []byte
	for _, t := range tables {
		list = binary.LittleEndian.AppendUint64(list, put(table(t.signature, t.revision, t.body)))
	}
	xsdt := put(table("XSDT", 1, list))
	if used > uint64(len(area)) {
		return 0, fmt.Errorf("boot: ACPI tables of %d bytes; there is room for %d", used, len(area))
	}
	copy(area, rootPointer(xsdt))
	return firmwareBase, nil
}

const (
	oemID    = "GVMM  "
	oemTable = "GVMMPC  "
	creator  = "GVMM"
)

// table is a table with its header and the checksum in it (§5.2.6).
func table(signature string, revision byte, body []byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte(signature), uint32(tableHead+len(body)))
	b = append(b, revision, 0)
	b = append(b, oemID+oemTable...)
	b = le.AppendUint32(b, 1)
	b = append(b, creator...)
	b = le.AppendUint32(b, 1)
	b = append(b, body...)
	b[9] = -sum(b)
	return b
}

func sum(b []byte) (s byte) {
	for _, v := range b {
		s += v
	}
	return s
}

// rootPointer is the RSDP (§5.2.5.3), without the RSDT of ACPI 1.0.
func rootPointer(xsdt uint64) []byte {
	b := make([]byte, rsdpBytes)
	copy(b, "RSD PTR ")
	copy(b[9:], oemID)
	b[15] = 2
	binary.LittleEndian.PutUint32(b[20:], rsdpBytes)
	binary.LittleEndian.PutUint64(b[24:], xsdt)
	b[8] = -sum(b[:20])
	b[32] = -sum(b)
	return b
}

// facs is what a machine that never sleeps has of it (§5.2.10): no checksum, no lock.
func (a ACPI) facs() []byte {
	b := make([]byte, facsBytes)
	copy(b, "FACS")
	binary.LittleEndian.PutUint32(b[4:], facsBytes)
	b[32] = 2
	return b
}

// Bits of the FADT (§5.2.9).
const (
	fadtWBINVD   = 1 << 0
	fadtC1       = 1 << 2
	fadtNoSleep  = 1 << 5 // no sleep button among the fixed registers
	fadtNoRTC    = 1 << 6 // nor the RTC's wake status
	fadtTimer32  = 1 << 8
	fadtReset    = 1 << 10
	fadtHeadless = 1 << 12

	bootLegacy = 1 << 0
	bootNoVGA  = 1 << 2
	bootNoASPM = 1 << 4
)

// fadt is the body of the FADT: offsets here are the specification's, of the whole table.
func (a ACPI) fadt(facs, dsdt uint64) []byte {
	b := make([]byte, fadtBytes)
	le := binary.LittleEndian
	le.PutUint32(b[40:], uint32(dsdt))
	le.PutUint16(b[46:], uint16(a.SCI))
	le.PutUint32(b[56:], uint32(a.PM))
	le.PutUint32(b[64:], uint32(a.PM)+4)
	le.PutUint32(b[76:], uint32(a.PM)+8)
	b[88], b[89], b[91] = 4, 2, 4
	le.PutUint16(b[96:], 0xfff)  // no C2
	le.PutUint16(b[98:], 0xffff) // no C3
	b[108] = 0x32                // the century in CMOS
	le.PutUint16(b[109:], bootLegacy|bootNoVGA|bootNoASPM)
	le.PutUint32(b[112:], fadtWBINVD|fadtC1|fadtNoSleep|fadtNoRTC|fadtTimer32|fadtReset|fadtHeadless)
	copy(b[116:], portAddress(a.Reset, 1, 1))
	b[128] = 0x06               // a hard reset
	b[131] = 4                  // ACPI 6.4
	le.PutUint64(b[132:], facs) // and not its address of 32 bits: one of the two is to be given
	le.PutUint64(b[140:], dsdt)
	copy(b[148:], portAddress(a.PM, 4, 2)) // status and enable, each its own
	copy(b[172:], portAddress(a.PM+4, 2, 2))
	copy(b[208:], portAddress(a.PM+8, 4, 4))
	return b[tableHead:]
}

// portAddress is a generic address structure for n bytes of I/O space that are accessed
// width bytes at a time (§5.2.3.2).
func portAddress(port uint16, n, width byte) []byte {
	access := map[byte]byte{1: 1, 2: 2, 4: 3}[width]
	return binary.LittleEndian.AppendUint64([]byte{1, 8 * n, 0, access}, uint64(port))
}

// Flags of an interrupt in the MADT (§5.2.12.5): as its bus has it, or level and active high.
const (
	intiBus   = 0
	intiLevel = 3<<2 | 1
)

// madt is the MADT's body (§5.2.12): a local APIC a processor, one I/O APIC, the lines that are not where ISA has them.
func (a ACPI) madt() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, a.LocalAPIC)
	b = le.AppendUint32(b, 1) // 8259s too
	for id := range a.CPUs {
		b = append(b, 0, 8, byte(id), byte(id))
		b = le.AppendUint32(b, 1)
	}
	b = append(b, 1, 12, ioapicID, 0) // from interrupt 0 on
	b = le.AppendUint32(b, a.IOAPIC)
	b = le.AppendUint32(b, 0)
	for _, o := range []struct {
		line   byte
		global uint32
		flags  uint16
	}{{0, 2, intiBus}, {a.SCI, uint32(a.SCI), intiLevel}} {
		b = append(b, 2, 10, 0, o.line)
		b = le.AppendUint32(b, o.global)
		b = le.AppendUint16(b, o.flags)
	}
	return append(b, 4, 6, 0xff, 0, 0, 1) // LINT1 of all processors is NMI
}

// acpiTable is one that the XSDT names: its body is what follows the header.
type acpiTable struct {
	signature string
	revision  byte
	body      []byte
}

// optional are the tables that not every machine has.
func (a ACPI) optional() (list []acpiTable) {
	if a.ECAM.Size > 0 {
		list = append(list, acpiTable{"MCFG", 1, a.mcfg()})
	}
	if a.DMAR.Base != 0 {
		list = append(list, acpiTable{"DMAR", 1, a.DMAR.body()})
	}
	return list
}

// ecamBus is a bus's share of ECAM.
const ecamBus = 1 << 20

// mcfg is the MCFG's body (PCI Firmware 3.2 §4.1.2): segment 0, from bus 0 on.
func (a ACPI) mcfg() []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 8), a.ECAM.Base)
	return append(b, 0, 0, 0, byte(a.ECAM.Size/ecamBus-1), 0, 0, 0, 0)
}

// dsdt is the DSDT's body: the PCI root with what it hands on, the devices of ISA, and how to power off.
func (a ACPI) dsdt() []byte {
	const configFirst, configPorts = 0xcf8, 8
	system := []aml{
		object("PCI0",
			named("_HID", eisaID("PNP0A03")),
			named("_UID", number(0)),
			named("_BBN", number(0)),
			named("_CRS", resources(
				window16(windowBuses, 0, 0),
				ioPorts(configFirst, configPorts),
				window16(windowPorts, 0, configFirst-1),
				window16(windowPorts, configFirst+configPorts, 0xffff),
				window32(windowMemory, uint32(a.Window.Base), uint32(a.Window.Base+a.Window.Size-1)),
			)),
		),
	}
	if a.COM1 != 0 {
		system = append(system, object("COM1", named("_HID", eisaID("PNP0501")), named("_UID", number(1)),
			named("_CRS", resources(ioPorts(a.COM1, 8), isaIRQ(4)))))
	}
	if a.RTC != 0 {
		system = append(system, object("RTC_", named("_HID", eisaID("PNP0B00")),
			named("_CRS", resources(ioPorts(a.RTC, 2), isaIRQ(8)))))
	}
	if a.Panic != 0 {
		system = append(system, object("PEVT", named("_HID", text("QEMU0001")), named("_CRS", resources(ioPorts(a.Panic, 1)))))
	}
	if a.ECAM.Size != 0 { // kernels want it reserved by a device of the board's
		system = append(system, object("MRES", named("_HID", eisaID("PNP0C02")), named("_UID", number(0)),
			named("_CRS", resources(memory32(uint32(a.ECAM.Base), uint32(a.ECAM.Size))))))
	}
	return join(
		scope("\\_SB_", system...),
		named("\\_S5_", list(number(uint32(a.SleepOff)), number(0), number(0), number(0))),
	)
}
