// Package spec holds the layouts of a VT-d remapping unit in legacy mode: register offsets and bits, the tables of DMA and
// interrupt remapping, interrupt requests, invalidation descriptors, fault reasons and records, and the vendor page that carries user-posted
// interrupts (`iommu.md §2.5`).
//
// There is no behaviour here. In-memory structures that hardware reads as a unit are values of two 64-bit words; the others are byte slices.
// All of them are little-endian.
package spec
