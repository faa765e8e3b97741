package soft

import (
	"encoding/binary"
	"hash/fnv"
)

// Digest is a checksum of the registers that programs see, to compare runs by. It is for who calls on the
// processor's goroutine, or while Run does not run.
func (c *CPU) Digest() uint64 {
	h := fnv.New64a()
	var b [8]byte
	word := func(v uint64) {
		binary.LittleEndian.PutUint64(b[:], v)
		_, _ = h.Write(b[:])
	}
	for _, v := range c.r[:16] {
		word(v)
	}
	for _, v := range c.xmm {
		word(v.Lo)
		word(v.Hi)
	}
	for _, v := range []uint64{c.rip, c.RFLAGS(), uint64(c.mxcsr), c.cr0, c.cr2, c.cr3, c.cr4, c.bases[fs], c.bases[gs], c.Retired()} {
		word(v)
	}
	return h.Sum64()
}
