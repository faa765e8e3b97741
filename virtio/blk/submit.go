package blk

// Transfer is a read or a write that a [Submitter] carries out. Whoever
// submits it leaves it alone until Done is called.
type Transfer struct {
	Segments [][]byte // what to fill or to write; some may be empty
	Off      int64
	Write    bool
	// Done is called once, on a goroutine of the backend's, with the bytes
	// done and why not all. It does not block.
	Done func(n int, err error)
}

// Submitter is a Backend that carries out transfers while no goroutine waits
// for them.
type Submitter interface {
	Backend
	// Submit takes t, or returns false, and has then done nothing: it cannot
	// do this one so, or not now. What it took begins at the next Commit at
	// the latest.
	Submit(t *Transfer) bool
	// Commit begins what has been submitted.
	Commit()
}

// submit hands a read or a write to the backend, if it takes such.
func (e *engine) submit(r *request) bool {
	if e.submitter == nil || e.writeThrough && r.kind == typeOut || r.kind != typeIn && r.kind != typeOut || !e.device.checkTransfer(r) {
		return false
	}
	t := &r.transfer
	t.Segments, t.Off, t.Write = r.data, int64(r.sector)*SectorSize, r.kind == typeOut
	if t.Done == nil {
		t.Done = func(n int, err error) { e.done(r, n, err) }
	}
	e.machine.flying.Add(1)
	if !e.submitter.Submit(t) {
		e.machine.flying.Done()
		return false
	}
	e.uncommitted = true
	return true
}

// commit begins what was submitted, before the queue's goroutine waits.
func (e *engine) commit() {
	if e.uncommitted {
		e.uncommitted = false
		e.submitter.Commit()
	}
}

// done completes a submitted request.
func (e *engine) done(r *request, n int, err error) {
	status, written := outcome(err), 0
	if r.kind == typeIn {
		status, written = e.read(n, err)
	} else {
		e.wrote(n)
	}
	e.stats.Submitted.Add(1)
	if err := e.complete(r, status, written); err != nil {
		e.fail(err)
	}
	e.free <- r
	e.machine.flying.Done()
}
