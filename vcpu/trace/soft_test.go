package trace

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/irqchip"
	"gvmm/vcpu"
	"gvmm/vcpu/soft"
	"gvmm/vcpu/soft/decode"
	"gvmm/vmm/memory"
)

// clock stands still.
type clock struct{}

func (clock) TSC() uint64 { return 1 }
func (clock) Hz() uint64  { return 1e9 }

// handler answers every read with ones and knows one MSR.
type handler struct{}

func (handler) PortRead(_ uint16, p []byte)   { fill(p) }
func (handler) PortWrite(uint16, []byte)      {}
func (handler) MemoryRead(_ uint64, p []byte) { fill(p) }
func (handler) MemoryWrite(uint64, []byte)    {}
func (handler) ReadMSR(_ int, msr uint32) (uint64, bool) {
	return 0x1122, msr == 0x5555
}
func (handler) WriteMSR(int, uint32, uint64) bool { return false }

func fill(p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}

// Tables that code may load by loadTables: every vector goes to atHandler, where a
// run ends.
const (
	atGDT     = 0x2000
	atIDT     = 0x3000
	atTables  = 0x4000
	atHandler = 0x5000
)

// loadTables is LGDT and LIDT.
var loadTables = []byte{0x0f, 0x01, 0x15, 0, 0x40, 0, 0, 0x0f, 0x01, 0x1d, 8, 0x40, 0, 0}

func writeTables(t *testing.T, mem *memory.Memory) {
	t.Helper()
	require.NoError(t, mem.Store64(atGDT+8, 0x00cf9b000000ffff))
	for v := range uint64(256) {
		require.NoError(t, mem.Store64(atIDT+8*v, atHandler|8<<16|0x8e<<40))
	}
	require.NoError(t, mem.Store64(atTables, 0xffff|atGDT<<16))
	require.NoError(t, mem.Store64(atTables+8, 0x7ff|atIDT<<16))
}

// run executes code in 32-bit protected mode at 0x1000 up to its end.
func run(t *testing.T, kinds Kinds, code ...byte) string {
	t.Helper()
	mem := memory.New()
	t.Cleanup(func() { require.NoError(t, mem.Close()) })
	require.NoError(t, mem.AddRAM(0, 1<<20))
	require.NoError(t, mem.WriteAt(append(code, 0xf4), 0x1000))
	writeTables(t, mem)
	m := soft.NewMachine(mem, clock{})
	chip := irqchip.NewSoft(irqchip.SoftConfig{CPUs: 1, Now: clock{}.TSC, Hz: 1e9, BusHz: 1e6, Signal: func(int, irqchip.Signal, uint8) {}})
	var out bytes.Buffer
	l := New(&out, kinds)
	c, err := m.NewCPU(soft.CPUConfig{CPUs: 1, APIC: chip.Local(0), UINTR: true, Posted: true, BusHz: 1e6, Virtual: true, Trace: l.Soft()})
	require.NoError(t, err)
	c.SetEntry(0x1000, 0, 0)
	require.NoError(t, c.SetDebug(&vcpu.Debug{Breaks: []uint64{atHandler, 0x1000 + uint64(len(code))}}))
	var trap *vcpu.Trap
	if err := c.Run(handler{}, new(atomic.Bool)); !errors.As(err, &trap) {
		require.ErrorIs(t, err, vcpu.ErrGuest)
	}
	require.NoError(t, l.Flush())
	return out.String()
}

func TestInstructionsAreShownWithWhatTheyChange(t *testing.T) {
	text := run(t, Instructions|Exits,
		0xb8, 0x34, 0x12, 0, 0, // mov eax, 0x1234
		0x89, 0xc3, //             mov ebx, eax
		0x90,       //       nop
		0xe4, 0x60, //             in al, 0x60
		0xe6, 0x61, //             out 0x61, al
		0x93, //                   xchg ebx, eax
	)
	require.Equal(t, `# CPU COUNT KIND FIELDS
0 0 insn 0000000000001000 b834120000       cpl0 mov eax, 0x1234 ; rax=1234
0 1 insn 0000000000001005 89c3             cpl0 mov ebx, eax ; rbx=1234
0 2 insn 0000000000001007 90               cpl0 nop
0 3 insn 0000000000001008 e460             cpl0 in al, 0x60
0 3 exit port_read 60 1 ff
0 4 regs rax=12ff
0 4 insn 000000000000100a e661             cpl0 out 0x61, al
0 4 exit port_write 61 1 ff
0 5 insn 000000000000100c 93               cpl0 xchg ebx, eax ; rax=1234 rbx=12ff
`, text)
}

func TestExitsShowWhatWasReadAndWritten(t *testing.T) {
	text := run(t, Exits,
		0xb9, 0x55, 0x55, 0, 0, 0x0f, 0x32, // mov ecx, 0x5555; rdmsr
		0xa3, 0, 0, 0, 0xd0, //                mov [0xd0000000], eax
		0x66, 0xa1, 2, 0, 0, 0xd0, //          mov ax, [0xd0000002]
	)
	require.Equal(t, []string{
		"0 exit msr_read 5555 8 0000000000001122", "0 exit mmio_write d0000000 4 00001122", "0 exit mmio_read d0000002 2 ffff",
	}, fields(t, text))
}

func TestAnInstructionThatFaultsHasNoChanges(t *testing.T) {
	text := run(t, Instructions, 0x0f, 0x0b) // and there is no IDT
	require.Equal(t, []string{"0 insn 0000000000001000 0f0b             cpl0 (undefined)"}, fields(t, text))
}

func TestExceptionsAndInterruptsAreNamed(t *testing.T) {
	for want, code := range map[string][]byte{
		"0 irq deliver 6 #UD rip=5000 cpl0":          {0x0f, 0x0b},
		"0 irq deliver 3 #BP rip=5000 cpl0":          {0xcc},
		"0 irq deliver 6 rip=5000 cpl0":              {0xcd, 0x06},                      // INT n is no exception
		"0 irq deliver d #GP error=38 rip=5000 cpl0": {0xb8, 0x38, 0, 0, 0, 0x8e, 0xd8}, // MOV DS, of no segment
	} {
		program := append(append([]byte(nil), loadTables...), 0xbc, 0, 0x80, 0, 0) // and ESP
		require.Equal(t, []string{want}, fields(t, run(t, Interrupts, append(program, code...)...)))
	}
}

func TestUserInterruptInstructionsAreNamed(t *testing.T) {
	for want, code := range map[string][]byte{
		"senduipi r9":              {0xf3, 0x41, 0x0f, 0xc7, 0xf1},
		"uiret":                    {0xf3, 0x0f, 0x01, 0xec},
		"testui":                   {0xf3, 0x0f, 0x01, 0xed},
		"clui":                     {0xf3, 0x0f, 0x01, 0xee},
		"stui":                     {0xf3, 0x0f, 0x01, 0xef},
		"(undefined)":              {0x0f, 0x0b},
		"jmp 0x1000":               {0xeb, 0xfe},
		"mov rax, qword ptr [rbx]": {0x48, 0x8b, 0x03},
	} {
		in, err := decode.Decode(append(append([]byte(nil), code...), make([]byte, decode.MaxLength)...), decode.Mode64)
		require.NoError(t, err)
		require.Equal(t, want, disassemble(decode.Mode64, 0x1000, code, &in))
	}
}

func TestATextIsKeptForItsBytesOnly(t *testing.T) {
	c := &cpu{texts: make([]text, textSlots)}
	one := func(mode decode.Mode, rip uint64, code ...byte) string {
		in, err := decode.Decode(append(append([]byte(nil), code...), make([]byte, decode.MaxLength)...), mode)
		require.NoError(t, err)
		return c.text(mode, rip, code, &in)
	}
	for range 2 {
		require.Equal(t, "nop", one(decode.Mode64, 0x1000, 0x90))
		require.Equal(t, "hlt", one(decode.Mode64, 0x1000, 0xf4))
		require.Equal(t, "hlt", one(decode.Mode64, 0x1000+textSlots, 0xf4))
		require.Equal(t, "inc eax", one(decode.Mode32, 0x1000, 0x40))
		require.Equal(t, "inc ax", one(decode.Mode16, 0x1000, 0x40))
	}
}
