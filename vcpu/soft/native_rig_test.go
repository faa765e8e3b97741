package soft

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/difftest"
	"gvmm/vcpu/soft/float"
	"gvmm/vcpu/soft/simd"
	"gvmm/vmm/memory"
)

// nativeRig is a processor at CPL 3 in 64-bit mode, that sees the memory that package
// difftest's child sees.
type nativeRig struct {
	c       *CPU
	scratch []byte
	code    []byte
	before  []byte // scratch, of the batch
}

// Physical addresses of the rig.
const (
	rigTables  = 0x1000
	rigScratch = 0x10000
	rigCode    = rigScratch + difftest.ScratchSize
	nativeRAM  = 0x20000
)

// frozenClock is a clock for who does not look at it.
type frozenClock struct{}

func (frozenClock) TSC() uint64 { return 0 }
func (frozenClock) Hz() uint64  { return 1e9 }

// quietAPIC is a local APIC that never has anything.
type quietAPIC struct{}

func (quietAPIC) Pending() bool                 { return false }
func (quietAPIC) Acknowledge() (uint8, bool)    { return 0, false }
func (quietAPIC) EOI()                          {}
func (quietAPIC) ReadMMIO(uint64, []byte)       {}
func (quietAPIC) WriteMMIO(uint64, []byte)      {}
func (quietAPIC) ReadMSR(uint32) (uint64, bool) { return 0, false }
func (quietAPIC) WriteMSR(uint32, uint64) bool  { return false }
func (quietAPIC) Base() (uint64, bool)          { return 0, false }
func (quietAPIC) X2APIC() bool                  { return true }
func (quietAPIC) TPR() uint8                    { return 0 }
func (quietAPIC) SetTPR(uint8)                  {}
func (quietAPIC) Notify(uint8, uint32)          {}
func (quietAPIC) Deadline() uint64              { return ^uint64(0) }
func (quietAPIC) Tick(uint64)                   {}
func (quietAPIC) Reset()                        {}

// newNativeRig makes one; wide addresses have 57 bits.
func newNativeRig(t testing.TB, wide bool) *nativeRig {
	mem := memory.New()
	require.NoError(t, mem.AddRAM(0, nativeRAM))
	t.Cleanup(func() { _ = mem.Close() })
	view := func(pa, n uint64) []byte {
		b, err := mem.View(pa, n)
		require.NoError(t, err)
		return b
	}
	put := func(table, i int, entry uint64) {
		putLittle(view(rigTables+uint64(table)*4096+uint64(i)*8, 8), entry)
	}
	const inner = pteP | pteW | pteU | pteA
	put(0, 0, rigTables+0x1000|inner) // of 57-bit addresses
	put(1, 0, rigTables+0x2000|inner)
	put(2, 0, rigTables+0x3000|inner)
	put(3, difftest.Scratch>>21, rigTables+0x4000|inner)
	put(3, difftest.Code>>21, rigTables+0x5000|inner)
	for i := range difftest.ScratchSize / 4096 {
		put(4, i, uint64(rigScratch+i*4096)|inner|pteD|pteNX)
	}
	for i := range difftest.CodeSize / 4096 {
		put(5, i, uint64(rigCode+i*4096)|inner&^pteW)
	}
	m := NewMachine(mem, frozenClock{})
	c, err := newTestCPU(m, CPUConfig{CPUs: 1, APIC: quietAPIC{}})
	require.NoError(t, err)
	c.cr0 = cr0PE | cr0ET | cr0NE | cr0WP | cr0AM | cr0PG | cr0MP
	c.cr4 = cr4PAE | cr4OSFXSR | cr4OSXMMEXCPT
	c.cr3 = rigTables + 0x1000
	if wide {
		c.cr4 |= cr4LA57
		c.cr3 = rigTables
	}
	c.efer = eferSCE | eferLME | eferLMA | eferNXE
	const data = attrP | attrDPL | attrS | attrWritable | attrAccessed | attrDB | attrG
	for i := range 6 {
		c.seg[i] = segment{limit: 0xffffffff, sel: 0x2b, attr: data}
	}
	c.seg[cs] = segment{limit: 0xffffffff, sel: 0x33, attr: data&^attrDB | attrCode | attrL}
	c.seg[tr].limit = 0 // no I/O permission bitmap
	c.cpl = 3
	c.waitSIPI, c.halted = false, false
	c.updateMode()
	r := &nativeRig{c: c, scratch: view(rigScratch, difftest.ScratchSize), code: view(rigCode, difftest.CodeSize)}
	for i := range r.code {
		r.code[i] = 0xcc
	}
	return r
}

// batch sets the memory that every case starts with.
func (r *nativeRig) batch(memory []byte) {
	r.before = bytes.Clone(memory)
	copy(r.scratch, memory)
}

// run executes a case as the child does, one instruction at a time by execute.
func (r *nativeRig) run(c *difftest.Case) (out difftest.Result) {
	return r.execute(c, func() bool {
		if r.c.one() {
			return true
		}
		f := &r.c.fault
		out.Trap, out.Error, out.CR2 = uint32(f.vector), f.code, f.address
		return false
	}, &out)
}

// loop executes a case by the run loop, a block at a time. There is no IDT: an
// exception ends in a shutdown, and which one it was is not known.
func (r *nativeRig) loop(c *difftest.Case, host *difftest.Result) (out difftest.Result) {
	p := r.c
	p.shutdown = false
	return r.execute(c, func() bool {
		if p.budget = 1; p.pending.Load()&pendingStep != 0 {
			if p.one() { // POPF set TF
				return true
			}
		} else if p.blocks(); !p.shutdown {
			return true
		}
		p.shutdown = false
		out.Trap, out.Error, out.CR2 = host.Trap, host.Error, host.CR2
		return false
	}, &out)
}

// execute loads the state of a case and has step go on until the case has ended or
// step is false.
func (r *nativeRig) execute(c *difftest.Case, step func() bool, result *difftest.Result) (out difftest.Result) {
	const entry = difftest.Entry - difftest.Code
	p := r.c
	end := difftest.Entry + uint64(len(c.Bytes))
	written := copy(r.code[entry:], c.Memory())
	p.drop(rigCode, difftest.CodeSize)
	defer func() {
		for i := range written {
			r.code[entry+i] = 0xcc
		}
	}()
	copy(p.r[:16], c.GPR[:])
	p.setRFLAGS(c.RFLAGS, ^uint64(0))
	r.setFX(&c.FX)
	r.mode(c.Narrow)
	p.rip = difftest.Entry
	p.shadow = 0
	p.pending.Store(0)
	result.Trap = difftest.NoTrap
	for range 1 << 16 {
		off := p.rip - difftest.Code
		if p.rip == end || p.rip == c.Leave() {
			p.rip = end
			break
		}
		if off < difftest.CodeSize && r.code[off] == 0xcc && (p.rip < difftest.Entry || p.rip > end+4) {
			result.Trap = vectorBP
			break
		}
		if !step() {
			break
		}
	}
	out.Trap, out.Error, out.CR2 = result.Trap, result.Error, result.CR2
	copy(out.GPR[:], p.r[:16])
	if c.Narrow {
		for i := range out.GPR {
			out.GPR[i] &= 0xffffffff
		}
	}
	out.RFLAGS, out.RIP = p.RFLAGS(), p.rip
	out.FX = c.FX
	r.getFX(&out.FX)
	r.changes(&out)
	return out
}

// mode makes the code segment a 32-bit or a 64-bit one.
func (r *nativeRig) mode(narrow bool) {
	s := &r.c.seg[cs]
	s.attr = s.attr&^attrDB | attrL
	if narrow {
		s.attr ^= attrL | attrDB
	}
	r.c.updateMode()
}

// changes finds what differs from the memory before and puts that back.
func (r *nativeRig) changes(out *difftest.Result) {
	if bytes.Equal(r.scratch, r.before) {
		return
	}
	from, to := 0, len(r.before)
	for ; bytes.Equal(r.scratch[from:from+8], r.before[from:from+8]); from += 8 {
	}
	for ; bytes.Equal(r.scratch[to-8:to], r.before[to-8:to]); to -= 8 {
	}
	out.Offset, out.Memory = uint32(from), bytes.Clone(r.scratch[from:to])
	copy(r.scratch[from:to], r.before[from:to])
}

// setFX loads an FXSAVE image.
func (r *nativeRig) setFX(f *difftest.FX) {
	c := r.c
	for i := range c.xmm {
		low, high := f.XMM(i)
		c.xmm[i] = simd.Vec{Lo: low, Hi: high}
	}
	c.mxcsr = f.MXCSR()
	c.fpu = x87State{control: uint16(little(f[0:2])), status: uint16(little(f[2:4])), tag: uint16(f[4])}
	for i := range 8 {
		p := f.ST(i)
		c.fpu.reg[(int(c.fpu.status>>11)+i)&7] = float.F80{Man: little(p[:8]), SE: uint16(little(p[8:10]))}
	}
}

// getFX stores one, but for the last instruction's address and operand.
func (r *nativeRig) getFX(f *difftest.FX) {
	c := r.c
	for i := range c.xmm {
		f.SetXMM(i, c.xmm[i].Lo, c.xmm[i].Hi)
	}
	f.SetMXCSR(c.mxcsr)
	putLittle(f[0:2], uint64(c.fpu.control))
	putLittle(f[2:4], uint64(c.fpu.status))
	f[4] = byte(c.fpu.tag)
	for i := range 8 {
		p, v := f.ST(i), c.fpu.reg[(int(c.fpu.status>>11)+i)&7]
		putLittle(p[:8], v.Man)
		putLittle(p[8:10], uint64(v.SE))
	}
}

// nativeTest compares a set of instructions with the host.
type nativeTest struct {
	wanted  func(in *decode.Inst) bool
	vectors func(g *difftest.Generator, f *difftest.FX)
	narrow  bool // 32-bit code
	count   int  // of instructions, unless GVMM_DIFFTEST says
	// ignore takes from both results what need not be equal after the instruction that came last.
	ignore func(in *decode.Inst, c *difftest.Case, host, soft *difftest.Result)
}

// hostAMD says whose undefined results the host gives.
var hostAMD = vendor() == "AuthenticAMD"

func vendor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "vendor_id" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// hostHas reports a flag of /proc/cpuinfo.
func hostHas(flag string) bool {
	text, _ := os.ReadFile("/proc/cpuinfo")
	return strings.Contains(string(text), " "+flag+" ") || strings.Contains(string(text), " "+flag+"\n")
}

// run executes single instructions, then short sequences of them.
func (n *nativeTest) run(t *testing.T) {
	count := n.count
	if testing.Short() {
		count /= 10
	}
	if v, err := strconv.Atoi(os.Getenv("GVMM_DIFFTEST")); err == nil {
		count = v
	}
	seed := uint64(time.Now().UnixNano())
	if v, err := strconv.ParseUint(os.Getenv("GVMM_DIFFTEST_SEED"), 0, 64); err == nil {
		seed = v
	}
	o, err := difftest.Start(t.TempDir())
	if errors.Is(err, difftest.ErrUnavailable) {
		t.Skip(err)
	}
	require.NoError(t, err)
	defer func() { _ = o.Close() }()
	t.Logf("seed %d: GVMM_DIFFTEST_SEED and GVMM_DIFFTEST (instructions) say otherwise", seed)
	rig := newNativeRig(t, o.Wide())
	g := difftest.NewGenerator(rand.New(rand.NewPCG(seed, 0)), n.wanted)
	g.Vectors, g.Narrow = n.vectors, n.narrow
	cases := make([]difftest.Case, difftest.Batch)
	results := make([]difftest.Result, 0, difftest.Batch)
	seen, traps, failures := 0, 0, map[string]int{}
	ops := map[decode.Op]int{}
	for batch := 0; seen < count; batch++ {
		length := 1
		if batch%4 == 3 {
			length = 8
		}
		mem := g.Memory()
		for i := range cases {
			cases[i] = g.Case(length)
		}
		seen += length * len(cases)
		rig.batch(mem)
		results, err = o.Run(mem, cases, results[:0])
		require.NoError(t, err)
		for i := range cases {
			n.judge(t, o, rig, mem, &cases[i], &results[i], failures, ops, &traps)
		}
		if len(failures) > 30 {
			break
		}
	}
	groups := map[decode.Group]bool{}
	for op := range ops {
		groups[op.Group()] = true
	}
	var none []string
	for op := decode.ADD; int(op) < decode.Ops; op++ {
		if groups[op.Group()] && ops[op] == 0 {
			none = append(none, op.String())
		}
	}
	t.Logf("none of %s", strings.Join(none, " "))
	t.Logf("%d instructions of %d operations, %d exceptions", seen, len(ops), traps)
	require.Empty(t, failures, "how many mismatches by operation")
}

// judge compares one case, and tells of the first few mismatches of an operation.
func (n *nativeTest) judge(t *testing.T, o *difftest.Oracle, rig *nativeRig, mem []byte, c *difftest.Case, host *difftest.Result,
	failures map[string]int, ops map[decode.Op]int, traps *int,
) {
	soft := rig.run(c)
	if host.Unusable() || soft.Trap == vectorPF && difftest.Private(soft.CR2) {
		return
	}
	if host.Trap != difftest.NoTrap && host.Trap != vectorBP {
		*traps++
	}
	in := lastOf(c, host.RIP, host.Trap)
	ops[in.Op]++
	if n.differences(&in, c, *host, soft) == nil {
		if d := n.differences(&in, c, *host, rig.loop(c, host)); d != nil {
			if failures["loop"]++; failures["loop"] <= 5 {
				t.Logf("by the run loop: %s\n%s", describe(c), strings.Join(d, "\n"))
			}
		}
		return
	}
	if c, host, soft, ok := n.shrink(o, rig, mem, c); ok {
		in := lastOf(c, host.RIP, host.Trap)
		name := in.Op.String()
		if failures[name]++; failures[name] <= 2 {
			t.Logf("%s\n%s", describe(c), strings.Join(n.differences(&in, c, *host, *soft), "\n"))
		}
	}
}

// shrink finds the shortest case that differs: of a sequence, its first part, and
// then the last instruction of that alone.
func (n *nativeTest) shrink(o *difftest.Oracle, rig *nativeRig, mem []byte, c *difftest.Case) (*difftest.Case, *difftest.Result, *difftest.Result, bool) {
	try := func(c difftest.Case) (host, soft difftest.Result, bad bool) {
		results, err := o.Run(mem, []difftest.Case{c}, nil)
		if err != nil {
			return host, soft, false
		}
		soft = rig.run(&c)
		in := lastOf(&c, results[0].RIP, results[0].Trap)
		usable := !results[0].Unusable() && (soft.Trap != vectorPF || !difftest.Private(soft.CR2))
		return results[0], soft, usable && n.differences(&in, &c, results[0], soft) != nil
	}
	start := *c
	for at := 0; at < len(c.Bytes); {
		in, err := decode.Decode(c.Bytes[at:], c.Mode())
		if err != nil {
			return nil, nil, nil, false
		}
		next := at + int(in.Len)
		part := *c
		part.Bytes = c.Bytes[:next]
		host, soft, bad := try(part)
		if !bad {
			at, start.State = next, host.State
			continue
		}
		alone := start
		alone.Bytes = c.Bytes[at:next]
		alone.RFLAGS &^= flagRF
		if host, soft, bad := try(alone); bad {
			return &alone, &host, &soft, true
		}
		return &part, &host, &soft, true
	}
	return nil, nil, nil, false
}

// lastOf is the instruction that decides what is defined: the one that faulted, or
// the last one.
func lastOf(c *difftest.Case, rip uint64, trap uint32) (last decode.Inst) {
	for at := 0; at < len(c.Bytes); {
		in, err := decode.Decode(c.Bytes[at:], c.Mode())
		if err != nil {
			return last
		}
		last = in
		if trap != difftest.NoTrap && rip == difftest.Entry+uint64(at) {
			break
		}
		at += int(in.Len)
	}
	return last
}

// differences says what is not equal, nil if nothing. Undefined results are equal.
func (n *nativeTest) differences(in *decode.Inst, c *difftest.Case, host, soft difftest.Result) (d []string) {
	if n.ignore != nil {
		n.ignore(in, c, &host, &soft)
	}
	add := func(what string, host, soft any) {
		d = append(d, fmt.Sprintf("  %-6s host %#x, soft %#x", what, host, soft))
	}
	const flags = flagsArith | flagDF | flagNT | flagAC | flagID | flagIOPL | flagIF
	if host.Trap != soft.Trap || host.RIP != soft.RIP {
		add("trap", int32(host.Trap), int32(soft.Trap))
		add("RIP", host.RIP, soft.RIP)
	}
	if host.CR2 >= 1<<47-4096 {
		host.Error, soft.Error = host.Error|pfPresent, soft.Error|pfPresent // the kernel does not tell of its own pages
	}
	if (host.Trap == vectorPF || soft.Trap == vectorPF) && (host.Error != soft.Error || host.CR2 != soft.CR2) {
		add("error", host.Error, soft.Error)
		add("CR2", host.CR2, soft.CR2)
	}
	for i := range host.GPR {
		if host.GPR[i] != soft.GPR[i] {
			add([]string{"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"}[i], host.GPR[i], soft.GPR[i])
		}
	}
	if (host.RFLAGS^soft.RFLAGS)&flags != 0 {
		add("RFLAGS", host.RFLAGS&flags, soft.RFLAGS&flags)
		d = append(d, fmt.Sprintf("  differ %#x", (host.RFLAGS^soft.RFLAGS)&flags))
	}
	if host.Offset != soft.Offset || !bytes.Equal(host.Memory, soft.Memory) {
		add("at", host.Offset, soft.Offset)
		add("memory", host.Memory[:min(64, len(host.Memory))], soft.Memory[:min(64, len(soft.Memory))])
	}
	if host.FX.MXCSR() != soft.FX.MXCSR() {
		add("MXCSR", host.FX.MXCSR(), soft.FX.MXCSR())
	}
	for i := range 16 {
		h0, h1 := host.FX.XMM(i)
		if s0, s1 := soft.FX.XMM(i); h0 != s0 || h1 != s1 {
			d = append(d, fmt.Sprintf("  XMM%-3d host %016x_%016x, soft %016x_%016x", i, h1, h0, s1, s0))
		}
	}
	if !bytes.Equal(host.FX[0:5], soft.FX[0:5]) {
		add("x87", host.FX[0:5], soft.FX[0:5])
	}
	for i := range 8 {
		if !bytes.Equal(host.FX.ST(i), soft.FX.ST(i)) {
			add(fmt.Sprint("ST", i), host.FX.ST(i), soft.FX.ST(i))
		}
	}
	return d
}

func describe(c *difftest.Case) string {
	return fmt.Sprintf("%s\n  GPR %#x\n  RFLAGS %#x", c.Text(), c.GPR, c.RFLAGS)
}
