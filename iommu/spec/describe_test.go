package spec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCapabilitiesReadInWords(t *testing.T) {
	require.Equal(t, []Word{
		{"SAGAW", "DMA is translated by tables of 3 or 4 levels: addresses of 39 or 48 bits"},
		{"MGAW", "an address of a device has at most 48 bits"},
		{"ND", "65536 domains"},
		{"SLLPS", "2 MiB pages"},
		{"SLLPS", "1 GiB pages"},
		{"PSI", "pages are invalidated alone, up to 2^18 at once (MAMV)"},
		{"NFR", "8 fault records, at offset 0x220"},
		{"DWD", "an invalidation waits for writes under way"},
		{"DRD", "an invalidation waits for reads under way"},
		{"PI", "interrupts are posted to a descriptor in memory"},
		{"ESIRTPS", "a new interrupt table empties the interrupt entry cache"},
		{"ESRTPS", "a new root table empties the context cache and the IOTLB"},
		{"C", "tables are read coherently"},
		{"QI", "invalidations are queued"},
		{"IR", "interrupts are remapped"},
		{"EIM", "to 32-bit destinations (x2APIC)"},
		{"PT", "a function may pass through untranslated"},
		{"MHMV", "up to 2^15 interrupt entries are invalidated at once"},
	}, Describe(0xC8D2078C222F0606, 0xF00F5B))
	require.Equal(t, []Word{
		{"NFR", "8 fault records, at offset 0x220"},
		{"ESIRTPS", "a new interrupt table empties the interrupt entry cache"},
		{"C", "tables are read coherently"},
		{"IR", "interrupts are remapped"},
	}, Describe(CapFaultRecords(8)|CapESIRTPS, EcapC|EcapIR))
}
