package difftest

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/arch/x86/x86asm"

	"gvmm/vcpu/soft/decode"
)

// The addresses that cases use. All around them is unmapped, but for two pages
// of the child's own at 5AB3C000H.
const (
	Scratch     = 0x10000000 // readable and writable
	ScratchSize = 0x4000
	Code        = 0x20000000 // two pages, readable and executable, full of INT3 but for the case
	CodeSize    = 0x2000
	Entry       = Code + 0x800 // of a case's code
)

// Leave is where the jump behind the code goes.
func (c *Case) Leave() uint64 {
	if c.Narrow {
		return 0x5ab3d800
	}
	return 0x5ab3d000
}

// Private reports the child's own pages: a case that faults there in software did
// not natively, and says nothing.
func Private(la uint64) bool { return la-0x5ab3c000 < 0x2000 }

// Memory returns the code with what the child puts behind it: a jump to its own.
func (c *Case) Memory() []byte {
	b := append(append(make([]byte, 0, MaxCode+5), c.Bytes...), 0xe9)
	return binary.LittleEndian.AppendUint32(b, uint32(c.Leave()-Entry)-uint32(len(b))-4)
}

// MaxCode is the longest code of a case, in bytes.
const MaxCode = 64

// Batch is the most cases of one Run.
const Batch = 512

// State is what a case starts with and ends with.
type State struct {
	GPR    [16]uint64
	RFLAGS uint64
	FX     FX
}

// FX is an FXSAVE image in 64-bit format: the x87 state, MXCSR, 16 XMM registers.
type FX [512]byte

// Fields of an FX.
const (
	fxMXCSR = 24
	fxST    = 32
	fxXMM   = 160
)

// ResetFX is the state after FNINIT and with MXCSR as at power-on.
func ResetFX() (f FX) {
	binary.LittleEndian.PutUint16(f[0:], 0x37f)
	f.SetMXCSR(0x1f80)
	return f
}

// XMM returns register i.
func (f *FX) XMM(i int) (low, high uint64) {
	p := f[fxXMM+16*i:]
	return binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
}

// SetXMM sets register i.
func (f *FX) SetXMM(i int, low, high uint64) {
	p := f[fxXMM+16*i:]
	binary.LittleEndian.PutUint64(p, low)
	binary.LittleEndian.PutUint64(p[8:], high)
}

// MXCSR is the SSE control and status register.
func (f *FX) MXCSR() uint32 { return binary.LittleEndian.Uint32(f[fxMXCSR:]) }

// SetMXCSR sets it.
func (f *FX) SetMXCSR(v uint32) { binary.LittleEndian.PutUint32(f[fxMXCSR:], v) }

// ST returns the ten bytes of x87 register ST(i), or of MMX register i where TOP is 0.
func (f *FX) ST(i int) []byte { return f[fxST+16*i : fxST+16*i+10] }

// Case is code and what it starts from.
type Case struct {
	State
	Bytes  []byte // at most MaxCode
	Narrow bool   // in a 32-bit code segment: registers have 32 bits, and there are eight
}

// Mode is how the code is decoded.
func (c *Case) Mode() decode.Mode {
	if c.Narrow {
		return decode.Mode32
	}
	return decode.Mode64
}

// narrow clears what 32-bit code does not see of the registers.
func (s *State) narrow() {
	clear(s.GPR[8:])
	for i := range s.GPR {
		s.GPR[i] &= 0xffffffff
	}
}

// NoTrap is the Trap of a Result that came to the end of the code.
const NoTrap = ^uint32(0)

// Result is what came of a case.
type Result struct {
	State
	RIP    uint64 // behind the code, of the instruction that faulted, or of an INT3 around the code that a branch went to
	Trap   uint32 // vector, or NoTrap
	Error  uint32 // code of the exception, 0 for those without
	CR2    uint64 // of a page fault
	Offset uint32 // of Memory from Scratch
	Memory []byte // the bytes from the first to the last that changed, in multiples of 8
}

// Vectors that Results hold.
const (
	trapDB = 1
	trapBP = 3
	trapPF = 14
	trapAC = 17
)

// Unusable reports a result that says nothing of the code: a case that made the
// processor trap in what surrounds it.
func (r *Result) Unusable() bool { return r.Trap == trapDB || r.Trap == trapAC }

// Changed returns the memory at Scratch after the case, given what it was before.
func (r *Result) Changed(before []byte) []byte {
	after := append([]byte(nil), before...)
	copy(after[r.Offset:], r.Memory)
	return after
}

// Text disassembles the code.
func (c *Case) Text() string {
	bits := 64
	if c.Narrow {
		bits = 32
	}
	var lines []string
	for at := 0; at < len(c.Bytes); {
		inst, err := x86asm.Decode(c.Bytes[at:], bits)
		n, text := inst.Len, "?"
		if err == nil && n > 0 {
			text = x86asm.IntelSyntax(inst, Entry+uint64(at), nil)
		} else {
			n = len(c.Bytes) - at
		}
		lines = append(lines, fmt.Sprintf("% x: %s", c.Bytes[at:at+n], text))
		at += n
	}
	return strings.Join(lines, "; ")
}
