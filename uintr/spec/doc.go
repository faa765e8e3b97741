// Package spec holds the layouts of the user-interrupt architecture: the two in-memory structures (UPID and UITT
// entry), the XSAVE image, MSR and CPUID numbers, the delivered frame and the reserved masks (`uintr.md §1`).
//
// In-memory structures are byte-slice types over memory that senders, receivers and devices share, so every access to
// them is one atomic operation on an aligned 64-bit word. Beyond that there is no behaviour here: no privilege, no
// faults, no delivery. A misaligned or short slice is a mistake of the caller and panics.
//
// A UPID is two words: the control word (ON, SN, NV, NDST), which every party changes by compare-and-exchange, and PIR.
// The protocol that makes two words enough is `iommu.md §2.2-2.3`: a sender sets its PIR bit before it looks at ON, a
// receiver clears ON before it takes PIR, and a scheduler that lets a receiver run looks at PIR after it cleared SN.
package spec
