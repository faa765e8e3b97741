package pci

import "encoding/binary"

// Table is the MSI-X table as a region of 16 bytes a vector: address low and
// high, data, control (PCI 3.0 §6.8.2.6).
func (x *MSIX) Table() Region { return msixTable{x} }

// TableSize is the length of Table in bytes.
func (x *MSIX) TableSize() uint64 { return uint64(len(x.vectors)) * msixEntrySize }

// PBA is the pending bit array as a region, one bit a vector, read only.
func (x *MSIX) PBA() Region { return msixPBA{x} }

// PBASize is the length of PBA in bytes: whole quadwords.
func (x *MSIX) PBASize() uint64 { return uint64(len(x.vectors)+63) / 64 * 8 }

type msixTable struct{ x *MSIX }

// ReadMMIO implements [Region].
func (t msixTable) ReadMMIO(off uint64, p []byte) {
	clear(p)
	t.each(off, len(p), func(v *vector, at, from, n int) {
		entry := v.entry()
		copy(p[from:from+n], entry[at:])
	})
}

// WriteMMIO implements [Region].
func (t msixTable) WriteMMIO(off uint64, p []byte) {
	t.each(off, len(p), func(v *vector, at, from, n int) {
		entry := v.entry()
		copy(entry[at:], p[from:from+n])
		v.address = binary.LittleEndian.Uint64(entry[0:])
		v.data = binary.LittleEndian.Uint32(entry[8:])
		v.control = binary.LittleEndian.Uint32(entry[12:]) & msixEntryMask
		t.x.release(v)
	})
}

// each visits the vectors that [off, off+n) touches, each under its lock: at
// is the offset in the entry, from the offset in the access.
func (t msixTable) each(off uint64, n int, do func(v *vector, at, from, n int)) {
	for from := 0; from < n; {
		pos := off + uint64(from)
		index, at := pos/msixEntrySize, int(pos%msixEntrySize)
		if pos < off || index >= uint64(len(t.x.vectors)) {
			return
		}
		part := min(n-from, msixEntrySize-at)
		v := &t.x.vectors[index]
		v.mu.Lock()
		do(v, at, from, part)
		v.mu.Unlock()
		from += part
	}
}

func (v *vector) entry() (e [msixEntrySize]byte) {
	binary.LittleEndian.PutUint64(e[0:], v.address)
	binary.LittleEndian.PutUint32(e[8:], v.data)
	binary.LittleEndian.PutUint32(e[12:], v.control)
	return e
}

type msixPBA struct{ x *MSIX }

// ReadMMIO implements [Region].
func (b msixPBA) ReadMMIO(off uint64, p []byte) {
	clear(p)
	for i := range p {
		pos := off + uint64(i)
		for bit := range uint64(8) {
			n := pos*8 + bit
			if pos >= b.x.PBASize() || n >= uint64(len(b.x.vectors)) {
				break
			}
			v := &b.x.vectors[n]
			v.mu.Lock()
			if v.pending {
				p[i] |= 1 << bit
			}
			v.mu.Unlock()
		}
	}
}

// WriteMMIO implements [Region]: the array is read only.
func (msixPBA) WriteMMIO(uint64, []byte) {}
