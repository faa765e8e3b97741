package soft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu/soft/decode"
)

func TestInterruptInLongModePushesAnAlignedFrame(t *testing.T) {
	for _, x := range []struct {
		about      string
		code, data uint16
		ist        uint64
		sp         uint64 // before
		at         uint64 // SS's place on the stack, plus 8
		newSS      uint16
	}{
		{"kernel", selCode64, selData, 0, 0xfff5, 0xfff0, selData},
		{"user", selUser64 | 3, selUserData | 3, 0, stack3, stack0, 0},
		{"compatibility", selUser32 | 3, selUserData | 3, 0, stack3, stack0, 0},
		{"kernel, IST", selCode64, selData, 1, 0xfff5, stackIST, selData},
		{"user, IST", selUser64 | 3, selUserData | 3, 1, stack3, stackIST, 0},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := longRig(t)
			r.put64(atIDT+0x40*16, gateOf(selCode64, handler(0x40), typeInterrupt, 0)|x.ist<<32)
			r.enter(x.code, x.data)
			c := r.c
			c.r[rsp] = x.sp
			c.setRFLAGS(flagIF|flagCF|flagAC|flagDF, ^uint64(0))
			c.seg[cs].sel = x.code
			r.apic.pending = []uint8{0x40}
			c.lookAPIC()
			r.steps(1)
			require.Equal(t, 0x40, r.vector())
			require.Equal(t, x.at-40, c.r[rsp])
			require.EqualValues(t, atCode, r.top(0))
			require.EqualValues(t, x.code, r.top(1))
			require.EqualValues(t, flagIF|flagCF|flagAC|flagDF|2, r.top(2))
			require.Equal(t, x.sp, r.top(3))
			require.EqualValues(t, x.data, r.top(4))
			require.EqualValues(t, flagCF|flagAC|flagDF|2, c.RFLAGS())
			require.Equal(t, x.newSS, c.seg[ss].sel)
			require.EqualValues(t, selCode64, c.seg[cs].sel)
			require.Zero(t, c.cpl)
			require.Equal(t, decode.Mode64, c.mode)
		})
	}
}

func TestTrapGateKeepsIF(t *testing.T) {
	r := longRig(t)
	r.put64(atIDT+0x40*16, gateOf(selCode64, handler(0x40), typeTrap, 0))
	r.c.rflags |= flagIF
	r.code(0xcd, 0x40).steps(1)
	require.Equal(t, 0x40, r.vector())
	require.NotZero(t, r.c.rflags&flagIF)
	require.EqualValues(t, atCode+2, r.top(0))
}

func TestGatesThatCannotBeUsed(t *testing.T) {
	for _, x := range []struct {
		about  string
		gate   uint64
		upper  uint64
		user   bool
		vector int
		code   uint64
	}{
		{"not present", gateOf(selCode64, 0x9999, typeInterrupt, 3) &^ (1 << 47), 0, false, vectorNP, 0x40<<3 | 2},
		{"a call gate", gateOf(selCode64, 0x9999, typeCall, 3), 0, false, vectorGP, 0x40<<3 | 2},
		{"a task gate", gateOf(selTSS, 0, typeTask, 3), 0, false, vectorGP, 0x40<<3 | 2},
		{"a 16-bit gate", gateOf(selCode64, 0x9999, typeInterrupt16, 3), 0, false, vectorGP, 0x40<<3 | 2},
		{"DPL 0 from user", gateOf(selCode64, 0x9999, typeInterrupt, 0), 0, true, vectorGP, 0x40<<3 | 2},
		{"null selector", gateOf(0, 0x9999, typeInterrupt, 3), 0, false, vectorGP, 0},
		{"beyond the GDT", gateOf(selEnd, 0x9999, typeInterrupt, 3), 0, false, vectorGP, selEnd},
		{"data segment", gateOf(selData, 0x9999, typeInterrupt, 3), 0, false, vectorGP, selData},
		{"32-bit code", gateOf(selCode32, 0x9999, typeInterrupt, 3), 0, false, vectorGP, selCode32},
		{"L and D", gateOf(selBoth, 0x9999, typeInterrupt, 3), 0, false, vectorGP, selBoth},
		{"outer code", gateOf(selUser64, 0x9999, typeInterrupt, 3), 0, false, vectorGP, selUser64},
		{"not canonical", gateOf(selCode64, 0x9999, typeInterrupt, 3), 0x8000, false, vectorGP, 0},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := longRig(t)
			if x.user {
				r.enter(selUser64|3, selUserData|3)
			}
			r.put64(atIDT+0x40*16, x.gate)
			r.put64(atIDT+0x40*16+8, x.upper)
			r.code(0xcd, 0x40).steps(1)
			r.faults(x.vector, x.code, "INT")
			require.EqualValues(t, atCode, r.top(1), "restarts at INT")
			require.NotZero(t, r.top(3)&flagRF)

			// From outside the same has EXT set, and no DPL is judged.
			r = longRig(t)
			r.put64(atIDT+0x40*16, x.gate)
			r.put64(atIDT+0x40*16+8, x.upper)
			r.c.rflags |= flagIF
			r.apic.pending = []uint8{0x40}
			r.c.lookAPIC()
			r.steps(1)
			if x.user {
				require.EqualValues(t, 0x9999, r.c.rip)
			} else {
				r.faults(x.vector, x.code|1, "external")
			}
		})
	}
	t.Run("beyond the IDT", func(t *testing.T) {
		r := longRig(t)
		r.c.idtr.limit = 0x40*16 + 14
		r.code(0xcd, 0x40).steps(1)
		r.faults(vectorGP, 0x40<<3|2, "INT")
	})
}

func TestFailedDeliveryLeavesTheStackPointer(t *testing.T) {
	r := longRig(t)
	r.enter(selUser64|3, selUserData|3)
	r.put64(atTSS+4, 0x8000_0000_0000) // RSP0 not canonical
	r.put64(atIDT+vectorSS*16, gateOf(selCode64, handler(vectorSS), typeInterrupt, 0)|1<<32)
	r.code(0xcd, 0x40).steps(1)
	r.faults(vectorSS, 0, "RSP0")
	require.EqualValues(t, stack3, r.top(4))
	require.EqualValues(t, selUserData|3, r.top(5))
	require.EqualValues(t, selUser64|3, r.top(2))
}

func TestDoubleFaults(t *testing.T) {
	gone := uint64(0) // a gate that is not there
	for _, x := range []struct {
		about   string
		set     func(r *sysRig)
		code    []byte
		vector  int
		ends    bool // triple fault
		errcode uint64
	}{
		{"contributory while contributory", func(r *sysRig) { r.put64(atIDT+vectorGP*16, gone) }, []byte{0x0f, 0x32}, vectorDF, false, 0},
		{"contributory while benign", func(r *sysRig) { r.put64(atIDT+vectorUD*16, gone) }, []byte{0x0f, 0x0b}, vectorGP, false, vectorUD<<3 | 3},
		{"contributory while INT", func(r *sysRig) { r.put64(atIDT+0x40*16, gone) }, []byte{0xcd, 0x40}, vectorGP, false, 0x40<<3 | 2},
		{"contributory while page fault", func(r *sysRig) { r.put64(atIDT+vectorPF*16, gone) }, []byte{0x8b, 0x04, 0x25, 0, 0, 0, 0x60}, vectorDF, false, 0},
		{"page fault while page fault", func(r *sysRig) { r.put64(atTSS+36, 0x60000000); r.ist(vectorPF) }, []byte{0x8b, 0x04, 0x25, 0, 0, 0, 0x60}, vectorDF, false, 0},
		{"page fault while contributory", func(r *sysRig) { r.put64(atTSS+36, 0x60000000); r.ist(vectorGP) }, []byte{0x0f, 0x32}, vectorPF, false, pfWrite},
		{"triple", func(r *sysRig) { r.c.idtr.limit = 0 }, []byte{0x0f, 0x0b}, 0, true, 0},
		{"no #DF handler", func(r *sysRig) { r.put64(atIDT+vectorGP*16, gone); r.put64(atIDT+vectorDF*16, gone) }, []byte{0x0f, 0x32}, 0, true, 0},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := longRig(t)
			r.c.r[rcx] = 0x7777 // no such MSR
			x.set(r)
			r.code(x.code...)
			_ = r.step()
			require.Equal(t, x.ends, r.c.shutdown)
			if !x.ends {
				r.faults(x.vector, x.errcode, "")
				require.EqualValues(t, atCode, r.top(1))
			}
		})
	}
}

// ist has a vector use the first stack of the interrupt stack table.
func (r *sysRig) ist(v int) {
	r.put64(atIDT+v*16, gateOf(selCode64, handler(v), typeInterrupt, 0)|1<<32)
}

func TestTripleFaultEndsRun(t *testing.T) {
	r := longRig(t)
	r.c.idtr.limit = 0
	r.code(0x0f, 0x0b)
	err := r.c.Slice(10)
	require.ErrorContains(t, err, "triple fault")
}

func TestPageFaultTellsAddressAndAccess(t *testing.T) {
	r := longRig(t)
	c := r.c
	r.put64(atPT+8*0x50, 0x50000|5)       // read-only
	r.put64(atPT+8*0x51, 0x51000|3)       // supervisor
	r.put64(atPT+8*0x52, 0x52000|7|pteNX) // no code
	r.put64(atPT+8*0x53, 0)               // absent
	r.put64(atPT+8*0x54, 0x54000|7|1<<51) // reserved
	load, store, jump := []byte{0x8b, 0x08}, []byte{0x89, 0x08}, []byte{0xff, 0xe0}
	for _, x := range []struct {
		about string
		user  bool
		cr0   uint64 // bits cleared
		cr4   uint64 // bits set
		ac    bool
		page  uint64
		code  []byte
		err   uint64
		fault bool
	}{
		{"read absent", false, 0, 0, false, 0x53, load, 0, true},
		{"write absent", false, 0, 0, false, 0x53, store, pfWrite, true},
		{"user read absent", true, 0, 0, false, 0x53, load, pfUser, true},
		{"write read-only with WP", false, 0, 0, false, 0x50, store, pfPresent | pfWrite, true},
		{"write read-only without WP", false, cr0WP, 0, false, 0x50, store, 0, false},
		{"user writes read-only", true, cr0WP, 0, false, 0x50, store, pfPresent | pfWrite | pfUser, true},
		{"user reads supervisor", true, 0, 0, false, 0x51, load, pfPresent | pfUser, true},
		{"fetch from NX", false, 0, 0, false, 0x52, jump, pfPresent | pfFetch, true},
		{"user fetches from NX", true, 0, 0, false, 0x52, jump, pfPresent | pfFetch | pfUser, true},
		{"reserved bit", false, 0, 0, false, 0x54, load, pfPresent | pfReserved, true},
		{"SMAP", false, 0, cr4SMAP, false, 0x55, load, pfPresent, true},
		{"SMAP write", false, 0, cr4SMAP, false, 0x55, store, pfPresent | pfWrite, true},
		{"SMAP with AC", false, 0, cr4SMAP, true, 0x55, load, 0, false},
		{"user under SMAP", true, 0, cr4SMAP, false, 0x55, load, 0, false},
		{"SMEP", false, 0, cr4SMEP, false, 0x55, jump, pfPresent | pfFetch, true},
		{"fetch without SMEP", false, 0, 0, false, 0x55, jump, 0, false},
	} {
		t.Run(x.about, func(t *testing.T) {
			r.enter(selCode64, selData)
			for i := range 0x4f { // all else the supervisor's, but for the user's runs
				u := uint64(3)
				if x.user {
					u = 7
				}
				r.put64(atPT+8*i, uint64(i)<<12|u)
			}
			if x.user {
				r.enter(selUser64|3, selUserData|3)
			}
			c.cr0, c.cr4 = c.cr0|cr0WP, cr4PAE|x.cr4
			c.cr0 &^= x.cr0
			c.setRFLAGS(0, flagAC)
			if x.ac {
				c.setRFLAGS(flagAC, flagAC)
			}
			c.flushTLB(true)
			c.updateMode()
			c.r[rax] = x.page<<12 | 8
			c.cr2 = 0
			r.ram[x.page<<12|8] = 0x90
			r.code(x.code...)
			n := 1
			if x.code[0] == 0xff {
				n = 2
			}
			if x.cr4&cr4SMAP != 0 && x.user {
				// The handler's own pages are the user's: not reached.
				n = 1
			}
			r.steps(n)
			if !x.fault {
				require.Equal(t, -1, r.vector())
				return
			}
			r.faults(vectorPF, x.err, "")
			require.Equal(t, x.page<<12|8, c.cr2)
		})
	}
}

func TestAccessedAndDirtyBits(t *testing.T) {
	r := longRig(t)
	r.c.r[rax] = 0x50000
	at := uint64(atPT + 8*0x50)
	r.code(0x8b, 0x08, 0x89, 0x08).steps(1)
	require.EqualValues(t, pteA, r.get64(at)&(pteA|pteD))
	require.NotZero(t, r.get64(atPD)&pteA)
	require.NotZero(t, r.get64(atPML4)&pteA)
	r.steps(1)
	require.EqualValues(t, pteA|pteD, r.get64(at)&(pteA|pteD))
	require.Zero(t, r.get64(atPD)&pteD)
}

func TestRealModeInterruptAndReturn(t *testing.T) {
	r := realRig(t)
	c := r.c
	c.seg[cs].sel, c.seg[cs].base = 0x100, 0x1000
	c.updateMode()
	c.rip = 0x7000
	c.setRFLAGS(flagIF|flagCF, ^uint64(0))
	r.code(0xcd, 0x21).steps(1)
	require.Equal(t, 0x21, r.vector())
	require.EqualValues(t, 0x7002, r.top(0))
	require.EqualValues(t, 0x100, r.top(1))
	require.EqualValues(t, flagIF|flagCF|2, r.top(2))
	require.Zero(t, c.rflags&flagIF)
	require.EqualValues(t, 0x7000-6, c.r[rsp])
	r.code(0xcf).steps(1)
	require.EqualValues(t, 0x7002, c.rip)
	require.EqualValues(t, 0x1000, c.bases[cs])
	require.EqualValues(t, flagIF|flagCF|2, c.RFLAGS())
	require.EqualValues(t, 0x7000, c.r[rsp])
}

func TestRealModeExceptionHasNoErrorCode(t *testing.T) {
	r := realRig(t)
	r.c.r[rbx] = 0xffff
	r.code(0x8b, 0x07).steps(1) // mov ax,[bx] across the limit
	require.Equal(t, vectorGP, r.vector())
	require.EqualValues(t, atCode, r.top(0))
	require.EqualValues(t, 0x7000-6, r.c.r[rsp])
}

func TestProtectedInterruptThroughTheTSS(t *testing.T) {
	r := protectedRig(t)
	r.enter(selUser32|3, selUserData|3)
	r.code(0xcd, 0x40).steps(1)
	require.Equal(t, 0x40, r.vector())
	require.EqualValues(t, stack0-20, r.c.r[rsp])
	require.EqualValues(t, selData, r.c.seg[ss].sel)
	for i, v := range []uint64{atCode + 2, selUser32 | 3, 2, stack3, selUserData | 3} {
		require.Equal(t, v, r.top(i), i)
	}
	r.code(0xcf).steps(1)
	require.EqualValues(t, atCode+2, r.c.rip)
	require.EqualValues(t, 3, r.c.cpl)
	require.EqualValues(t, stack3, r.c.r[rsp])
	require.True(t, r.c.seg[ds].null == false)
}

func TestProtectedInterruptWithABadStack(t *testing.T) {
	for _, x := range []struct {
		about  string
		ss     uint32
		vector int
		code   uint64
	}{
		{"null", 0, vectorTS, 0},
		{"beyond the GDT", selEnd, vectorTS, selEnd},
		{"wrong RPL", selData | 1, vectorTS, selData},
		{"wrong DPL", selUserData, vectorTS, selUserData},
		{"read-only", selReadOnly, vectorTS, selReadOnly},
		{"absent", selAbsent, vectorSS, selAbsent},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := protectedRig(t)
			// Those two go to a task of their own, with a stack that is good.
			for _, v := range []int{vectorTS, vectorSS} {
				r.put64(atIDT+v*8, gateOf(selTSS2, 0, typeTask, 0))
			}
			r.newTask(selCode32, selData)
			r.put32(atTSS+8, x.ss)
			r.enter(selUser32|3, selUserData|3)
			r.code(0xcd, 0x40).steps(1)
			require.EqualValues(t, 0x9990, r.c.rip)
			require.Equal(t, x.code, r.top(0))
			require.EqualValues(t, stack3, r.get32(atTSS+56))
			require.EqualValues(t, atCode, r.get32(atTSS+tssEIP))
		})
	}
}

// newTask fills the second TSS: a task that starts at 0x9990.
func (r *sysRig) newTask(code, data uint16) {
	r.put32(atTSS2+tssEIP, 0x9990)
	r.put32(atTSS2+tssEIP+4, 2)
	for i := range 8 {
		r.put32(atTSS2+40+4*i, uint32(0x1000+i))
	}
	r.put32(atTSS2+56, stack1)
	for i, sel := range []uint16{data, code, data, data, 0, 0} {
		r.put32(atTSS2+tssES+4*i, uint32(sel))
	}
	r.put32(atTSS2+tssLDT, 0)
	r.put16(atTSS2+tssDebug, 0)
}
