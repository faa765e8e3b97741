package memory

// Physical is a device's view of memory when no IOMMU translates: a DMA address is a guest-physical address.
type Physical struct{ *Memory }

// DMA returns the identity view of m.
func (m *Memory) DMA() Physical { return Physical{m} }

// View returns the n contiguous bytes at addr. All RAM is writable, so write changes nothing.
func (p Physical) View(addr uint64, n int, write bool) ([]byte, error) {
	if n < 0 {
		return nil, ErrUnmapped
	}
	return p.Memory.View(addr, uint64(n))
}

// Segments appends to dst the host views of [addr, addr+n) in order: one for each slot that the range touches, none when n is 0.
// When any of it is unmapped dst is returned as it came, with the error.
func (p Physical) Segments(dst [][]byte, addr uint64, n uint32, write bool) ([][]byte, error) {
	out := dst
	for left := uint64(n); left > 0; {
		host, err := p.from(addr)
		if err != nil {
			return dst, err
		}
		take := min(left, uint64(len(host)))
		out = append(out, host[:take:take])
		addr += take
		left -= take
	}
	return out, nil
}
