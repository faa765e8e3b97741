package iommu

import (
	"encoding"
	"fmt"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

// Tracer is told what a unit does, an event a call, whose text is the fields of a line: see package trace. It is called on whatever goroutine does
// it, often with locks of the unit's held: it must not call the unit.
type Tracer func(event encoding.TextAppender)

// written is a register that software writes: before it has taken effect.
type written struct {
	off  uint64
	size int
	v    uint64
}

// AppendText implements [encoding.TextAppender].
func (e written) AppendText(p []byte) ([]byte, error) {
	return fmt.Appendf(p, "write %s %03x %d %0*x", spec.RegisterName(e.off), e.off, e.size, 2*e.size, e.v), nil
}

// fetched is a descriptor that the queue serves.
type fetched struct {
	head uint64
	spec.Descriptor
}

// AppendText implements [encoding.TextAppender].
func (e fetched) AppendText(p []byte) ([]byte, error) {
	return fmt.Appendf(p, "descriptor %x %v", e.head, e.Descriptor), nil
}

// missed is a translation that took a walk: to a page, or to a fault that another event tells.
type missed struct {
	rid  pci.RequesterID
	addr uint64
	page *translation // nil: there is none
}

// AppendText implements [encoding.TextAppender].
func (e missed) AppendText(p []byte) ([]byte, error) {
	p = fmt.Appendf(p, "miss %v %x", e.rid, e.addr)
	if e.page == nil {
		return append(p, " none"...), nil
	}
	return fmt.Appendf(p, " page=%x size=%x did=%x rights=%s", e.page.to, spec.LevelBytes(int(e.page.level)), e.page.did, rights(e.page.rights)), nil
}

func rights(r spec.SLEntry) string {
	b := []byte("--")
	if r&spec.SLRead != 0 {
		b[0] = 'r'
	}
	if r&spec.SLWrite != 0 {
		b[1] = 'w'
	}
	return string(b)
}

// AppendText implements [encoding.TextAppender].
func (f Fault) AppendText(p []byte) ([]byte, error) {
	p = fmt.Appendf(p, "fault %v %02x ", f.Requester, uint8(f.Reason))
	switch {
	case !f.Reason.DMA():
		p = fmt.Appendf(p, "index=%x", f.Index)
	case f.Write:
		p = fmt.Appendf(p, "write=%x", f.Address)
	default:
		p = fmt.Appendf(p, "read=%x", f.Address)
	}
	if !f.Recorded {
		p = append(p, " unrecorded"...)
	}
	return fmt.Appendf(p, " ; %v", f.Reason), nil
}

// message is what an entry made of an interrupt message: remapped, or posted.
type message struct {
	rid   pci.RequesterID
	index uint16
	entry spec.IRTE
}

// AppendText implements [encoding.TextAppender].
func (e message) AppendText(p []byte) ([]byte, error) {
	kind := "remap"
	switch {
	case e.entry.UserPosted():
		kind = "post-user"
	case e.entry.Posted():
		kind = "post"
	}
	p = fmt.Appendf(p, "%s %v index=%x vector=%x", kind, e.rid, e.index, e.entry.Vector())
	if e.entry.Posted() {
		return fmt.Appendf(p, " descriptor=%x", e.entry.PDA()), nil
	}
	return fmt.Appendf(p, " destination=%x", e.entry.Destination()), nil
}

// announced is what became of a post's notification: sent, coalesced, suppressed or deferred.
type announced struct {
	rid  pci.RequesterID
	what string
	spec.Message
}

// AppendText implements [encoding.TextAppender].
func (e announced) AppendText(p []byte) ([]byte, error) {
	p = fmt.Appendf(p, "%s %v", e.what, e.rid)
	if e.what != "notify" {
		return p, nil
	}
	return fmt.Appendf(p, " vector=%x destination=%x", e.Vector, e.Destination), nil
}

// traceMessage and traceQuiet cost a path that nobody traces a comparison.
func (r *requester) traceMessage(index uint16, e spec.IRTE) {
	if trace := r.unit.cfg.Trace; trace != nil {
		trace(message{r.rid, index, e})
	}
}

func (r *requester) traceQuiet(what string) {
	if trace := r.unit.cfg.Trace; trace != nil {
		trace(announced{rid: r.rid, what: what})
	}
}
