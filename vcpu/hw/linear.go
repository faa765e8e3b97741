package hw

import (
	"encoding/binary"

	"gvmm/uintr"
)

// linear is the linear address space of a guest in 4-level paging, walked in
// guest memory while its processor does not run (SDM vol. 3 §5.5).
type linear struct {
	memory Memory
	cr3    uint64
}

var _ uintr.Memory = linear{}

// Bits of paging-structure entries.
const (
	entryPresent = 1 << 0
	entryWrite   = 1 << 1
	entryUser    = 1 << 2
	entryLarge   = 1 << 7
	entryAddress = 0x000f_ffff_ffff_f000
)

// Supervisor implements uintr.Memory.
func (l linear) Supervisor(la uint64, n int, write bool) ([]byte, error) {
	return l.view(la, n, write, false)
}

// Data implements uintr.Memory for CPL 3.
func (l linear) Data(la uint64, n int, write bool) ([]byte, error) {
	return l.view(la, n, write, true)
}

func (l linear) view(la uint64, n int, write, user bool) ([]byte, error) {
	var code uint32
	need := uint64(entryPresent)
	if write {
		code, need = code|uintr.PFWrite, need|entryWrite
	}
	if user {
		code, need = code|uintr.PFUser, need|entryUser
	}
	table := l.cr3 & entryAddress
	for shift := 39; ; shift -= 9 {
		b, err := l.memory.View(table+la>>shift&511*8, 8)
		if err != nil {
			return nil, uintr.PageFault(la, code)
		}
		entry := binary.LittleEndian.Uint64(b)
		switch {
		case entry&entryPresent == 0:
			return nil, uintr.PageFault(la, code)
		case entry&need != need:
			return nil, uintr.PageFault(la, code|uintr.PFPresent)
		}
		if shift == 12 || shift < 39 && entry&entryLarge != 0 {
			in := uint64(1)<<shift - 1
			if v, err := l.memory.View(entry&entryAddress&^in|la&in, uint64(n)); err == nil {
				return v, nil
			}
			return nil, uintr.PageFault(la, code)
		}
		table = entry & entryAddress
	}
}
