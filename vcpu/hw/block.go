package hw

import (
	"encoding/binary"
	"errors"
	"fmt"

	"gvmm/uintr"
)

// A Block is two pages, at a page's address.
const (
	BlockSize  = 2 * blockPage
	blockPage  = 4096
	blockFlags = blockPage - 1 // bits below the address in GVMM_MSR_BLOCK
)

// Offsets in a Block: UC_* of guests/lib/abi.h.
const (
	offHandler     = 0x10
	offStackAdjust = 0x18
	offMisc        = 0x20
	offPD          = 0x28
	offTT          = 0x30
	offControl     = 0x38
	offAdjustAnd   = 0x40
	offAdjustSub   = 0x48

	offUIRR        = 0x1000 // the face
	offUIF         = 0x1008
	offFaceHandler = 0x1010
	offFaceAnd     = 0x1018
	offFaceSub     = 0x1020
)

// ErrBlock is a block address that the guest may not give.
var ErrBlock = errors.New("hw: the block is not two pages of RAM")

// A Block is the guest memory in which the microcode keeps a processor's
// user-interrupt state: a page of its own, and the face, a page that the guest's
// program may reach. The guest can write whatever it likes there: it is its own
// state, and nothing of ours.
type Block []byte

// State reads the architectural state. What the guest could not have reached
// by the MSRs' rules is masked to what it could.
func (b Block) State() uintr.State {
	word := func(off int) uint64 { return binary.LittleEndian.Uint64(b[off:]) }
	misc := word(offMisc)
	return uintr.State{
		UIRR:        word(offUIRR),
		UIF:         word(offUIF)&1 != 0,
		Handler:     word(offHandler),
		StackAdjust: word(offStackAdjust),
		UINV:        uint8(misc >> 32),
		UITTSize:    uint32(misc),
		UPIDAddr:    word(offPD),
		UITTAddr:    word(offTT),
	}
}

// SetState stores the architectural state, and beside it what the microcode
// derives from UISTACKADJUST: new RSP = ((RSP & and) - sub) & ~15.
func (b Block) SetState(s uintr.State) {
	set := func(off int, v uint64) { binary.LittleEndian.PutUint64(b[off:], v) }
	var uif uint64
	if s.UIF {
		uif = 1
	}
	set(offUIRR, s.UIRR)
	set(offUIF, uif)
	set(offHandler, s.Handler)
	set(offStackAdjust, s.StackAdjust)
	set(offMisc, uint64(s.UINV)<<32|uint64(s.UITTSize))
	set(offPD, s.UPIDAddr)
	set(offTT, s.UITTAddr)
	and, sub := ^uint64(0), s.StackAdjust
	if s.StackAdjust&1 != 0 {
		and, sub = 0, -s.StackAdjust
	}
	set(offAdjustAnd, and)
	set(offAdjustSub, sub)
	set(offFaceHandler, s.Handler)
	set(offFaceAnd, and)
	set(offFaceSub, sub)
}

// setControl models CR4.UINTR, which no KVM lets a guest set.
func (b Block) setControl(uintr bool) {
	b[offControl] = 0
	if uintr {
		b[offControl] = 1
	}
}

// Memory is the guest-physical memory in which blocks lie.
type Memory interface {
	View(addr, n uint64) ([]byte, error)
}

// blockAt returns the block at a guest-physical address.
func blockAt(m Memory, addr uint64) (Block, error) {
	if addr%blockPage != 0 {
		return nil, fmt.Errorf("%w: %#x", ErrBlock, addr)
	}
	b, err := m.View(addr, BlockSize)
	if err != nil {
		return nil, fmt.Errorf("%w: %#x: %w", ErrBlock, addr, err)
	}
	return b, nil
}
