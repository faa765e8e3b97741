package uintr

import "gvmm/uintr/spec"

const pageSize = 4096

// supervisor makes an implicit access to an aligned structure. A non-canonical address is #GP(0).
func supervisor(mem Memory, m Mode, la uint64, n int, write bool) ([]byte, error) {
	if !canonical(la, m.LinearBits) {
		return nil, faultGP
	}
	view, err := mem.Supervisor(la, n, write)
	if err == nil && len(view) != n {
		err = ErrView
	}
	return view, err
}

// stack accesses a piece of the stack that lies within one page. A non-canonical address is #SS(0).
func stack(mem Memory, m Mode, la uint64, n int, write bool) ([]byte, error) {
	if !canonical(la, m.LinearBits) {
		return nil, faultSS
	}
	view, err := mem.Data(la, n, write)
	if err == nil && len(view) != n {
		err = ErrView
	}
	return view, err
}

// pushed makes the n bytes below top writable, which lie within one page. Pushes go downwards, so it is the highest of
// them that faults.
func pushed(mem Memory, m Mode, top uint64, n int) ([]byte, error) {
	view, err := stack(mem, m, top-uint64(n), n, true)
	if f, ok := err.(*Fault); ok && f.Vector == VectorPF {
		return nil, PageFault(top-8, f.ErrorCode)
	}
	return view, err
}

// readStack copies the stack from la, which may be misaligned and cross a page.
func readStack(mem Memory, m Mode, la uint64, p []byte) error {
	for len(p) > 0 {
		n := min(len(p), pageSize-int(la%pageSize))
		view, err := stack(mem, m, la, n, false)
		if err != nil {
			return err
		}
		copy(p, view)
		p, la = p[n:], la+uint64(n)
	}
	return nil
}

// frame is a writable frame on the user stack, in one piece or in two.
type frame struct{ low, high []byte }

// newFrame makes room for a frame below top, a multiple of 16. All of it is writable or it is a fault: nothing is stored.
func newFrame(mem Memory, m Mode, top uint64) (frame, error) {
	const half = spec.FrameSize / 2
	if top%pageSize != half {
		view, err := pushed(mem, m, top, spec.FrameSize)
		if err != nil {
			return frame{}, err
		}
		return frame{low: view[:half], high: view[half:]}, nil
	}
	high, err := pushed(mem, m, top, half)
	if err != nil {
		return frame{}, err
	}
	low, err := pushed(mem, m, top-half, half)
	return frame{low: low, high: high}, err
}
