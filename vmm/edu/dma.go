package edu

import (
	"encoding/binary"

	"gvmm/vmm/pci"
)

// Where a write of 4 bytes is an interrupt message.
const (
	interruptBase = 0xFEE0_0000
	interruptMask = 0xF_FFFF
)

// transfer does what the DMA registers ask for. d.mu is held.
func (d *Device) transfer() {
	source, destination, count, command := d.dma[0], d.dma[1], d.dma[2], d.dma[3]
	d.dma[3] &^= commandStart
	memory, inside := source, destination
	if command&commandToMemory != 0 {
		memory, inside = destination, source
	}
	off := inside - bufferAt
	if off >= bufferBytes || count > bufferBytes-off || !d.function.BusMaster() {
		d.stats.Misplaced++
		return
	}
	if !d.move(memory&d.options.Mask, d.buffer[off:off+count], command&commandToMemory != 0) {
		d.stats.Refused++
		return
	}
	d.stats.Transfers++
	d.stats.Bytes += count
	if command&commandInterrupt != 0 {
		d.raise(reasonDMA)
	}
}

// move copies between memory and p.
func (d *Device) move(addr uint64, p []byte, write bool) bool {
	if len(p) == 0 {
		return true
	}
	if write && len(p) == 4 && addr%4 == 0 && addr&^interruptMask == interruptBase {
		d.stats.Messages++
		return d.options.MSI.SendMSI(pci.Message{Address: addr, Data: binary.LittleEndian.Uint32(p)}) == nil
	}
	if d.client != nil {
		request, ok := d.client.Begin()
		if !ok {
			return false
		}
		defer d.client.End(request)
	}
	var err error
	if d.segments, err = d.options.DMA.Segments(d.segments[:0], addr, uint32(len(p)), write); err != nil {
		return false
	}
	for _, s := range d.segments {
		if write {
			p = p[copy(s, p):]
		} else {
			p = p[copy(p, s):]
		}
	}
	if write {
		// Whoever watches memory for code learns of the writes with the next view for writing.
		_, _ = d.options.DMA.View(addr, 1, true)
	}
	return true
}
