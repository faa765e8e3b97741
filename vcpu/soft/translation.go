package soft

import (
	"gvmm/vcpu"
	"gvmm/vcpu/soft/jit"
)

// Of translation.
const (
	hotRuns           = 24       // how often a block is interpreted before it is translated
	codeBytes         = 32 << 20 // of a processor's translated code
	translatedQuantum = 1 << 16  // instructions between two looks at the clock
	salts             = 1 << jit.SaltBits
	maskedAll         = 0x1f80 // MXCSR's masks
)

// unit is a block's translation, for one linear address, one table of the TLB and with or without
// vectors.
type unit struct {
	block *block
	rip   uint64
	key   unitKey
	entry jit.Entry
	next  uint32 // another one of the same block, 0 is none

	native uint64 // bits of the instructions that it has code for
}

// unitKey is what a translation takes for granted: the TLB's table, and in bit 2 that vectors may be used.
type unitKey uint8

const (
	unitVectors unitKey = 4
	unitFloats  unitKey = 8 // and no floating-point exception is unmasked
	unitKeys            = 16
)

// translation is what a processor that translates has beside its blocks.
type translation struct {
	code  *jit.Translator
	units []unit   // the first is none
	flush uint32   // changes when units is emptied
	check *checker // with JITCheck
	hot   uint32   // how often a block is interpreted first
	exact bool     // every block looks whether it may run, as the interpreter does: slices end where its do

	generation uint64 // of CPU.flush, that epochs and salts are for
	epoch      uint64 // the last one given
	salt       uint64
	epochs     [unitKeys]uint64 // 0 is none yet
	salts      [unitKeys]uint64
}

// startTranslating prepares a processor for translating. Its state must be where translated code can use it.
func (c *CPU) startTranslating(mode vcpu.JIT) error {
	if mode == vcpu.JITOff || mode == vcpu.JITAuto {
		return nil
	}
	code, err := c.newTranslator(codeBytes)
	if err != nil {
		return err
	}
	c.control.Init()
	c.translation = &translation{code: code, units: make([]unit, 1, 1024), flush: 1, hot: hotRuns, exact: c.config.Virtual || mode == vcpu.JITCheck}
	if mode == vcpu.JITCheck {
		c.translation.check = new(checker)
	}
	return nil
}

// stopTranslating gives the code's memory back.
func (c *CPU) stopTranslating() error {
	t := c.translation
	if t == nil {
		return nil
	}
	c.translation = nil
	return t.code.Close()
}

// forget drops all translations.
func (t *translation) forget() {
	t.code.Flush()
	t.units = t.units[:1]
	t.flush++
	t.generation = 0
}

// unitKey is what a translation may take for granted now. ok is false where the interpreter runs alone.
func (c *CPU) unitKey() (key unitKey, ok bool) {
	switch c.tlb {
	case &c.tlbs[tlbUser]:
		key = tlbUser
	case &c.tlbs[tlbKernel]:
		key = tlbKernel
	case &c.tlbs[tlbKernelAC]:
		key = tlbKernelAC
	default:
		return 0, false
	}
	if c.cr0&(cr0EM|cr0TS)|c.cr4&cr4OSFXSR == cr4OSFXSR {
		key |= unitVectors
		if c.mxcsr&maskedAll == maskedAll {
			key |= unitFloats
		}
	}
	return key, c.flat && c.debug == nil
}

// tag makes epoch and salt those of the current translations and rights.
func (c *CPU) tag(key unitKey) {
	t := c.translation
	if t.generation != c.generation {
		t.generation = c.generation
		t.epochs = [unitKeys]uint64{}
	}
	if t.epochs[key] == 0 {
		if t.salt++; t.salt == salts {
			t.salt = 1
			t.epochs = [unitKeys]uint64{}
			t.code.ForgetJumps()
		}
		t.epoch++
		t.epochs[key], t.salts[key] = t.epoch, t.salt<<(64-jit.SaltBits)
	}
	c.control.Epoch, c.control.Salt = t.epochs[key], t.salts[key]
}

// unit finds the translation of a block at c.rip, makes it if the block is hot, or returns 0.
func (c *CPU) unit(b *block, key unitKey) uint32 {
	t := c.translation
	if b.flush != t.flush {
		b.flush, b.unit, b.runs = t.flush, 0, 0
	}
	for i := b.unit; i != 0; i = t.units[i].next {
		if u := &t.units[i]; u.rip == c.rip && u.key == key {
			return i
		}
	}
	if b.runs++; b.runs <= t.hot {
		return 0
	}
	i := uint32(len(t.units))
	entry, ok := t.code.Translate(&jit.Block{
		RIP: c.rip, Insts: b.insts, Table: c.tableOffset(key), Vectors: key&unitVectors != 0, Floats: key&unitFloats != 0, Unit: i,
	})
	if !ok {
		t.forget()
		c.stats.codeFlushes.Add(1)
		return 0
	}
	t.units = append(t.units, unit{b, c.rip, key, entry, b.unit, t.code.Native()})
	b.unit = i
	c.stats.translations.Add(1)
	c.stats.code.Store(uint64(t.code.Used()))
	return i
}

// translated runs like loop, hot blocks by their translations.
func (c *CPU) translated() {
	t := c.translation
	c.raised = false
	for !c.raised && c.budget > 0 && c.pending.Load()&^c.ignore == 0 && !c.halted && !c.shutdown {
		key, ok := c.unitKey()
		if !ok {
			c.loop()
			return
		}
		b := c.find()
		if b == nil {
			c.except()
			continue
		}
		i := c.unit(b, key)
		if i == 0 {
			c.interpretBlock()
			continue
		}
		c.tag(key)
		if t.check != nil {
			c.checkUnit(i, key)
			continue
		}
		entry := t.units[i].entry
		t.code.Remember(c.rip, c.control.Salt, entry)
		c.execute64(entry, key)
	}
}

// interpretBlock runs one block by the interpreter.
func (c *CPU) interpretBlock() {
	budget := c.budget
	c.grant(1)
	limit := c.limit
	c.loop()
	if c.limit == limit { // else an instruction used the budget up
		c.grant(budget - (1 - c.budget))
	}
}

// execute64 runs translated code until it has to be looked for.
func (c *CPU) execute64(entry jit.Entry, key unitKey) {
	for again := true; again; {
		x := c.runCode(entry)
		switch x.Kind {
		case jit.ExitBoundary:
			c.rip = x.Target
			return
		case jit.ExitLink:
			c.rip = x.Target
			entry, again = c.follow(x, key)
		case jit.ExitInst:
			entry, again = x.Resume(), c.interpret(x, key)
		}
	}
}

// runCode runs translated code once.
func (c *CPU) runCode(entry jit.Entry) *jit.Exit {
	const fixed = 2 | flagIF // of the host's flags
	k := &c.control
	k.Flags = c.arith() | fixed
	k.Budget = c.budget - 1
	k.Attend = uint64(^c.ignore)
	x := c.translation.code.Enter(c.statePointer(), k, entry)
	c.setArith(k.Flags)
	c.native += c.budget - 1 - k.Budget
	c.budget = k.Budget + 1
	return x
}

// follow finds the code that a jump goes to, and binds it to that.
func (c *CPU) follow(x *jit.Exit, key unitKey) (entry jit.Entry, ok bool) {
	if c.budget <= 0 || c.pending.Load()&^c.ignore != 0 {
		return entry, false
	}
	t := c.translation
	from, flush := &t.units[x.Unit], t.flush
	next := c.find()
	if next == nil {
		return entry, false // translated finds the same, and raises it
	}
	i := c.unit(next, key)
	if i == 0 || t.flush != flush {
		if i == 0 {
			c.interpretBlock()
		}
		return entry, false
	}
	c.tag(key)
	entry = t.units[i].entry
	if !x.Within() || from.block.key != dead && c.linkable(from.block, from.rip, next) {
		t.code.Bind(x, entry, c.control.Epoch, x.Within() && !t.exact && c.rip >= from.rip+uint64(from.block.bytes))
	}
	return entry, true
}

// interpret executes the instruction that translated code was left for. again says that the code behind it goes on.
func (c *CPU) interpret(x *jit.Exit, key unitKey) (again bool) {
	b := c.translation.units[x.Unit].block
	in := &b.insts[x.Inst]
	done := int64(x.Inst)
	c.budget += b.count
	c.native -= b.count - done
	c.rip = x.Target
	c.next = c.rip + uint64(in.Len)
	linear := c.control.Linear
	c.charge(1)
	if !c.execute(in) {
		c.retire(int(done))
		c.except()
		return false
	}
	if x.Missed() {
		c.translation.code.Relocate(x, linear)
	}
	c.rip = c.next
	switch {
	case c.smc:
		// The rest of the block may have been written.
		c.smc = false
		c.retire(int(done + 1))
		return false
	case done == b.count-1:
		c.ignore = 0
		c.budget -= b.count
		return false
	}
	if now, _ := c.unitKey(); now != key {
		c.retire(int(done + 1)) // MXCSR was loaded
		return false
	}
	c.budget -= b.count
	c.native += b.count - done - 1
	return true
}
