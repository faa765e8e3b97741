package jit

import "gvmm/vcpu/soft/decode"

// ExitKind says why code was left.
type ExitKind uint8

// The reasons.
const (
	// ExitBoundary: at the start of a block, something is pending or the budget is used up.
	ExitBoundary ExitKind = iota
	// ExitInst: the interpreter executes an instruction. Nothing of it was done.
	ExitInst
	// ExitLink: a jump to Target that is not bound to a block yet, or not any more.
	ExitLink
)

// Exit is one way out of code.
type Exit struct {
	Kind   ExitKind
	Inst   uint8  // index of the instruction in the block: ExitInst
	Unit   uint32 // the translation's number
	Target uint64 // RIP: of the block, of the instruction, of where the jump goes
	jump   uint32 // displacement that Bind patches
	guard  int32  // its guard, -1 for a jump within the page
	resume uint32 // offset of the code behind the instruction
	site   int32  // of the access that missed, or -1

	vectors bool // the code behind the instruction has the XMM registers loaded
}

// Resume is where to enter the code behind the instruction of an ExitInst that is not its
// block's last.
func (e *Exit) Resume() Entry { return Entry{offset: e.resume, vectors: e.vectors} }

// Entry is a place where code may be entered.
type Entry struct {
	offset  uint32
	inner   uint32 // of a block: behind the look whether it may run
	vectors bool   // with XMM registers loaded
}

// Missed tells that the exit is a look-up in the TLB that failed.
func (e *Exit) Missed() bool { return e.site >= 0 }

// Within tells that an ExitLink's target lies in the same page.
func (e *Exit) Within() bool { return e.guard < 0 }

// Bind has an ExitLink's jump go to the code at an offset; to another page, as long as the
// epoch lasts. ahead says that nobody has to look there whether the block may run: of every loop, one jump must.
func (t *Translator) Bind(e *Exit, entry Entry, epoch uint64, ahead bool) {
	if ahead {
		t.patch(int(e.jump), int(entry.inner))
	} else {
		t.patch(int(e.jump), int(entry.offset))
	}
	if e.guard >= 0 {
		t.cache.setGuard(int(e.guard), -epoch)
	}
}

// Remember has indirect jumps to a linear address go to the code at an offset, as long as
// the salt lasts.
func (t *Translator) Remember(rip, salt uint64, entry Entry) {
	t.cache.setJump(int(rip&(jumpEntries-1)), -(rip + salt), uint64(t.cache.address(int(entry.offset))))
}

// ForgetJumps makes salts usable anew.
func (t *Translator) ForgetJumps() {
	for i := range jumpEntries {
		// No address in this slot has it: the lowest bits differ.
		t.cache.setJump(i, ^uint64(i), 0)
	}
}

// SaltBits is how many bits at the top of an address a salt has: no canonical address
// needs them.
const SaltBits = 7

// site is an access to memory, and what was found out about it.
type site struct {
	at            uint32 // offset of its code
	tagAt, hostAt uint32 // displacements of the slot it assumes
	hit           uint32 // offset of the code that has found the memory
	tag           int32  // offset of the tag in a slot
	table         int32
	access        access
	slot          uint16
	moves         uint8 // how often it turned to another slot
	roaming       bool
	plain         bool        // it changes the host's flags
	writer        decode.Inst // by which they are computed again
}

// maxMoves is how often a site may change its slot before it looks any up.
const maxMoves = 4

// Relocate has the access that missed assume the slot of its linear address from now on, or
// any slot if it keeps changing or is not aligned.
func (t *Translator) Relocate(e *Exit, linear uint64) {
	s := &t.sites[e.site]
	slot := uint16(linear >> 12 & (tlbSlots - 1))
	if s.roaming || s.slot == slot && s.moves > 0 {
		return
	}
	if s.moves == maxMoves || !s.access.aligned && !s.plain && linear&uint64(s.access.size-1) != 0 {
		t.roam(e, s)
		return
	}
	s.moves++
	s.slot = slot
	at := t.pos
	for _, d := range [2][2]int32{{int32(s.tagAt), s.tag}, {int32(s.hostAt), t.layout.TLBHost}} {
		t.pos = int(d[0])
		t.imm(uint64(s.table+int32(slot)*tlbSlotSize+d[1]), 4)
	}
	t.pos = at
}

// roam emits a look-up of any slot and has the site begin with it.
func (t *Translator) roam(e *Exit, s *site) {
	if len(t.code)-t.pos < 256 {
		return
	}
	s.roaming = true
	begin := t.pos
	if s.plain {
		away := t.roamPlain(s)
		t.patch(t.jump(), int(s.hit))
		t.patch(away, t.pos)
		t.recompute(&s.writer)
		t.leaveRoaming(e, s, begin)
		return
	}
	t.extract(hostCX, host15, t.control(controlSlot))
	t.rm(opcode{bytes: 0x8d}, hostCX, memory{base: noReg, index: hostCX, scale: 2})
	t.lea(host14, memory{base: hostSP, index: hostCX, scale: 3})
	t.load(hostCX, memory{base: host14, index: noReg, disp: s.table + s.tag})
	t.load(host14, memory{base: host14, index: noReg, disp: s.table + t.layout.TLBHost})
	t.not(hostCX)
	t.lea(host15, memory{base: host15, index: hostCX, disp: 1})
	var away []int
	if s.access.aligned || s.access.size == 1 {
		t.judge(s.access, host15)
	} else {
		t.page(hostCX, host15)
		away = append(away, t.unlessZero())
		t.lea(hostCX, memory{base: host15, index: noReg, disp: int32(s.access.size) - 1})
		t.page(hostCX, hostCX)
	}
	away = append(away, t.unlessZero())
	t.mov(hostCX, host15)
	t.patch(t.jump(), int(s.hit))
	for _, at := range away {
		t.patch(at, t.pos)
	}
	t.leaveRoaming(e, s, begin)
}

// leaveRoaming emits the exit of a look-up that begins at an offset, and has the site begin with that.
func (t *Translator) leaveRoaming(e *Exit, s *site, begin int) {
	t.store32(t.field(controlExit), uint32(len(t.exits)))
	t.exits = append(t.exits, *e)
	t.exits[len(t.exits)-1].site = -1
	t.patch(t.jump(), t.exitAt)
	end := t.pos
	t.pos = int(s.at)
	t.patch(t.jump(), begin)
	t.pos = end
}
