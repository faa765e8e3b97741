package jit

// Layout says where fields of the processor's state are, as offsets from the state
// pointer. The state pointer's low six bits are 12.
type Layout struct {
	Registers int32 // 16 general-purpose registers
	Vectors   int32 // 16 XMM registers
	Bases     int32 // of the segments, as decode numbers them
	Pending   int32 // uint32: what wants the processor's attention
	Control   int32 // Control
	MXCSR     int32 // uint32

	// The TLB: slots of 32 bytes, of which a linear address's number is its page's modulo 512.
	TLBRead, TLBWrite, TLBHost int32 // within a slot
}

// Slots of the TLB.
const (
	tlbSlots    = 512
	tlbSlotSize = 32
)

// StateAlignment is what the state pointer is modulo 64: shifts by it are shifts by 12.
const StateAlignment = 12

// Control is what translated code and who enters it tell each other. It is part of the
// state.
type Control struct {
	stack, frame uint64 // Go's, while code runs
	target, via  uint64 // where to enter, and what to execute before
	Flags        uint64 // the arithmetic flags, going in and out
	Budget       int64  // instructions, less one; code is not entered when it is negative
	Attend       uint64 // bits of Pending that end a block
	Epoch        uint64 // of translations and rights: direct jumps to other pages are good for one
	Salt         uint64 // of the epoch, in the top bits: it tags the indirect jumps' targets
	Linear       uint64 // of the access that missed
	temp         uint64
	temp2        uint64
	exit         uint64 // number of the exit taken
	loaded       uint64 // 1 while the host has the guest's XMM registers and MXCSR
	mxcsr        uint64 // Go's

	// Masks for PEXT.
	slotMask, bit6Mask, bit5Mask uint64
	masks                        [5]uint64 // of what is wrong with an offset in a page, by log2 of the size
}

// Init sets what never changes.
func (c *Control) Init() {
	c.slotMask = (tlbSlots - 1) << 12
	for i := range c.masks {
		c.masks[i] = ^uint64(0xfff) | (1<<i - 1)
	}
	c.bit6Mask, c.bit5Mask = 63, 31
	c.mxcsr = 0x1f80
}
