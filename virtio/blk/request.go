package blk

import (
	"encoding/binary"

	"gvmm/virtio"
)

// Request types, statuses and flags (§5.2.6).
const (
	typeIn          = 0
	typeOut         = 1
	typeFlush       = 4
	typeGetID       = 8
	typeDiscard     = 11
	typeWriteZeroes = 13

	statusOK          = 0
	statusIOError     = 1
	statusUnsupported = 2

	flagUnmap = 1 << 0

	headerSize = 16
	rangeSize  = 16
	idSize     = 20
)

// request is a chain and what has been read out of it. It is reused.
type request struct {
	chain  virtio.Chain
	kind   uint32
	sector uint64
	data   [][]byte // what to read into or write from: neither header nor status
	size   uint64   // bytes in data
	status []byte   // the byte for the status

	transfer Transfer // of data, while a Submitter has it
}

// parse copies the header and takes the chain apart, wherever the driver cut
// it: the first 16 readable bytes are the header, the last writable byte is
// for the status. ok means that there is such a byte.
func (r *request) parse() (status uint8, ok bool) {
	if r.chain.WriteLen == 0 {
		return 0, false
	}
	last := len(r.chain.Writable) - 1
	end := r.chain.Writable[last]
	r.status = end[len(end)-1:]
	into := r.chain.Writable
	into[last] = end[:len(end)-1]

	var header [headerSize]byte
	n, from := take(header[:], r.chain.Readable)
	if n != headerSize {
		return statusIOError, true
	}
	r.kind = binary.LittleEndian.Uint32(header[0:])
	r.sector = binary.LittleEndian.Uint64(header[8:])
	if r.kind == typeIn || r.kind == typeGetID {
		r.data, r.size = into, r.chain.WriteLen-1
	} else {
		r.data, r.size = from, r.chain.ReadLen-headerSize
	}
	return statusOK, true
}

// take copies the first bytes of segments to p, and returns how many there
// were and what is left. It changes segments.
func take(p []byte, segments [][]byte) (int, [][]byte) {
	n := 0
	for len(segments) > 0 {
		m := copy(p[n:], segments[0])
		n += m
		segments[0] = segments[0][m:]
		if len(segments[0]) > 0 {
			break
		}
		segments = segments[1:]
	}
	return n, segments
}

// put copies p to the start of segments and returns how much fitted.
func put(segments [][]byte, p []byte) int {
	n := 0
	for _, s := range segments {
		n += copy(s, p[n:])
	}
	return n
}

// inRange tells whether [sector, sector+sectors) is on the disk.
func (d *Device) inRange(sector, sectors uint64) bool {
	return sector <= d.sectors && sectors <= d.sectors-sector
}

// checkTransfer judges a read or a write.
func (d *Device) checkTransfer(r *request) bool {
	if r.kind == typeOut && d.options.ReadOnly {
		return false
	}
	return r.size%SectorSize == 0 && d.inRange(r.sector, r.size/SectorSize)
}

// stretch is one range of a discard or write-zeroes request, in bytes.
type stretch struct {
	off, n int64
	unmap  bool
}

// stretches copies and judges the ranges of a discard or write-zeroes request,
// all before the first is acted on (§5.2.6.2).
func (d *Device) stretches(r *request, list *[maxRanges]stretch) (int, uint8) {
	if d.options.ReadOnly || r.size == 0 || r.size%rangeSize != 0 || r.size/rangeSize > maxRanges {
		return 0, statusIOError
	}
	count, data := int(r.size/rangeSize), r.data
	for i := range count {
		var raw [rangeSize]byte
		_, data = take(raw[:], data)
		sector := binary.LittleEndian.Uint64(raw[0:])
		sectors := binary.LittleEndian.Uint32(raw[8:])
		flags := binary.LittleEndian.Uint32(raw[12:])
		if flags&^flagUnmap != 0 || r.kind == typeDiscard && flags != 0 {
			return 0, statusUnsupported
		}
		if sectors > maxRangeSectors || !d.inRange(sector, uint64(sectors)) {
			return 0, statusIOError
		}
		list[i] = stretch{int64(sector) * SectorSize, int64(sectors) * SectorSize, flags&flagUnmap != 0}
	}
	return count, statusOK
}
