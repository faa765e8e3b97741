package boot

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var pc = ACPI{
	CPUs: 2, LocalAPIC: 0xfee00000, IOAPIC: 0xfec00000, PM: 0x600, SCI: 9, SleepOff: 5, Reset: 0xcf9, COM1: 0x3f8, RTC: 0x70,
	Panic: 0x505, Window: Region{Base: 0xe0000000, Size: 0x1eb00000}, ECAM: Region{Base: 0xd0000000, Size: 1 << 20},
}

// tables finds the tables as a kernel does, judging lengths and checksums, by signature.
func tables(t *testing.T, m ram) map[string][]byte {
	t.Helper()
	le := binary.LittleEndian
	at := bytes.Index(m[firmwareBase:holeEnd], []byte("RSD PTR "))
	require.GreaterOrEqual(t, at, 0)
	require.Zero(t, at%16)
	rsdp := m[firmwareBase+at:][:36]
	require.Zero(t, sum(rsdp[:20]))
	require.Zero(t, sum(rsdp))
	found := make(map[string][]byte)
	read := func(at uint64) []byte {
		require.GreaterOrEqual(t, at, uint64(firmwareBase))
		b := m[at : at+uint64(le.Uint32(m[at+4:]))]
		require.LessOrEqual(t, at+uint64(len(b)), uint64(holeEnd))
		require.NotContains(t, found, string(b[:4]))
		found[string(b[:4])] = b
		if string(b[:4]) != "FACS" {
			require.Zero(t, sum(b), string(b[:4]))
		}
		return b
	}
	xsdt := read(le.Uint64(rsdp[24:]))
	for p := xsdt[36:]; len(p) > 0; p = p[8:] {
		read(le.Uint64(p))
	}
	read(le.Uint64(found["FACP"][132:]))
	read(le.Uint64(found["FACP"][140:]))
	return found
}

func TestTablesAreFoundAndAddUp(t *testing.T) {
	for _, cpus := range []int{1, 2, 64, 255} {
		m := make(ram, 1<<20)
		a := pc
		a.CPUs = cpus
		at, err := a.Write(m)
		require.NoError(t, err)
		require.EqualValues(t, firmwareBase, at)
		found := tables(t, m)
		require.Len(t, found, 6, "without a remapping unit there is no DMAR")
		require.Len(t, found["APIC"], 44+8*cpus+12+2*10+6)
		require.Equal(t, make([]byte, firmwareBase), []byte(m[:firmwareBase]))
	}
}

func TestTablesThatCannotBeWrittenAreRefused(t *testing.T) {
	for _, cpus := range []int{0, 256} {
		_, err := ACPI{CPUs: cpus}.Write(make(ram, 1<<20))
		require.Error(t, err)
	}
	_, err := pc.Write(make(ram, 1<<19))
	require.Error(t, err)
}

func TestTablesThatNotEveryMachineHas(t *testing.T) {
	m := make(ram, 1<<20)
	a := pc
	a.DMAR = DMAR{Base: 0xfed90000, Width: 46, IOAPIC: 0xff00}
	_, err := a.Write(m)
	require.NoError(t, err)
	found := tables(t, m)
	require.Equal(t, a.DMAR.body(), found["DMAR"][36:])
	require.EqualValues(t, 0xd0000000, binary.LittleEndian.Uint64(found["MCFG"][44:]))
	require.Zero(t, found["MCFG"][55], "one bus")
	a.ECAM, a.DMAR = Region{}, DMAR{}
	m = make(ram, 1<<20)
	_, err = a.Write(m)
	require.NoError(t, err)
	require.NotContains(t, tables(t, m), "MCFG")
	require.NotContains(t, tables(t, m), "DMAR")
}

func TestLengthsCountThemselves(t *testing.T) {
	for _, n := range []int{0, 1, 61, 62, 63, 64, 1000, 4093, 4094, 4095, 5000, 1<<20 - 4, 1<<20 - 3, 1 << 20} {
		b := withLength(make(aml, n))
		more := int(b[0] >> 6)
		length := int(b[0] & 0x3f)
		for i := range more {
			require.Zero(t, b[0]&0x30)
			length |= int(b[1+i]) << (4 + 8*i)
		}
		require.Equal(t, len(b), length)
		require.Equal(t, n, len(b)-1-more)
	}
}

// TestTheReferenceCompilerReadsTheTables disassembles each table, and compiles the DSDT again.
func TestTheReferenceCompilerReadsTheTables(t *testing.T) {
	tool, err := exec.LookPath("iasl")
	if err != nil {
		t.Skip("no iasl on PATH (Debian: acpica-tools): ", err)
	}
	m := make(ram, 1<<20)
	_, err = pc.Write(m)
	require.NoError(t, err)
	dir := t.TempDir()
	source := make(map[string]string)
	for name, b := range tables(t, m) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path+".aml", b, 0o600))
		out, err := exec.Command(tool, "-p", path, "-d", path+".aml").CombinedOutput()
		require.NoError(t, err, string(out))
		for _, bad := range []string{"Warning", "Error", "invalid", "Invalid"} {
			require.NotContains(t, string(out), bad, name)
		}
		text, err := os.ReadFile(path + ".dsl")
		require.NoError(t, err)
		source[name] = string(text)
		for _, bad := range []string{"Error", "Invalid", "Unknown", "incorrect"} {
			require.NotContains(t, source[name], bad, name)
		}
	}
	for _, want := range []string{
		`EisaId ("PNP0A03")`, `EisaId ("PNP0501")`, `EisaId ("PNP0B00")`, `Name (\_S5`,
		"0xE0000000,         // Range Minimum", "0xFEAFFFFF,         // Range Maximum",
		`"QEMU0001"`, "0x0505,", `EisaId ("PNP0C02")`, "0xD0000000,         // Address Base", "0x00100000,         // Address Length",
	} {
		require.Contains(t, source["DSDT"], want)
	}
	for _, want := range []string{"PM Timer Block Address : 00000608", "SCI Interrupt : 0009", "SMI Command Port : 00000000"} {
		require.Contains(t, source["FACP"], want)
	}
	for _, want := range []string{"Base Address : 00000000D0000000", "End Bus Number : 00"} {
		require.Contains(t, source["MCFG"], want)
	}
	out, err := exec.Command(tool, "-p", filepath.Join(dir, "again"), filepath.Join(dir, "DSDT.dsl")).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "0 Errors, 0 Warnings", fmt.Sprintf("%s\n%s", out, source["DSDT"]))
}
