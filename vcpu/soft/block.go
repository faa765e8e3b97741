package soft

import "gvmm/vcpu/soft/decode"

// Limits of the block cache of one processor.
const (
	blockInsts  = 64      // longest block, in instructions
	chunkInsts  = 1 << 14 // arena's unit
	maxChunks   = 32
	bucketCount = 1 << 14
	jumpEntries = 1 << 12
)

// block is a run of instructions in one physical page: control enters at its start
// and leaves at its end, or by a fault. It is the unit that a translator compiles.
type block struct {
	key   uint64        // physical address and decoding mode; dead once it was dropped
	first *op           // of its ops, in one array, opEnd behind the last
	insts []decode.Inst // what they stand for
	count int64         // of insts
	link  [2]*block     // where a branch within the page goes: not taken, taken
	pa2   uint64        // the page of an instruction that crosses into it, else 0
	bytes uint32        // length in bytes
	chain *block        // in its bucket
	page  *block        // in its page
	tail  *block        // in the page of its last bytes, if it crosses

	// Of its translations: how often it was interpreted, the first unit, and what both count for.
	runs, unit, flush uint32
}

// dead is the key of a dropped block.
const dead = ^uint64(0)

func blockKey(pa uint64, mode decode.Mode) uint64 { return pa | uint64(mode)<<60 }

func (b *block) pa() uint64 { return b.key &^ (3 << 60) }

// blocks is a processor's cache of decoded blocks.
type blocks struct {
	buckets []*block
	pages   map[uint64]*block // physical page to its blocks
	tails   map[uint64]*block // physical page to the blocks that cross into it
	jumps   *[jumpEntries]jump
	chunks  []*chunk
	chunk   int // in use
	scratch [decode.MaxLength]byte
}

// jump remembers the block at a linear RIP, while translations and rights are those
// of context.
type jump struct {
	rip     uint64
	context uint64
	block   *block
}

type chunk struct {
	ops         []op
	insts       []decode.Inst
	blocks      []block
	n, used, op int // of insts, blocks, ops
}

func (b *blocks) init() {
	b.buckets = make([]*block, bucketCount)
	b.pages = make(map[uint64]*block)
	b.tails = make(map[uint64]*block)
	b.jumps = new([jumpEntries]jump)
}

func bucket(key uint64) int { return int((key ^ key>>14 ^ key>>58) & (bucketCount - 1)) }

// room returns a chunk with place for the longest block. When all are full the
// whole cache is dropped.
func (c *CPU) room() *chunk {
	k := &c.cache
	for ; k.chunk < len(k.chunks); k.chunk++ {
		if h := k.chunks[k.chunk]; h.n+blockInsts <= chunkInsts && h.used < len(h.blocks) {
			return h
		}
	}
	if len(k.chunks) < maxChunks {
		k.chunks = append(k.chunks, &chunk{
			ops: make([]op, chunkInsts+chunkInsts/4), insts: make([]decode.Inst, chunkInsts), blocks: make([]block, chunkInsts/4),
		})
		return k.chunks[k.chunk]
	}
	c.dropAll()
	return k.chunks[0]
}

// dropAll forgets every block. No block may be under way.
func (c *CPU) dropAll() {
	k := &c.cache
	c.stats.flushes.Add(1)
	if c.translation != nil {
		c.translation.forget()
	}
	clear(k.buckets)
	for pa := range k.pages {
		c.disown(pa)
	}
	for pa := range k.tails {
		c.disown(pa)
	}
	clear(k.pages)
	clear(k.tails)
	clear(k.jumps[:])
	for _, h := range k.chunks {
		h.n, h.used, h.op = 0, 0, 0
	}
	k.chunk = 0
	c.generation++
	c.renew()
}

// drop forgets the blocks of a page if n bytes at pa, all in that page, overlap one
// of them. It reports whether they did.
func (c *CPU) drop(pa, n uint64) bool {
	k := &c.cache
	page := pa &^ 0xfff
	hit := pa-page < decode.MaxLength-1 && k.tails[page] != nil
	for b := k.pages[page]; b != nil && !hit; b = b.page {
		from := b.pa()
		hit = pa < from+uint64(b.bytes) && from < pa+n
	}
	if !hit {
		return false
	}
	for b := k.pages[page]; b != nil; b = b.page {
		c.unlink(b)
	}
	for b := k.tails[page]; b != nil; b = b.tail {
		c.unlink(b)
	}
	delete(k.pages, page)
	delete(k.tails, page)
	c.disown(page)
	c.generation++
	c.renew()
	return true
}

// disown says that no block of a page is left.
func (c *CPU) disown(page uint64) { c.machine.code.owners(page).And(^(uint64(1) << c.id)) }

// unlink takes a block out of its bucket. What still points to it finds it dead.
func (c *CPU) unlink(b *block) {
	if b.key == dead {
		return
	}
	p := &c.cache.buckets[bucket(b.key)]
	for *p != nil && *p != b {
		p = &(*p).chain
	}
	if *p == b {
		*p = b.chain
	}
	b.key = dead
	b.link = [2]*block{}
}

// renew makes the context another one: translations, rights or mode changed, and a
// jump remembered in another context does not count.
func (c *CPU) renew() { c.context = c.generation<<8 | uint64(c.mode)<<2 | uint64(c.cpl) }

func jumpIndex(la uint64) uint64 { return (la ^ la>>12) & (jumpEntries - 1) }

// find returns the block at c.rip, decoding it if need be; nil after a fault.
func (c *CPU) find() *block {
	la := c.rip
	if c.mode != decode.Mode64 {
		la = (la + c.bases[cs]) & 0xffffffff
	}
	j := &c.cache.jumps[jumpIndex(la)]
	if j.rip == la && j.context == c.context && j.block.key != dead {
		return j.block
	}
	b := c.lookUp(la)
	if b != nil {
		*j = jump{la, c.context, b}
	}
	return b
}

func (c *CPU) lookUp(la uint64) *block {
	page, ok := c.fetchPage(la)
	if !ok {
		return nil
	}
	pa := page | la&0xfff
	key := blockKey(pa, c.mode)
	for b := c.cache.buckets[bucket(key)]; b != nil; b = b.chain {
		if b.key != key {
			continue
		}
		if b.pa2 != 0 {
			second, ok := c.fetchPage(c.wrap(la&^0xfff + 4096))
			if !ok {
				return nil
			}
			if second != b.pa2 {
				continue
			}
		}
		return b
	}
	return c.decode(la, pa)
}

// decode makes the block at linear address la, physical pa.
func (c *CPU) decode(la, pa uint64) *block {
	host, ok := c.machine.host(pa)
	if !ok {
		c.ud() // what a bus without an answer reads
		return nil
	}
	h := c.room()
	c.own(pa &^ 0xfff)
	b := &h.blocks[h.used]
	*b = block{key: blockKey(pa, c.mode)}
	off := pa & 0xfff
	bytes := host.bytes(off, int(4096-off))
	first := h.n
	for n := 0; n < blockInsts; n++ {
		if c.marked(la + uint64(b.bytes)) {
			if n == blockInsts-1 {
				break
			}
			h.insts[h.n] = decode.Inst{} // UD of no length
			h.n++
			n++
		}
		in, err := decode.Decode(bytes, c.mode)
		if err != nil {
			if b.bytes > 0 {
				if h.insts[h.n-1].Len == 0 {
					h.n--
				}
				break
			}
			if in, ok = c.decodeAcross(la, bytes, b); !ok {
				return nil
			}
		}
		h.insts[h.n] = in
		h.n++
		b.bytes += uint32(in.Len)
		if err != nil || ends(&in) || int(in.Len) == len(bytes) {
			break
		}
		bytes = bytes[in.Len:]
	}
	h.used++
	c.stats.blocks.Add(1)
	b.insts = h.insts[first:h.n:h.n]
	b.count = int64(len(b.insts))
	ops := c.lower(b.insts, h.ops[h.op:h.op])
	h.op += len(ops)
	b.first = &ops[0]
	c.enter(b)
	return b
}

// decodeAcross decodes an instruction that goes on in the next linear page.
func (c *CPU) decodeAcross(la uint64, head []byte, b *block) (decode.Inst, bool) {
	next := c.wrap(la&^0xfff + 4096)
	second, ok := c.fetchPage(next)
	if !ok {
		return decode.Inst{}, false
	}
	host, ok := c.machine.host(second)
	if !ok {
		return decode.Inst{}, c.ud()
	}
	c.own(second)
	s := &c.cache.scratch
	n := copy(s[:], head)
	copy(s[n:], host.bytes(0, len(s)-n))
	in, err := decode.Decode(s[:], c.mode)
	b.pa2 = second
	return in, err == nil
}

// enter puts a block into its bucket and its page, or both of its pages.
func (c *CPU) enter(b *block) {
	k := &c.cache
	i := bucket(b.key)
	b.chain, k.buckets[i] = k.buckets[i], b
	page := b.pa() &^ 0xfff
	b.page, k.pages[page] = k.pages[page], b
	if b.pa2 != 0 {
		b.tail, k.tails[b.pa2] = k.tails[b.pa2], b
	}
}

// ends reports that no instruction may follow in the same block: what may change
// where execution goes, what decoding and translation depend on, or which events
// are taken.
func ends(in *decode.Inst) bool {
	switch in.Op.Group() {
	case decode.GroupSpecial, decode.GroupFlow, decode.GroupSystem:
		return true
	case decode.GroupString:
		return in.Has(decode.Rep | decode.Repne)
	case decode.GroupState:
		return in.Op == decode.XRSTORS || in.Op == decode.XSAVES
	}
	return in.Op == decode.POPF || in.Op == decode.SERIALIZE
}
