package vnet

import "gvisor.dev/gvisor/pkg/tcpip/checksum"

// FinishChecksum completes the checksum that h leaves to the receiver, in
// frame, and returns the header that is left.
// Preconditions: h.Check(len(frame)) is nil.
func FinishChecksum(h Header, frame []byte) Header {
	if h.Flags&HdrNeedsCsum == 0 {
		return h
	}
	covered := frame[h.CsumStart:]
	putChecksum(covered[h.CsumOffset:], checksum.Checksum(covered, 0))
	h.Flags &^= HdrNeedsCsum
	h.CsumStart, h.CsumOffset = 0, 0
	return h
}

// putChecksum stores the complement of sum. Zero would mean "none" in UDP; its
// other form is as good in every protocol.
func putChecksum(field []byte, sum uint16) {
	if sum = ^sum; sum == 0 {
		sum = 0xFFFF
	}
	checksum.Put(field, sum)
}
