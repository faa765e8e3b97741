package spec

import (
	"fmt"
	"strings"
)

// Word is a field of the capability registers, and what it says.
type Word struct{ Field, Says string }

// Describe reads CAP and ECAP out, VT-d §11.4.2-3: only what the unit has.
func Describe(cap, ecap uint64) (words []Word) {
	add := func(field, format string, args ...any) {
		words = append(words, Word{field, fmt.Sprintf(format, args...)})
	}
	field := func(v uint64, shift, bits int) uint64 { return v >> shift & (1<<bits - 1) }
	flag := func(v, bit uint64, name, says string) {
		if v&bit != 0 {
			add(name, "%s", says)
		}
	}
	var levels, widths []string
	for n := minLevels; n <= 5; n++ {
		if cap>>(capSAGAWShift+n-2)&1 != 0 {
			levels = append(levels, fmt.Sprint(n))
			widths = append(widths, fmt.Sprint(12+9*n))
		}
	}
	if len(levels) > 0 {
		add("SAGAW", "DMA is translated by tables of %s levels: addresses of %s bits", strings.Join(levels, " or "), strings.Join(widths, " or "))
		add("MGAW", "an address of a device has at most %d bits", field(cap, capMGAWShift, 6)+1)
		add("ND", "%d domains", uint64(16)<<(2*field(cap, 0, 3)))
	}
	flag(cap, cap2M, "SLLPS", "2 MiB pages")
	flag(cap, cap1G, "SLLPS", "1 GiB pages")
	if cap&capPSI != 0 {
		add("PSI", "pages are invalidated alone, up to 2^%d at once (MAMV)", field(cap, capMAMVShift, 6))
	}
	add("NFR", "%d fault records, at offset %#x", field(cap, capNFRShift, 8)+1, field(cap, capFROShift, 10)*16)
	flag(cap, capDWD, "DWD", "an invalidation waits for writes under way")
	flag(cap, capDRD, "DRD", "an invalidation waits for reads under way")
	flag(cap, CapPI, "PI", "interrupts are posted to a descriptor in memory")
	flag(cap, CapESIRTPS, "ESIRTPS", "a new interrupt table empties the interrupt entry cache")
	flag(cap, capESRTPS, "ESRTPS", "a new root table empties the context cache and the IOTLB")
	flag(ecap, EcapC, "C", "tables are read coherently")
	flag(ecap, ecapQI, "QI", "invalidations are queued")
	flag(ecap, EcapIR, "IR", "interrupts are remapped")
	flag(ecap, EcapEIM, "EIM", "to 32-bit destinations (x2APIC)")
	flag(ecap, ecapPT, "PT", "a function may pass through untranslated")
	if ecap&EcapIR != 0 && ecap&ecapQI != 0 {
		add("MHMV", "up to 2^%d interrupt entries are invalidated at once", field(ecap, ecapMHMVShift, 4))
	}
	return words
}
