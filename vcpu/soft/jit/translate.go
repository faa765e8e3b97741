package jit

import "gvmm/vcpu/soft/decode"

// Block is what Translate is given.
type Block struct {
	RIP     uint64 // where it begins, in guest-linear memory
	Insts   []decode.Inst
	Table   int32  // offset from the state pointer of the TLB's table that its accesses use
	Vectors bool   // XMM registers may be used
	Floats  bool   // no floating-point exception is unmasked
	Unit    uint32 // the caller's number for the translation
}

// Translator makes code and keeps it. It belongs to one processor and its goroutine.
type Translator struct {
	assembler
	layout  Layout
	cache   *cache
	enterAt int // offset of the code that enters
	exitAt  int // and of the one that leaves
	loadAt  int // and of the one that loads XMM registers
	viaLoad int // enters by that
	begin   int // of the units' code
	exits   []Exit
	sites   []site
	guards  int // in use

	// Of the block under translation.
	block   *Block
	vectors bool // it uses XMM registers
	table   int32
	inst    int    // index of the instruction
	here    uint64 // its address
	next    uint64 // address behind it
	misses  []miss
	resume  [maxInsts]uint32 // offset of the code behind each instruction
	start   int
	inner   int                    // behind the look at its start
	writers [maxInsts]*decode.Inst // of flags, by which look-ups may change the host's
	native  uint64                 // bits of the instructions that there is code for
}

// maxInsts is the longest block.
const maxInsts = 64

// miss is a jump out of a block's way, to code that is emitted behind the block.
type miss struct {
	jump int // displacement to patch
	exit Exit
	back int // not an exit: XMM registers are loaded, and execution goes on here
}

// New makes a translator for a state of that layout with size bytes of code.
func New(layout Layout, size int) (*Translator, error) {
	c, err := newCache(size)
	if err != nil {
		return nil, err
	}
	t := &Translator{layout: layout, cache: c}
	t.code = c.writable[:c.code]
	t.frame()
	t.begin = t.pos
	return t, nil
}

// Close unmaps the code. Nothing of it may run.
func (t *Translator) Close() error { return t.cache.close() }

// Flush forgets all translations.
func (t *Translator) Flush() {
	t.pos, t.full = t.begin, false
	t.exits, t.sites, t.guards = t.exits[:0], t.sites[:0], 0
	t.ForgetJumps()
}

// Used is how many bytes of code there are.
func (t *Translator) Used() int { return t.pos }

func (t *Translator) control(offset int32) int32 { return t.layout.Control + offset }

func (t *Translator) field(offset int32) memory { return state(t.control(offset)) }

// frame emits what enters code and what leaves it.
func (t *Translator) frame() {
	// DI is the state pointer: enter_amd64.s.
	const hostDI = reg(7)
	at := func(offset int32) memory { return memory{base: hostDI, index: noReg, disp: t.control(offset)} }
	t.enterAt = t.pos
	t.store(at(controlStack), hostSP)
	t.store(at(controlFrame), 5)
	t.rm(opcode{bytes: 0xff}, 6, at(controlFlags)) // PUSH
	t.emit(0x9d)                                   // POPF
	t.mov(hostSP, hostDI)
	for g, h := range pinned {
		if h != noReg {
			t.load(h, t.register(uint8(g)))
		}
	}
	t.rm(opcode{bytes: 0xff}, 4, t.field(controlVia))
	t.loadVectors()
	t.viaLoad = t.pos
	t.load(host14, t.field(controlTarget))
	t.patch(t.jump(), t.loadAt)
	t.exitAt = t.pos
	for g, h := range pinned {
		if h != noReg {
			t.store(t.register(uint8(g)), h)
		}
	}
	t.storeVectors()
	t.mov(hostCX, hostSP)
	from := func(offset int32) memory { return memory{base: hostCX, index: noReg, disp: t.control(offset)} }
	t.load(hostSP, from(controlStack))
	t.emit(0x9c)                                     // PUSHF
	t.rm(opcode{bytes: 0x8f}, 0, from(controlFlags)) // POP
	t.load(5, from(controlFrame))
	t.emit(0xc3)
}

// Translate makes a block's code. It is false if there is no room: then everything has to be
// flushed first. The code may be entered where it returns.
func (t *Translator) Translate(b *Block) (entry Entry, ok bool) {
	if len(t.code)-t.pos < maxUnit || t.guards+2 > t.cache.guards {
		return entry, false
	}
	t.pos = (t.pos + 15) &^ 15
	t.block, t.table, t.start = b, b.Table, t.pos
	t.misses, t.native = t.misses[:0], ^uint64(0)
	t.boundary()
	if t.vectors = b.Vectors && vectorHost() && usesVectors(b.Insts); t.vectors {
		t.needVectors()
	}
	t.planLookups(b.Insts)
	t.next = b.RIP
	flows := false
	for i := range b.Insts {
		in := &b.Insts[i]
		t.inst, t.here = i, t.next
		t.next += uint64(in.Len)
		if flows = false; in.Op.Group() == decode.GroupFlow {
			flows = t.flow(in)
			if !flows {
				t.interpret()
			}
		} else if !t.plain(in) {
			t.interpret()
			flows = i == len(b.Insts)-1
		}
		t.resume[i] = uint32(t.pos)
	}
	if !flows {
		t.link(t.next)
	}
	for i := range t.misses {
		t.stub(&t.misses[i])
	}
	return Entry{offset: uint32(t.start), inner: uint32(t.inner)}, !t.full
}

// usesVectors reports instructions on vectors.
func usesVectors(insts []decode.Inst) bool {
	for i := range insts {
		if insts[i].Op.Group() == decode.GroupSIMD {
			return true
		}
	}
	return false
}

// maxUnit is more than the longest block's code.
const maxUnit = 32 << 10

// boundary looks, where a block begins, whether it may run, and counts its instructions.
func (t *Translator) boundary() {
	t.load32(hostCX, t.field(controlBudget+4)) // not 0 if it is negative
	t.load32(host14, state(t.layout.Pending))
	t.extract(host14, host14, t.control(controlAttend))
	t.lea(hostCX, memory{base: hostCX, index: host14})
	t.misses = append(t.misses, miss{jump: t.unlessZero(), exit: Exit{Kind: ExitBoundary, Unit: t.block.Unit, Target: t.block.RIP, site: -1}})
	t.inner = t.pos
	t.load(host15, t.field(controlBudget))
	t.lea(host15, memory{base: host15, index: noReg, disp: -int32(len(t.block.Insts))})
	t.store(t.field(controlBudget), host15)
}

// leave has a jump leave for the interpreter to execute the instruction under way.
func (t *Translator) leave(jump, site int) {
	t.misses = append(t.misses, miss{jump: jump, exit: Exit{Kind: ExitInst, Unit: t.block.Unit, Inst: uint8(t.inst), Target: t.here, site: int32(site)}})
}

// interpret leaves for it here.
func (t *Translator) interpret() {
	t.native &^= 1 << t.inst
	t.leave(t.jump(), -1)
}

// Native has a bit for each instruction of the last block translated that is not always left to the interpreter.
func (t *Translator) Native() uint64 { return t.native }

// within reports that an address lies in the block's page.
func (t *Translator) within(target uint64) bool { return (target^t.block.RIP)&^0xfff == 0 }

// linked has a jump go on at an address in the block's page: it is bound to the block there when it is
// first taken.
func (t *Translator) linked(at int, target uint64) {
	t.misses = append(t.misses, miss{jump: at, exit: Exit{Kind: ExitLink, Unit: t.block.Unit, Target: target, jump: uint32(at), guard: -1, site: -1}})
}

// link goes on at an address.
func (t *Translator) link(target uint64) {
	if t.within(target) {
		t.linked(t.jump(), target)
		return
	}
	// The mapping of another page may change: what is bound holds for one epoch.
	e := Exit{Kind: ExitLink, Unit: t.block.Unit, Target: target, guard: int32(t.guards), site: -1}
	t.guards++
	t.cache.setGuard(int(e.guard), 1)
	t.load(hostCX, t.field(controlEpoch))
	t.relative(opcode{bytes: 0x8b, wide: true}, host15, t.cache.guardAt(int(e.guard)))
	t.lea(hostCX, memory{base: hostCX, index: host15})
	away := t.unlessZero()
	at := t.jump()
	e.jump = uint32(at)
	t.misses = append(t.misses, miss{jump: away, exit: e}, miss{jump: at, exit: e})
}

// stub emits what a jump out of the way goes to.
func (t *Translator) stub(m *miss) {
	t.patch(m.jump, t.pos)
	if m.back != 0 {
		t.relative(opcode{bytes: 0x8d, wide: true}, host14, m.back)
		t.patch(t.jump(), t.loadAt)
		return
	}
	e := m.exit
	if e.Kind == ExitInst {
		e.resume, e.vectors = t.resume[e.Inst], t.vectors
		if e.site >= 0 {
			t.store(t.field(controlLinear), host15)
		}
		if w := t.writers[e.Inst]; w != nil {
			t.recompute(w)
			if e.site >= 0 {
				t.sites[e.site].writer = *w
			}
		}
	}
	t.store32(t.field(controlExit), uint32(len(t.exits)))
	t.exits = append(t.exits, e)
	t.patch(t.jump(), t.exitAt)
}
