package uintrtest

import "gvmm/uintr"

const pageSize = 4096

// FlatBases are the bases of the memory that Run uses.
var FlatBases = Bases{
	UPIDArray: 0x1_0000,
	UITTArray: 0x2_0000,
	Handler:   0x4_0000,
	StackTop:  0x3_2000,
	Unmapped:  0x5_0000,
	Op:        [Ops]uint64{0x6_0000, 0x6_0100, 0x6_0200, 0x6_0300, 0x6_0400, 0x6_0580},
	After:     [Ops]uint64{0x6_0004, 0x6_0104, 0x6_0204, 0x6_0304, 0x6_0480, 0x6_0580},
}

// page is one present page.
type page struct {
	la   uint64
	user bool
	data []byte
}

// FlatMemory is a linear address space of a few present pages, all writable, with the rights of supervisor and user.
// It implements uintr.Memory for a program at CPL 3.
type FlatMemory struct{ pages []page }

var _ uintr.Memory = (*FlatMemory)(nil)

// Map makes the page at la present. la is a multiple of 4096.
func (f *FlatMemory) Map(la uint64, user bool) {
	f.pages = append(f.pages, page{la: la, user: user, data: newPage()})
}

// Supervisor implements uintr.Memory.
func (f *FlatMemory) Supervisor(la uint64, n int, write bool) ([]byte, error) {
	return f.view(la, n, write, false)
}

// Data implements uintr.Memory.
func (f *FlatMemory) Data(la uint64, n int, write bool) ([]byte, error) {
	return f.view(la, n, write, true)
}

func (f *FlatMemory) view(la uint64, n int, write, user bool) ([]byte, error) {
	code := uint32(0)
	if write {
		code |= uintr.PFWrite
	}
	if user {
		code |= uintr.PFUser
	}
	for i := range f.pages {
		p := &f.pages[i]
		off := la - p.la
		if off >= pageSize || off+uint64(n) > pageSize {
			continue
		}
		if user && !p.user {
			return nil, uintr.PageFault(la, code|uintr.PFPresent)
		}
		return p.data[off : off+uint64(n)], nil
	}
	return nil, uintr.PageFault(la, code)
}

// write copies p to la, which may span pages. What is not present is left out.
func (f *FlatMemory) write(la uint64, p []byte) {
	for len(p) > 0 {
		n := min(len(p), pageSize-int(la%pageSize))
		if view, err := f.Supervisor(la, n, true); err == nil {
			copy(view, p[:n])
		}
		p, la = p[n:], la+uint64(n)
	}
}
