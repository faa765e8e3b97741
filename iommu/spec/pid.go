package spec

// PID is the posted-interrupt descriptor of a virtual CPU, 64 bytes and 64-byte aligned, VT-d §9.11: 256 requests, then a control word with the
// fields of a UPID's (`iommu.md §2.1`).
const (
	PIDBytes   = 64
	PIDControl = 32
)

// PIDRequest locates the request bit of vector: the offset of its 64-bit word, and the bit in it.
func PIDRequest(vector uint8) (offset, bit uint64) {
	return uint64(vector/64) * 8, 1 << (vector % 64)
}
