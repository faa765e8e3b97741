package boot

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// dmar is the DMAR of a machine that has a unit.
func dmar(t *testing.T, d DMAR) []byte {
	t.Helper()
	a := pc
	a.DMAR = d
	m := make(ram, 1<<20)
	_, err := a.Write(m)
	require.NoError(t, err)
	found := tables(t, m)
	require.Contains(t, found, "DMAR")
	return found["DMAR"]
}

// TestTheUnitIsDescribed goes through the table as a kernel does (VT-d §8).
func TestTheUnitIsDescribed(t *testing.T) {
	b := dmar(t, DMAR{Base: 0xfed90000, Width: 46, IOAPIC: 0xff00})
	require.Len(t, b, 72)
	require.Equal(t, byte(45), b[36], "host address width")
	require.Equal(t, byte(1), b[37], "INTR_REMAP, and x2APIC is not opted out of")
	unit := b[48:]
	require.Equal(t, []byte{0, 0, 24, 0, 1, 0, 0, 0}, unit[:8], "DRHD of 24 bytes, INCLUDE_PCI_ALL, segment 0")
	require.Equal(t, []byte{0, 0, 0xd9, 0xfe, 0, 0, 0, 0}, unit[8:16])
	require.Equal(t, []byte{3, 8, 0, 0, ioapicID, 0xff, 0, 0}, unit[16:], "the I/O APIC of the MADT, at ff:00.0")

	scope := dmar(t, DMAR{Base: 0xfed90000, Width: 46, IOAPIC: 0x12<<8 | 0x1e<<3 | 5})[64:]
	require.Equal(t, []byte{3, 8, 0, 0, ioapicID, 0x12, 0x1e, 5}, scope)
}

func TestTheReferenceCompilerReadsTheUnit(t *testing.T) {
	tool, err := exec.LookPath("iasl")
	if err != nil {
		t.Skip("no iasl on PATH (Debian: acpica-tools): ", err)
	}
	path := filepath.Join(t.TempDir(), "DMAR")
	require.NoError(t, os.WriteFile(path+".aml", dmar(t, DMAR{Base: 0xfed90000, Width: 46, IOAPIC: 0xff00}), 0o600))
	out, err := exec.Command(tool, "-p", path, "-d", path+".aml").CombinedOutput()
	require.NoError(t, err, string(out))
	text, err := os.ReadFile(path + ".dsl")
	require.NoError(t, err)
	for _, bad := range []string{"Error", "Invalid", "Unknown", "incorrect", "Warning"} {
		require.NotContains(t, string(out)+string(text), bad)
	}
	for _, want := range []string{
		"Host Address Width : 2D", "Flags : 01", "Subtable Type : 0000 [Hardware Unit Definition]", "Register Base Address : 00000000FED90000",
		"Device Scope Type : 03 [IOAPIC Device]", "Enumeration ID : 00", "PCI Bus Number : FF", "PCI Path : 00,00",
	} {
		require.Contains(t, string(text), want)
	}
}
