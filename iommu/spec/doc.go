// Package spec holds the layouts of a VT-d remapping unit as far as interrupts need them: register offsets and bits, interrupt-remapping table
// entries, interrupt requests, fault reasons and records, and the vendor page that carries user-posted interrupts (`iommu.md §2.5`).
//
// There is no behaviour here. In-memory structures that hardware reads as a unit are values of two 64-bit words; the others are byte slices.
// All of them are little-endian.
package spec
