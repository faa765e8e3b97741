package blk

import "errors"

// serve does a request's work and says how it ended: the status, and how many
// bytes of data it put into the driver's buffers. It may wait for storage.
func (e *engine) serve(r *request) (status uint8, written int) {
	d, s := e.device, e.stats
	switch r.kind {
	case typeIn:
		if !d.checkTransfer(r) {
			return statusIOError, 0
		}
		n, err := d.backend.ReadAt(r.data, int64(r.sector)*SectorSize)
		return e.read(n, err)
	case typeOut:
		if !d.checkTransfer(r) {
			return statusIOError, 0
		}
		n, err := d.backend.WriteAt(r.data, int64(r.sector)*SectorSize)
		e.wrote(n)
		return e.stable(err), 0
	case typeFlush:
		s.Flushes.Add(1)
		return outcome(d.backend.Sync()), 0
	case typeGetID:
		return statusOK, put(r.data, d.id[:])
	case typeDiscard, typeWriteZeroes:
		return e.ranges(r), 0
	default:
		return statusUnsupported, 0
	}
}

// try is serve for a read that need not wait; ok is false if it would, or if
// the backend cannot tell.
func (e *engine) try(r *request) (status uint8, written int, ok bool) {
	if !e.device.checkTransfer(r) {
		return statusIOError, 0, true
	}
	n, err := e.prompt.TryReadAt(r.data, int64(r.sector)*SectorSize)
	switch err {
	case ErrWouldBlock:
		return 0, 0, false
	case errors.ErrUnsupported:
		e.prompt = nil
		return 0, 0, false
	}
	status, written = e.read(n, err)
	return status, written, true
}

func (e *engine) read(n int, err error) (uint8, int) {
	e.stats.Reads.Add(1)
	e.stats.BytesRead.Add(uint64(n))
	return outcome(err), n
}

func (e *engine) wrote(n int) {
	e.stats.Writes.Add(1)
	e.stats.BytesWritten.Add(uint64(n))
}

// ranges serves a discard or write-zeroes request.
func (e *engine) ranges(r *request) uint8 {
	var list [maxRanges]stretch
	count, status := e.device.stretches(r, &list)
	if status != statusOK {
		return status
	}
	var err error
	for _, s := range list[:count] {
		if r.kind == typeDiscard {
			e.stats.Discards.Add(1)
			err = e.device.backend.Discard(s.off, s.n)
		} else {
			e.stats.Zeroes.Add(1)
			err = e.device.backend.WriteZeroes(s.off, s.n, s.unmap)
		}
		if err != nil {
			return statusIOError
		}
	}
	return e.stable(nil)
}

// stable ends what changed the disk. A driver that cannot flush expects each
// completed write to be stable (§5.2.6.2).
func (e *engine) stable(err error) uint8 {
	if err == nil && e.writeThrough {
		err = e.device.backend.Sync()
	}
	return outcome(err)
}

func outcome(err error) uint8 {
	if err != nil {
		return statusIOError
	}
	return statusOK
}
