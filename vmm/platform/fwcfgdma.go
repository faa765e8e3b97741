package platform

import "encoding/binary"

// A DMA request in guest memory, big-endian: control, length, address.
const (
	dmaControl = 0
	dmaLength  = 4
	dmaAddress = 8
	dmaBytes   = 16

	dmaError  = 1 << 0
	dmaRead   = 1 << 1
	dmaSkip   = 1 << 2
	dmaSelect = 1 << 3
	dmaWrite  = 1 << 4
	dmaKey    = 16 // shift of the key to select

	// dmaChunk is the most that is copied at once, inside a page, so that a request may
	// cross ranges of RAM.
	dmaChunk = 4096
)

const dmaSignature = "QEMU CFG"

var dmaZeros [dmaChunk]byte

// request carries out the request at addr. A request that cannot be read is lost.
func (f *FwCfg) request(addr uint64) {
	r := f.dma[:]
	if f.memory.ReadAt(r, addr) != nil {
		return
	}
	be := binary.BigEndian
	control, length := be.Uint32(r[dmaControl:]), be.Uint32(r[dmaLength:])
	if control&dmaSelect != 0 {
		f.selectItem(uint16(control >> dmaKey))
	}
	done := true
	switch {
	case control&dmaRead != 0:
		done = f.copyOut(be.Uint64(r[dmaAddress:]), uint64(length))
	case control&dmaWrite != 0:
		done = length == 0 // no item takes a write
	case control&dmaSkip != 0:
		f.skip(uint64(length))
	}
	be.PutUint32(r[dmaControl:], 0)
	if !done {
		be.PutUint32(r[dmaControl:], dmaError)
	}
	_ = f.memory.WriteAt(r[dmaControl:dmaLength], addr+dmaControl)
}

// copyOut writes the item's next n bytes, and zeros past its end, to addr. It ends where
// there is no RAM, so RAM's size bounds it, whatever n says.
func (f *FwCfg) copyOut(addr, n uint64) bool {
	for n > 0 {
		take := min(n, dmaChunk-addr%dmaChunk)
		data := f.rest()
		if len(data) == 0 {
			data = dmaZeros[:]
		}
		take = min(take, uint64(len(data)))
		if f.memory.WriteAt(data[:take], addr) != nil {
			return false
		}
		f.skip(take)
		addr += take
		n -= take
	}
	return true
}
