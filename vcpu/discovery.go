package vcpu

import "encoding/binary"

// Leaf is a leaf of CPUID, subleaf 0.
type Leaf struct {
	Function           uint32
	EAX, EBX, ECX, EDX uint32
}

// signature is GVMM_SIGNATURE_* of guests/lib/abi.h.
const signature = "gvmm uintr 1"

// flagPosted is GVMM_FLAG_POSTED, beside the way.
const flagPosted = 0x100

// DiscoveryLeaves are the CPUID leaves by which a guest finds user interrupts
// (GVMM_LEAF_* of guests/lib/abi.h). Stock KVM keeps unknown leaves, whatever it
// does to the others; at CPL 3 some hosts answer CPUID themselves.
func DiscoveryLeaves(way Way, posted bool, doorbells, cpus, iommu uint32) []Leaf {
	word := func(i int) uint32 { return binary.LittleEndian.Uint32([]byte(signature)[i:]) }
	flags := uint32(way)
	if posted {
		flags |= flagPosted
	}
	return []Leaf{
		{Function: 0x40000100, EAX: 0x40000101, EBX: word(0), ECX: word(4), EDX: word(8)},
		{Function: 0x40000101, EAX: flags, EBX: doorbells, ECX: cpus, EDX: iommu},
	}
}
