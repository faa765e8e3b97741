package pci

import "fmt"

// Capability ids (PCI Code and ID Assignment 1.11 §2).
const (
	CapVendor = 0x09
	CapMSIX   = 0x11
)

// Capability is an entry of a function's capability list.
type Capability struct {
	ID       uint8
	Body     []byte // what follows the id and the next pointer
	Writable []byte // bits of Body that the guest may change; nil means none
	// Handler, if set, answers accesses past the capability's first four
	// bytes in the place of configuration space; its offsets count from the
	// capability's start. It is called without any lock held, with accesses
	// that are naturally aligned and at most 4 bytes.
	Handler Region
}

// AddCapability appends c to the list, dword aligned, and returns its offset.
func (f *Function) AddCapability(c Capability) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.addCapability(c)
}

func (f *Function) addCapability(c Capability) (int, error) {
	if err := f.building("add capability"); err != nil {
		return 0, err
	}
	at, size := f.nextCap, (2+len(c.Body)+3)&^3
	if at+size > ConfigSize || len(c.Writable) > len(c.Body) {
		return 0, fmt.Errorf("%w: id %#x, %d bytes at %#x", ErrCapability, c.ID, size, at)
	}
	f.space[at] = c.ID
	copy(f.space[at+2:], c.Body)
	copy(f.writable[at+2:], c.Writable)
	f.space[f.lastCap] = uint8(at)
	f.space.putU16(offStatus, f.space.Status()|statusCapabilities)
	f.lastCap, f.nextCap = at+1, at+size
	if c.Handler != nil {
		f.handlers = append(f.handlers, Window{Offset: uint64(at), Size: uint64(size), Region: c.Handler})
	}
	return at, nil
}

// handler finds who answers for off. handlers only grows before attachment.
func (f *Function) handler(off int) *Window {
	for i := range f.handlers {
		h := &f.handlers[i]
		if o := uint64(off); o >= h.Offset+4 && o < h.Offset+h.Size {
			return h
		}
	}
	return nil
}
