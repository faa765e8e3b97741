package difftest

import "unsafe"

// shared mirrors struct shared of child.c.
type shared struct {
	wide, current uint32
	_             [4088]byte
	memory        [ScratchSize]byte
	tests         [Batch]test
	results       [Batch]result
	changed       [Batch][ScratchSize]byte
}

type test struct {
	gpr    [16]uint64
	rflags uint64
	n      uint32
	narrow uint32
	code   [MaxCode]byte
	fx     FX
}

type result struct {
	gpr                   [16]uint64
	rflags, rip, cr2      uint64
	trap, error, from, to uint32
	_                     uint64
	fx                    FX
}

const sharedSize = int(unsafe.Sizeof(shared{}))

// view is the shared memory in b, which is sharedSize bytes of a mapping.
func view(b []byte) *shared {
	_ = b[sharedSize-1]
	return (*shared)(unsafe.Pointer(&b[0]))
}
