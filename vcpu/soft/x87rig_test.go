package soft

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/float"
	"gvmm/vmm/memory"
)

// x87RAM is where the rig's memory operands are, and x87Code where its instructions
// are: guest-physical and linear.
const (
	x87RAM  = 0x10000
	x87Code = 0x1000
)

// x87APIC is a local APIC that is not there.
type x87APIC struct{ LocalAPIC }

func (x87APIC) Base() (uint64, bool) { return 0, false }

// x87Rig makes a processor at CPL 0 in 64-bit mode, without paging, that may use the
// x87 unit and has XSAVE.
func x87Rig(t testing.TB) (*CPU, []byte) {
	t.Helper()
	mem := memory.New()
	t.Cleanup(func() { require.NoError(t, mem.Close()) })
	require.NoError(t, mem.AddRAM(0, 1<<20))
	c := &CPU{machine: NewMachine(mem, nil), handler: nobody{}, apic: x87APIC{}}
	for i := range c.tlbs {
		for j := range c.tlbs[i] {
			c.tlbs[i][j].clear(j)
		}
	}
	c.cr0 = cr0PE | cr0NE | cr0MP
	c.cr4 = cr4OSFXSR | cr4OSXMMEXCPT | cr4OSXSAVE
	c.xcr0 = xstateX87 | xstateSSE
	c.efer = eferLME | eferLMA
	c.seg[cs].attr = attrP | attrS | attrCode | attrL
	c.updateMode()
	c.mxcsr = mxcsrInit
	c.x87Reset()
	c.r[rdi] = x87RAM
	ram, err := mem.View(0, 1<<20)
	require.NoError(t, err)
	return c, ram
}

// run87 executes the instruction at the start of code.
func run87(t testing.TB, c *CPU, ram []byte, code ...byte) bool {
	t.Helper()
	in := decode87(t, code)
	copy(ram[x87Code:], code)
	c.rip, c.next = x87Code, x87Code+uint64(in.Len)
	c.fault = fault{}
	return c.execute(&in)
}

func decode87(t testing.TB, code []byte) decode.Inst {
	t.Helper()
	b := append(append([]byte(nil), code...), make([]byte, decode.MaxLength)...)
	in, err := decode.Decode(b, decode.Mode64)
	require.NoError(t, err)
	return in
}

// image87 is an image of FNSAVE in 32-bit format.
type image87 [108]byte

func (p *image87) word(off int) uint16       { return binary.LittleEndian.Uint16(p[off:]) }
func (p *image87) setWord(off int, v uint16) { binary.LittleEndian.PutUint16(p[off:], v) }
func (p *image87) reg(i int) float.F80       { return getF80(p[28+10*i:]) }
func (p *image87) setReg(i int, v float.F80) { putF80(p[28+10*i:], v) }
func (p *image87) control() uint16           { return p.word(0) }
func (p *image87) status() uint16            { return p.word(4) }

// load makes the image the state of c, save that of c.
func (p *image87) load(c *CPU) {
	copy(c.image[:], p[:])
	c.getEnvironment(4)
	for i := range uint8(8) {
		c.fpu.reg[c.fpu.phys(i)] = p.reg(int(i))
	}
}

func (p *image87) save(c *CPU) {
	n := c.putEnvironment(4)
	copy(p[:], c.image[:n])
	for i := range uint8(8) {
		p.setReg(int(i), c.fpu.st(i))
	}
}

// gen87 makes states and operands.
type gen87 struct{ *rand.Rand }

func newGen87(seed uint64) gen87 { return gen87{rand.New(rand.NewPCG(seed, 87))} }

func (g gen87) reg() float.F80 {
	f := float.F80{Man: 1<<63 | g.Uint64(), SE: uint16(g.IntN(2)<<15 | 0x3fff + g.IntN(80) - 40)}
	switch g.IntN(16) {
	case 0:
		f.Man, f.SE = 0, f.SE&0x8000
	case 1:
		f.Man, f.SE = 1<<63, f.SE|0x7fff
	case 2:
		f.SE |= 0x7fff
	case 3:
		f.Man, f.SE = f.Man>>g.IntN(64), f.SE&0x8000
	case 4:
		f.Man &^= 1 << 63
	case 5:
		f = float.F80{Man: g.Uint64(), SE: uint16(g.Uint32())}
	case 6, 7:
		f.Man &= ^uint64(0) << (40 + g.IntN(24))
	}
	return f
}

// state gives a state without pending exceptions.
func (g gen87) state() (p image87) {
	control := uint16(0x37f)
	if g.IntN(2) == 0 {
		control = uint16(g.Uint32()) & cwWritable
	}
	if g.IntN(2) == 0 {
		control |= cwMasks
	}
	control |= cwOnes
	status := uint16(g.Uint32())&^(swES|swB|swExceptions) | uint16(g.Uint32())&control&swExceptions
	if status&1 == 0 {
		status &^= swStackFault
	}
	tag := uint16(0)
	if g.IntN(2) == 0 {
		for i := range 8 {
			if g.IntN(3) == 0 {
				tag |= 3 << (2 * i)
			}
		}
	}
	if top := status >> 11 & 7; g.IntN(2) == 0 {
		tag |= 3 << (2 * ((top + 7) & 7)) // room for a push
	}
	p.setWord(0, control)
	p.setWord(4, status)
	p.setWord(8, tag)
	for i := range 8 {
		p.setReg(i, g.reg())
	}
	return p
}

// memory gives 16 bytes that are an operand of some size.
func (g gen87) memory() (m [16]byte) {
	binary.LittleEndian.PutUint64(m[8:], g.Uint64())
	binary.LittleEndian.PutUint64(m[:], g.Uint64())
	switch g.IntN(6) {
	case 0: // a double or single of moderate size
		binary.LittleEndian.PutUint32(m[4:], g.Uint32()&0x800fffff|uint32(0x3e0+g.IntN(0x40))<<20)
	case 1:
		binary.LittleEndian.PutUint32(m[:], g.Uint32()&0x807fffff|uint32(0x6f+g.IntN(0x20))<<23)
	case 2:
		binary.LittleEndian.PutUint64(m[:], uint64(int64(g.Uint64())>>g.IntN(64)))
	case 3:
		putF80(m[:], g.reg())
	case 4:
		for i := range 9 {
			m[i] = byte(g.IntN(10)<<4 | g.IntN(10))
		}
	}
	return m
}
