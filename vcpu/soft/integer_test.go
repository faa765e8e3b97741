package soft

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu/soft/decode"
)

// Where realCPU has its code and its stack: the code segment's base is 1000H, all
// others' 2000H.
const (
	realCode = 0x1000
	realData = 0x20000
)

// realCPU is a processor in real-address mode at offset 0 of its code.
func realCPU(t testing.TB, code ...byte) *CPU {
	t.Helper()
	c := flatCPU(t, nil)
	c.cr0, c.efer = cr0ET, 0
	for i := range 6 {
		c.seg[i] = segment{sel: realData >> 4, base: realData, limit: 0xffff, attr: attrP | attrS | attrWritable | attrAccessed}
	}
	c.seg[cs] = segment{sel: realCode >> 4, base: realCode, limit: 0xffff, attr: attrP | attrS | attrCode | attrReadable | attrAccessed}
	c.updateMode()
	copy(realMemory(t, c, realCode, len(code)), code)
	c.rip = 0
	return c
}

func realMemory(t testing.TB, c *CPU, pa uint64, n int) []byte {
	t.Helper()
	host, ok := c.machine.host(pa)
	require.True(t, ok)
	return host.bytes(pa&0xfff, n)
}

func TestPopFlagsChangesWhatThePrivilegeAllows(t *testing.T) {
	const all = flagsArith | flagDF | flagIF | flagIOPL | flagNT | flagAC | flagID
	const user = flagsArith | flagDF | flagNT
	const iopl3 = flagIOPL
	tests := []struct {
		name           string
		v86, vme       bool
		cpl            uint8
		before, popped uint64
		n              uint8
		want           uint64
		vector         int // of the fault, or -1
	}{
		{"CPL 0 changes IF and IOPL", false, false, 0, 0, all, 4, all, -1},
		{"CPL 0 leaves VM, VIF, VIP and clears RF", false, false, 0, flagRF, flagVM | flagVIF | flagVIP | flagRF, 4, 0, -1},
		{"16 bits leave the upper half", false, false, 0, flagAC, flagID, 2, flagAC, -1},
		{"CPL 3 above IOPL keeps IF and IOPL", false, false, 3, 0, all, 4, user | flagAC | flagID, -1},
		{"CPL 3 within IOPL changes IF", false, false, 3, iopl3, flagIF, 4, iopl3 | flagIF, -1},
		{"virtual-8086 mode with IOPL 3 changes IF", true, false, 3, iopl3 | flagVM, flagIF, 2, iopl3 | flagVM | flagIF, -1},
		{"virtual-8086 mode with IOPL 0 faults", true, false, 3, flagVM, 0, 2, 0, vectorGP},
		{"with VME it changes VIF", true, true, 3, flagVM | flagIF, flagCF | flagIF, 2, flagVM | flagIF | flagVIF | flagCF, -1},
		{"with VME 32 bits fault", true, true, 3, flagVM, 0, 4, 0, vectorGP},
		{"with VME TF faults", true, true, 3, flagVM, flagTF, 2, 0, vectorGP},
		{"with VME IF faults if VIP is set", true, true, 3, flagVM | flagVIP, flagIF, 2, 0, vectorGP},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := realCPU(t)
			c.cr0 |= cr0PE
			if test.vme {
				c.cr4 |= cr4VME
			}
			c.cpl = test.cpl
			c.setRFLAGS(test.before, ^uint64(0))
			c.updateMode()
			c.r[rsp] = 0x100
			putLittle(realMemory(t, c, realData+0x100, 4), test.popped)

			ok := c.popFlags(test.n)

			if test.vector >= 0 {
				require.False(t, ok)
				require.EqualValues(t, test.vector, c.fault.vector)
				require.EqualValues(t, 0x100, c.r[rsp])
				require.Equal(t, test.before|2, c.RFLAGS())
				return
			}
			require.True(t, ok)
			require.Equal(t, test.want|2, c.RFLAGS(), "%#x", c.RFLAGS())
			require.EqualValues(t, 0x100+uint64(test.n), c.r[rsp])
		})
	}
}

func TestPushFlagsShowsVIFAsIFToVirtual8086Mode(t *testing.T) {
	c := realCPU(t)
	c.cr0 |= cr0PE
	c.setRFLAGS(flagVM|flagIF, ^uint64(0))
	c.updateMode()
	c.r[rsp] = 0x100

	require.False(t, c.pushFlags(2))
	require.EqualValues(t, vectorGP, c.fault.vector)

	c.cr4 |= cr4VME
	require.True(t, c.pushFlags(2))
	require.EqualValues(t, flagIOPL|2, little(realMemory(t, c, realData+0xfe, 2)))
	require.False(t, c.pushFlags(4))
}

func TestStackPointerWrapsAt64KiB(t *testing.T) {
	c := realCPU(t, 0x50, 0x50) // push ax; push ax
	c.r[rax], c.r[rsp] = 0x1234, 0xabcd0000
	require.True(t, c.one())
	require.EqualValues(t, 0xabcdfffe, c.r[rsp])
	require.EqualValues(t, 0x1234, little(realMemory(t, c, realData+0xfffe, 2)))

	c.r[rsp] = 1
	require.False(t, c.one())
	require.EqualValues(t, vectorSS, c.fault.vector)
	require.EqualValues(t, 1, c.r[rsp])
}

func TestStringIndexWrapsAt64KiB(t *testing.T) {
	c := realCPU(t, 0xf3, 0xa4) // rep movsb
	c.r[rsi], c.r[rdi], c.r[rcx] = 0xffff_fffe, 0x3000, 0xffff_0004
	copy(realMemory(t, c, realData+0xfffe, 2), "ab")
	copy(realMemory(t, c, realData, 2), "cd")
	for c.rip == 0 {
		require.True(t, c.one())
	}
	require.Equal(t, "abcd", string(realMemory(t, c, realData+0x3000, 4)))
	require.EqualValues(t, []uint64{0xffff_0002, 0x3004, 0xffff_0000}, []uint64{c.r[rsi], c.r[rdi], c.r[rcx]})
}

func TestEnterCopiesTheFramesAround(t *testing.T) {
	c := realCPU(t, 0xc8, 0x10, 0x00, 0x03, 0xc9) // enter 16, 3; leave
	c.r[rsp], c.r[rbp] = 0x1000, 0x2000
	putLittle(realMemory(t, c, realData+0x1ffc, 4), 0xbbbb_aaaa)
	require.True(t, c.one())
	require.Equal(t, []uint64{0xffe, 0xfe8}, []uint64{c.r[rbp], c.r[rsp] + 0x10 - 0x10})
	for i, want := range []uint64{0x2000, 0xbbbb, 0xaaaa, 0xffe} {
		require.Equal(t, want, little(realMemory(t, c, realData+0xffe-2*uint64(i), 2)), i)
	}
	require.True(t, c.one())
	require.Equal(t, []uint64{0x2000, 0x1000}, []uint64{c.r[rbp], c.r[rsp]})
}

func TestBranchBeyondTheLimitChangesNothing(t *testing.T) {
	tests := []struct {
		name string
		code []byte
	}{
		{"JMP", []byte{0x66, 0xe9, 0, 0, 1, 0}},
		{"CALL", []byte{0x66, 0xe8, 0, 0, 1, 0}},
		{"JCC", []byte{0x66, 0x0f, 0x84, 0, 0, 1, 0}},
		{"RET", []byte{0x66, 0xc3}},
		{"LOOP", []byte{0x66, 0xe2, 0x80}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := realCPU(t, test.code...)
			c.setArith(flagZF)
			c.r[rsp], c.r[rcx] = 0x100, 5
			putLittle(realMemory(t, c, realData+0x100, 4), 0x10000)
			before := c.r

			require.False(t, c.one())

			before[decode.RIP] = c.r[decode.RIP]
			require.Equal(t, before, c.r)
			require.Equal(t, fault{vector: vectorGP, hasCode: true}, c.fault)
			require.Zero(t, c.rip)
			require.Zero(t, little(realMemory(t, c, realData+0xfc, 4)))
		})
	}
}

func TestNearBranchKeepsTo16Bits(t *testing.T) {
	c := realCPU(t, 0xeb, 0xf0) // jmp -14
	require.True(t, c.one())
	require.EqualValues(t, 0xfff2, c.rip)
}

func TestRepetitionComesBackToItselfUntilItIsDone(t *testing.T) {
	c := flatCPU(t, []byte{0xf3, 0xaa}) // rep stosb
	c.r[rax], c.r[rcx] = 0x5a, 3*4096+10
	c.r[rdi] = flatBuffer + 0x800
	parts := 0
	for c.rip == flatCode {
		require.True(t, c.one())
		require.EqualValues(t, flatBuffer+0x800+3*4096+10, c.r[rdi]+c.r[rcx])
		parts++
	}
	require.Greater(t, parts, 3)
	require.Zero(t, c.r[rcx])
	for at := uint64(flatBuffer + 0x800); at < c.r[rdi]; at++ {
		v, _ := c.read(at, 1, 0)
		require.EqualValues(t, 0x5a, v)
	}
	v, _ := c.read(c.r[rdi], 1, 0)
	require.Zero(t, v)
}

func TestRepetitionStopsAfterEachElementUnderTF(t *testing.T) {
	c := flatCPU(t, []byte{0xf3, 0xa4}) // rep movsb
	c.rflags |= flagTF
	c.r[rsi], c.r[rcx] = flatBuffer+0x100, 100
	require.True(t, c.one())
	require.EqualValues(t, 99, c.r[rcx])
	require.EqualValues(t, flatCode, c.rip)
}

func TestRepeatedStoreIntoCodeIsSeen(t *testing.T) {
	c := flatCPU(t, []byte{0xf3, 0xaa, 0x90, 0xeb, 0xfe}) // rep stosb; nop; jmp to itself
	run := func() {
		c.rip, c.r[rax], c.r[rcx], c.r[rdi] = flatCode, 0xf9, 1, flatCode+2 // STC in NOP's place
		c.setArith(0)
		c.grant(1000)
		c.loop()
		require.EqualValues(t, 1, c.carry())
	}
	run()
	run()
}

func TestDirectStoreOf64BytesWantsAlignment(t *testing.T) {
	c := flatCPU(t, []byte{0x66, 0x0f, 0x38, 0xf8, 0x06}) // movdir64b rax, [rsi]
	for i := range uint64(64) {
		require.True(t, c.write(flatBuffer+3+i, 1, i+1, 0))
	}
	c.r[rsi], c.r[rax] = flatBuffer+3, flatBuffer+0x1020
	require.False(t, c.one())
	require.EqualValues(t, vectorGP, c.fault.vector)

	c.r[rax] = flatBuffer + 0x1040
	require.True(t, c.one())
	for i := range uint64(64) {
		v, _ := c.read(flatBuffer+0x1040+i, 1, 0)
		require.Equal(t, i+1, v)
	}
}

func TestRandomNumbersRepeatWhereTimeIsVirtual(t *testing.T) {
	number := func(virtual bool) uint64 {
		c := flatCPU(t, []byte{0x48, 0x0f, 0xc7, 0xf0}) // rdrand rax
		c.config.Virtual = virtual
		require.True(t, c.one())
		require.EqualValues(t, flagCF, c.arith())
		return c.r[rax]
	}
	require.Equal(t, number(true), number(true))
	require.NotEqual(t, number(false), number(false))
}

func TestLockedInstructionsAreAtomic(t *testing.T) {
	const rounds = 3000
	tests := map[string][]byte{
		"ADD":     {0xf0, 0x48, 0x83, 0x07, 0x01},       // lock add qword [rdi], 1
		"XADD":    {0xf0, 0x48, 0x0f, 0xc1, 0x1f},       // lock xadd [rdi], rbx
		"INC":     {0xf0, 0x48, 0xff, 0x07},             // lock inc qword [rdi]
		"SUB":     {0xf0, 0x48, 0x83, 0x2f, 0xff},       // lock sub qword [rdi], -1
		"ADD16":   {0xf0, 0x66, 0x83, 0x07, 0x01},       // lock add word [rdi], 1
		"CMPXCHG": {0xf0, 0x48, 0x0f, 0xc7, 0x0f},       // lock cmpxchg16b [rdi]
		"ADC":     {0xf0, 0x48, 0x83, 0x17, 0x01, 0x90}, // lock adc qword [rdi], 1
	}
	for name, code := range tests {
		t.Run(name, func(t *testing.T) {
			first := flatCPU(t, code)
			second, err := newTestCPU(first.machine, CPUConfig{ID: 1, CPUs: 2, APIC: idleAPIC{}})
			require.NoError(t, err)
			second.waitSIPI = false
			second.cr0, second.cr3, second.cr4, second.efer = first.cr0, first.cr3, first.cr4, first.efer
			second.seg, second.cpl = first.seg, first.cpl
			second.updateMode()
			var wait sync.WaitGroup
			for _, c := range []*CPU{first, second} {
				wait.Add(1)
				go func() {
					defer wait.Done()
					for done := 0; done < rounds; {
						c.rip, c.r[rdi], c.r[rbx] = flatCode, flatBuffer, 1
						c.setArith(0)
						if name == "CMPXCHG" { // from what the last attempt saw
							c.r[rbx], c.r[rcx] = c.r[rax]+1, c.r[rdx]
						}
						if !c.one() {
							t.Error("fault", c.fault)
							return
						}
						if name == "CMPXCHG" && !c.zero() {
							continue
						}
						done++
					}
				}()
			}
			wait.Wait()
			v, _ := first.read(flatBuffer, 8, 0)
			require.EqualValues(t, 2*rounds, v)
		})
	}
}

func TestIntegerInstructionsAllocateNothing(t *testing.T) {
	codes := map[string][]byte{
		"LOCK ADD":   {0xf0, 0x48, 0x01, 0x07},
		"ADD across": {0x48, 0x01, 0x5f, 0xff},
		"CMPXCHG":    {0x48, 0x0f, 0xb1, 0x1f},
		"CMPXCHG16B": {0x48, 0x0f, 0xc7, 0x0f},
		"XCHG":       {0x48, 0x87, 0x1f},
		"BTS":        {0x48, 0x0f, 0xab, 0x1f},
		"SHLD":       {0x48, 0x0f, 0xa5, 0x1f},
		"RCL":        {0x48, 0xd3, 0x17},
		"PUSH":       {0x53},
		"ENTER":      {0xc8, 8, 0, 5},
		"REP MOVSB":  {0xf3, 0xa4},
		"REP CMPSB":  {0xf3, 0xa6},
		"MOVDIR64B":  {0x66, 0x0f, 0x38, 0xf8, 0x06},
		"CLFLUSH":    {0x0f, 0xae, 0x3f},
		"RDRAND":     {0x48, 0x0f, 0xc7, 0xf0},
		"POPF":       {0x9d},
	}
	for name, code := range codes {
		t.Run(name, func(t *testing.T) {
			c := flatCPU(t, code)
			in := &c.find().insts[0]
			run := func() {
				c.next, c.r[rsp], c.r[rbp] = flatCode+uint64(in.Len), flatStack+0x8000, flatStack+0x9000
				c.r[rdi], c.r[rsi], c.r[rcx], c.r[rax] = flatBuffer+0x1000, flatBuffer+0x2000, 100, flatBuffer+0x40
				c.r[rdx], c.r[rbx] = 0, 3
				if !c.execute(in) {
					t.Error(c.fault)
				}
			}
			run()
			require.Zero(t, testing.AllocsPerRun(10, run))
		})
	}
}

func FuzzIntegerInstructionsKeepToTheMachine(f *testing.F) {
	f.Add([]byte{0xf3, 0xa4, 0x0f, 0xa5, 0xc2, 0xc8, 1, 0, 31}, uint8(0), uint64(1))
	f.Add([]byte{0xf0, 0x0f, 0xc7, 0x0f, 0x62, 0x00, 0x61, 0x9d}, uint8(1), uint64(2))
	f.Add([]byte{0x48, 0x0f, 0xab, 0x07, 0xd4, 0x00, 0xff, 0x17}, uint8(2), uint64(3))
	f.Fuzz(func(t *testing.T, code []byte, mode uint8, seed uint64) {
		code = code[:min(len(code), 64)]
		c := realCPU(t, code...)
		switch mode % 3 {
		case 1:
			for i := range c.seg {
				c.seg[i].attr |= attrDB
				c.seg[i].limit = flatRAM - 1
			}
			c.cr0 |= cr0PE
		case 2:
			c.cr0, c.efer = cr0PE|cr0PG, eferLME|eferLMA
			c.seg[cs].attr |= attrL
			c.rip = realCode
		}
		c.updateMode()
		r := rand.New(rand.NewPCG(seed, 0))
		for i := range c.r[:16] {
			c.r[i] = r.Uint64() >> r.IntN(64)
		}
		for range 200 {
			in := c.find()
			if in == nil {
				return
			}
			if g := in.insts[0].Op.Group(); g < decode.GroupInteger || g > decode.GroupFlow {
				return
			}
			before := c.r
			if !c.one() {
				if g := in.insts[0].Op.Group(); g != decode.GroupString {
					before[decode.RIP] = c.r[decode.RIP]
					require.Equal(t, before, c.r, "a fault leaves the registers")
				}
				return
			}
			require.Zero(t, c.r[decode.NoReg])
			require.Zero(t, c.rflags&flagsArith)
			require.True(t, c.mode != decode.Mode64 || c.canonical(c.rip))
		}
	})
}
