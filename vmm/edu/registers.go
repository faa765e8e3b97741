package edu

import (
	"encoding/binary"

	"gvmm/vmm/pci"
)

var _ pci.Region = (*Device)(nil)

// legal tells whether an access has a size and a place that the device knows.
func legal(off uint64, n int) bool {
	return off%uint64(max(n, 1)) == 0 && (n == 4 || n == 8 && off >= regSource)
}

// ReadMMIO implements pci.Region. What is no register, or read by another size, is all-ones.
func (d *Device) ReadMMIO(off uint64, p []byte) {
	v := ^uint64(0)
	if legal(off, len(p)) {
		d.mu.Lock()
		v = d.load(off)
		d.mu.Unlock()
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	n := copy(p, b[:])
	for i := range p[n:] {
		p[n+i] = 0xFF
	}
}

func (d *Device) load(off uint64) uint64 {
	switch off {
	case regID:
		return identification
	case regLiveness:
		return uint64(d.liveness)
	case regFactorial:
		return uint64(d.factorial)
	case regStatus:
		return uint64(d.status)
	case regInterrupt:
		return uint64(d.reasons)
	}
	if i, high, ok := dmaRegister(off); ok {
		return d.dma[i] >> high
	}
	return ^uint64(0)
}

// dmaRegister finds the register of DMA at off, and the bit that off begins at.
func dmaRegister(off uint64) (i, high int, ok bool) {
	if off < regSource || off >= regCommand+8 || off%4 != 0 {
		return 0, 0, false
	}
	return int(off-regSource) / 8, int(off%8) * 8, true
}

// WriteMMIO implements pci.Region. Other writes than to registers, by their sizes, are ignored.
func (d *Device) WriteMMIO(off uint64, p []byte) {
	if !legal(off, len(p)) {
		return
	}
	var b [8]byte
	copy(b[:], p)
	v := binary.LittleEndian.Uint64(b[:])
	d.mu.Lock()
	defer d.mu.Unlock()
	if i, high, ok := dmaRegister(off); ok {
		// The lower half is written with the upper one zero: so that an address of 32 bits takes one access.
		if high != 0 {
			v = d.dma[i]&0xFFFF_FFFF | v<<32
		}
		d.dma[i] = v
		if off == regCommand && v&commandStart != 0 {
			d.transfer()
		}
		return
	}
	d.store(off, uint32(v))
}

func (d *Device) store(off uint64, v uint32) {
	switch off {
	case regLiveness:
		d.liveness = ^v
	case regFactorial:
		d.factorial = factorial(v)
		if d.status&statusInterrupt != 0 {
			d.raise(reasonFactorial)
		}
	case regStatus:
		d.status = v & statusInterrupt
	case regRaise:
		d.raise(v)
	case regAcknowledge:
		d.reasons &^= v
		if d.reasons == 0 {
			d.function.SetINTx(false)
		}
	}
}

// factorial is n! modulo 2^32. From 34 on that is 0: there are 32 factors of two.
func factorial(n uint32) uint32 {
	v := uint32(1)
	for i := uint32(2); i <= n && v != 0; i++ {
		v *= i
	}
	return v
}

// raise adds reasons and interrupts. d.mu is held.
func (d *Device) raise(reasons uint32) {
	d.reasons |= reasons
	if d.reasons == 0 {
		return
	}
	d.stats.Interrupts++
	if !d.msi.Signal() {
		d.function.SetINTx(true)
	}
}
