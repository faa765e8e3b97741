package soft

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/vcpu"
)

// debugProgram is a loop of operations on registers, memory and the stack, with
// branches, at atCode; it ends at debugEnd.
var debugProgram = []byte{
	0x31, 0xc0, //                         00 xor eax, eax
	0xb9, 0x05, 0x00, 0x00, 0x00, //       02 mov ecx, 5
	0xbf, 0x00, 0xa0, 0x00, 0x00, //       07 mov edi, atData
	0x48, 0xff, 0xc0, //                   0c inc rax
	0x48, 0x89, 0x07, //                   0f mov [rdi], rax
	0x48, 0x03, 0x1f, //                   12 add rbx, [rdi]
	0x50,       //                         15 push rax
	0x5a,       //                         16 pop rdx
	0xa8, 0x01, //                         17 test al, 1
	0x74, 0x03, //                         19 jz 1e
	0x48, 0xff, 0xc6, //                   1b inc rsi
	0x48, 0xff, 0x47, 0x08, //             1e inc qword [rdi+8]
	0xff, 0xc9, //                         22 dec ecx
	0x75, 0xe6, //                         24 jnz 0c
	0xeb, 0xfe, //                         26 jmp 26
}

const debugEnd = atCode + 0x26

// debugStarts are where its instructions begin.
var debugStarts = []uint64{0, 2, 7, 0xc, 0xf, 0x12, 0x15, 0x16, 0x17, 0x19, 0x1b, 0x1e, 0x22, 0x24, 0x26}

// trap runs the processor until it stops for the debugger.
func (r *sysRig) trap() *vcpu.Trap {
	r.t.Helper()
	for range 100 {
		err := r.c.Slice(1000)
		if err == nil {
			continue
		}
		var t *vcpu.Trap
		require.True(r.t, errors.As(err, &t), "%v", err)
		return t
	}
	require.Fail(r.t, "the processor does not stop")
	return nil
}

func (r *sysRig) debug(d vcpu.Debug) {
	r.t.Helper()
	require.NoError(r.t, r.c.SetDebug(&d))
}

// path is every RIP that the program goes through, found by single steps.
func path(t testing.TB) (rips []uint64, end vcpu.Registers) {
	r := longRig(t).code(debugProgram...)
	for r.c.rip != debugEnd {
		rips = append(rips, r.c.rip)
		r.debug(vcpu.Debug{Step: true})
		got := r.trap()
		require.Equal(t, vcpu.Trap{Kind: vcpu.TrapStep, Addr: r.c.rip}, *got)
	}
	require.NoError(t, r.c.Registers(&end))
	return append(rips, debugEnd), end
}

func TestBreakpointsAreMetInOrderAndChangeNothing(t *testing.T) {
	rips, end := path(t)
	require.Len(t, rips, 3+5*11-2+1)
	rapid.Check(t, func(rt *rapid.T) {
		set := rapid.SliceOfNDistinct(rapid.SampledFrom(debugStarts[:len(debugStarts)-1]), 0, 6, func(v uint64) uint64 { return v }).Draw(rt, "offsets")
		points := []uint64{debugEnd}
		for _, off := range set {
			points = append(points, atCode+off)
		}
		r := longRig(t).code(debugProgram...)
		d := vcpu.Debug{Breaks: points}
		for _, rip := range rips {
			if !contains(points, rip) {
				continue
			}
			r.debug(d)
			got := r.trap()
			if *got != (vcpu.Trap{Kind: vcpu.TrapBreak, Addr: rip}) || r.c.rip != rip {
				rt.Fatalf("stopped at %#x (%v), want %#x", r.c.rip, got, rip)
			}
			d.Resume, d.ResumeAt = true, rip
		}
		var now vcpu.Registers
		require.NoError(rt, r.c.Registers(&now))
		if now != end {
			rt.Fatalf("registers %+v, want %+v", now, end)
		}
		if r.c.Retired() != uint64(len(rips)-1) {
			rt.Fatalf("%d instructions retired, want %d", r.c.Retired(), len(rips)-1)
		}
	})
}

func contains(all []uint64, v uint64) bool {
	for _, x := range all {
		if x == v {
			return true
		}
	}
	return false
}

func TestABreakpointThatIsNotResumedIsMetAgain(t *testing.T) {
	r := longRig(t).code(debugProgram...)
	r.debug(vcpu.Debug{Breaks: []uint64{atCode + 2}})
	for range 3 {
		require.Equal(t, uint64(atCode+2), r.trap().Addr)
	}
}

func TestABreakpointSetAfterTheCodeRanIsMet(t *testing.T) {
	r := longRig(t).code(debugProgram...)
	require.NoError(t, r.c.Slice(5000))
	require.EqualValues(t, debugEnd, r.c.rip)
	r.debug(vcpu.Debug{Breaks: []uint64{debugEnd}})
	require.Equal(t, uint64(debugEnd), r.trap().Addr)
	require.NoError(t, r.c.SetDebug(nil))
	require.NoError(t, r.c.Slice(5000))
}

func TestABreakpointIsAtALinearAddressNotAPhysicalOne(t *testing.T) {
	r := longRig(t).code(debugProgram...)
	const alias = 0x50000
	r.put64(atPT+8*(alias>>12), atCode|7)
	r.debug(vcpu.Debug{Breaks: []uint64{alias + 0xf, debugEnd}})
	require.Equal(t, uint64(debugEnd), r.trap().Addr, "the same code at another address does not stop")
	r.c.rip = alias
	r.debug(vcpu.Debug{Breaks: []uint64{alias + 0xf, debugEnd}})
	require.Equal(t, uint64(alias+0xf), r.trap().Addr)
}

func TestABreakpointInASegmentWithABaseIsAtTheLinearAddress(t *testing.T) {
	r := realRig(t)
	r.c.seg[cs].base, r.c.seg[cs].sel = 0x8000, 0x800
	r.c.rip = 0
	r.c.updateMode()
	r.code(0x90, 0x90, 0xeb, 0xfe)
	r.debug(vcpu.Debug{Breaks: []uint64{0x8002}})
	require.Equal(t, uint64(0x8002), r.trap().Addr)
	require.EqualValues(t, 2, r.c.rip)
}

func TestABreakpointStopsBeforeAnInstructionThatFaultsOrCrossesAPage(t *testing.T) {
	r := longRig(t)
	r.c.rip = 0x8ffd
	r.code(0x90, 0xb8, 1, 2, 3, 4, 0xf1) // nop; mov eax, imm32 over the page's end
	r.debug(vcpu.Debug{Breaks: []uint64{0x8ffe}})
	require.Equal(t, uint64(0x8ffe), r.trap().Addr)

	r = longRig(t).code(0x90, 0x0f, 0x0b) // nop; ud2
	r.debug(vcpu.Debug{Breaks: []uint64{atCode + 1}})
	require.Equal(t, uint64(atCode+1), r.trap().Addr)
	r.debug(vcpu.Debug{Breaks: []uint64{handler(6)}, Resume: true, ResumeAt: atCode + 1})
	require.Equal(t, handler(6), r.trap().Addr)
}

func TestABreakpointInTheShadowOfSTIKeepsTheShadow(t *testing.T) {
	r := longRig(t).code(0xfb, 0x90, 0x90) // sti; nop; nop
	r.apic.pending = []uint8{0x40}
	r.c.Interrupt()
	r.debug(vcpu.Debug{Breaks: []uint64{atCode + 1, handler(0x40)}})
	require.Equal(t, uint64(atCode+1), r.trap().Addr)
	r.debug(vcpu.Debug{Breaks: []uint64{handler(0x40)}, Resume: true, ResumeAt: atCode + 1})
	require.Equal(t, handler(0x40), r.trap().Addr)
	require.EqualValues(t, atCode+2, r.top(0), "the instruction behind STI came first")
}

func TestAStepTakesNoInterruptAndFaultsEnterTheirHandler(t *testing.T) {
	r := longRig(t).code(0x90, 0x90, 0x0f, 0x0b)
	r.c.rflags |= flagIF
	r.apic.pending = []uint8{0x40}
	r.c.Interrupt()
	for _, want := range []uint64{atCode + 1, atCode + 2, handler(6)} {
		r.debug(vcpu.Debug{Step: true})
		require.Equal(t, vcpu.TrapStep, r.trap().Kind)
		require.Equal(t, want, r.c.rip)
	}
	r.c.rip, r.c.rflags = atCode, flagIF
	r.debug(vcpu.Debug{Breaks: []uint64{handler(0x40)}})
	require.Equal(t, handler(0x40), r.trap().Addr)
}

func TestAStepOfAHaltedProcessorEndsWhenAnInterruptComes(t *testing.T) {
	r := longRig(t).code(0xf4, 0x90) // hlt
	r.c.rflags |= flagIF
	r.debug(vcpu.Debug{Step: true})
	require.EqualValues(t, atCode+1, r.trap().Addr)
	require.True(t, r.c.halted)
	r.apic.pending = []uint8{0x40}
	r.c.Interrupt()
	r.code(0x90)
	copy(r.ram[handler(0x40):], []byte{0x90})
	r.debug(vcpu.Debug{Step: true})
	require.Equal(t, handler(0x40)+1, r.trap().Addr)
}

func TestWatchpointsStopBehindTheAccess(t *testing.T) {
	const write, read = 1, 2
	for _, c := range []struct {
		name string
		code []byte
		what int
	}{
		{"mov [rdi], rax", []byte{0x48, 0x89, 0x07}, write},
		{"mov rbx, [rdi]", []byte{0x48, 0x8b, 0x1f}, read},
		{"inc qword [rdi]", []byte{0x48, 0xff, 0x07}, write},
		{"mov [rdi-7], rax", []byte{0x48, 0x89, 0x47, 0xf9}, write},
		{"mov [rdi+3], al", []byte{0x88, 0x47, 0x03}, write},
		{"mov [rdi+4], al", []byte{0x88, 0x47, 0x04}, 0},
		{"mov [rdi-8], rax", []byte{0x48, 0x89, 0x47, 0xf8}, 0},
		{"lea rax, [rdi]", []byte{0x48, 0x8d, 0x07}, 0},
		{"stosb", []byte{0xaa}, write},
		{"cmp [rdi], eax", []byte{0x39, 0x07}, read},
		{"movups [rdi], xmm0", []byte{0x0f, 0x11, 0x07}, write},
	} {
		for _, w := range []vcpu.Watch{{Write: true}, {Read: true}, {Read: true, Write: true}} {
			r := longRig(t)
			r.c.cr4 |= cr4OSFXSR
			r.code(append(append([]byte{0x90}, c.code...), 0x90, 0x90, 0xeb, 0xfe)...)
			r.c.r[rdi] = atData + 8
			w.Addr, w.Size = atData+8, 4
			end := atCode + uint64(len(c.code)) + 3
			r.debug(vcpu.Debug{Watches: []vcpu.Watch{w}, Breaks: []uint64{end}})
			got := r.trap()
			if w.Write && c.what == write || w.Read && c.what == read {
				require.Equal(t, vcpu.TrapWatch, got.Kind, c.name)
				require.Equal(t, w, got.Watch, c.name)
				require.GreaterOrEqual(t, got.Addr, w.Addr, c.name)
				require.Equal(t, atCode+1+uint64(len(c.code)), r.c.rip, "%s: behind the instruction", c.name)
				continue
			}
			if c.what == write && w.Read {
				continue // a read-modify-write may count as a read
			}
			require.Equal(t, vcpu.TrapBreak, got.Kind, "%s %+v", c.name, w)
		}
	}
}

func TestAnAccessThatFaultsIsNotWatched(t *testing.T) {
	r := longRig(t).code(0x48, 0x89, 0x07)
	r.put64(atPT+8*(atData>>12), 0)
	r.c.r[rdi] = atData
	r.debug(vcpu.Debug{Watches: []vcpu.Watch{{Addr: atData, Size: 8, Write: true}}, Breaks: []uint64{handler(14)}})
	require.Equal(t, vcpu.Trap{Kind: vcpu.TrapBreak, Addr: handler(14)}, *r.trap())
}

func TestADebuggerReadsWhatIsMappedAndLeavesNoTrace(t *testing.T) {
	r := longRig(t)
	r.put64(atPT+8*0x60, atData|1)                // read-only, supervisor
	r.put64(atPT+8*0x61, (atData+0x1000)|1<<63|1) // and no code
	r.put64(atPT+8*0x62, 0)
	copy(r.ram[atData+0xff8:], "over the page")
	before := append([]byte(nil), r.ram...)
	p := make([]byte, 13)
	require.Equal(t, 13, r.c.ReadLinear(0x60ff8, p))
	require.Equal(t, "over the page", string(p))
	require.Equal(t, 8, r.c.ReadLinear(0x61ff8, p), "as far as it is mapped")
	require.Zero(t, r.c.ReadLinear(1<<47, p), "not canonical")
	require.Zero(t, r.c.ReadLinear(0xfee00000, p), "not RAM")
	require.Equal(t, before, r.ram, "no accessed bits")
	require.Zero(t, r.c.fault)

	require.Equal(t, 4, r.c.WriteLinear(0x60ffe, []byte("ABCD")))
	require.Equal(t, "over tABCDage", string(r.ram[atData+0xff8:][:13]))
}

func TestCodeThatADebuggerWroteIsExecuted(t *testing.T) {
	r := longRig(t).code(debugProgram...)
	require.NoError(t, r.c.Slice(5000))
	require.Equal(t, 2, r.c.WriteLinear(debugEnd, []byte{0x0f, 0x0b}))
	r.debug(vcpu.Debug{Breaks: []uint64{handler(6)}})
	require.Equal(t, handler(6), r.trap().Addr)
}

func TestRegistersAreSetAsTheyWereRead(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := longRig(t)
		var now, want vcpu.Registers
		require.NoError(rt, r.c.Registers(&now))
		want = now
		word := func(name string) uint64 { return rapid.Uint64().Draw(rt, name) }
		for i := range want.General {
			want.General[i] = word("general")
		}
		want.RIP = uint64(int64(word("rip")<<16) >> 16)
		want.RFLAGS = word("rflags")&0xfd5 | 2
		want.FSBase = uint64(int64(word("fs")<<16) >> 16)
		for i := range want.XMM {
			copy(want.XMM[i][:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "xmm"))
		}
		for i := range want.X87.ST {
			copy(want.X87.ST[i][:], rapid.SliceOfN(rapid.Byte(), 10, 10).Draw(rt, "st"))
		}
		want.X87.Status = uint16(rapid.IntRange(0, 7).Draw(rt, "top")) << 11
		want.X87.Tag = rapid.Uint8().Draw(rt, "tag")
		want.MXCSR = 0x1f80
		require.NoError(rt, r.c.SetRegisters(&want))
		var got vcpu.Registers
		require.NoError(rt, r.c.Registers(&got))
		require.Equal(rt, want, got)
	})
}

func TestRegistersThatCannotBeSetAreRefused(t *testing.T) {
	for name, change := range map[string]func(r *vcpu.Registers){
		"selector":      func(r *vcpu.Registers) { r.Selectors[1]++ },
		"CR0":           func(r *vcpu.Registers) { r.CR0 = 0 },
		"CR3":           func(r *vcpu.Registers) { r.CR3++ },
		"EFER":          func(r *vcpu.Registers) { r.EFER = 0 },
		"RIP":           func(r *vcpu.Registers) { r.RIP = 1 << 60 },
		"base of FS":    func(r *vcpu.Registers) { r.FSBase = 1 << 60 },
		"KERNEL_GSBASE": func(r *vcpu.Registers) { r.KernelGSBase = 1 << 60 },
	} {
		r := longRig(t)
		var now, want vcpu.Registers
		require.NoError(t, r.c.Registers(&now))
		want = now
		want.General[0] = 77
		change(&want)
		require.Error(t, r.c.SetRegisters(&want), name)
		require.NoError(t, r.c.Registers(&want))
		require.Equal(t, now, want, "%s: nothing was set", name)
	}
}

// timerAPIC has an interrupt at its deadline.
type timerAPIC struct {
	sysAPIC
	deadline uint64
}

func (a *timerAPIC) Deadline() uint64 { return a.deadline }
func (a *timerAPIC) Tick(uint64) {
	a.deadline = ^uint64(0)
	a.pending = []uint8{0x40}
}

func TestATimerWakesAProcessorWhoseInstructionsAreWatched(t *testing.T) {
	r := longRig(t).code(0xf4)
	apic := &timerAPIC{deadline: r.clock.now + r.clock.hz/1000}
	r.c.apic = apic
	r.c.rflags |= flagIF
	r.c.dr7 = dr7Fixed | 1 // an execution breakpoint at 0: single steps
	r.c.updateStep()
	r.debug(vcpu.Debug{Breaks: []uint64{handler(0x40)}})
	require.Equal(t, handler(0x40), r.trap().Addr)
}
