package soft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu/soft/decode"
)

func TestDebugRegisters(t *testing.T) {
	for _, x := range []struct {
		about  string
		set    func(c *CPU)
		code   []byte
		value  uint64
		vector int
		want   uint64 // read back
	}{
		{"DR0", nil, []byte{0x0f, 0x23, 0xc0, 0x0f, 0x21, 0xc0}, 0x123456789a, -1, 0x123456789a},
		{"DR6", nil, []byte{0x0f, 0x23, 0xf0, 0x0f, 0x21, 0xf0}, 0, -1, dr6Fixed},
		{"DR7", nil, []byte{0x0f, 0x23, 0xf8, 0x0f, 0x21, 0xf8}, 0xd3ff0000, -1, 0xd3ff0400},
		{"DR7 upper half", nil, []byte{0x0f, 0x23, 0xf8}, 1 << 32, vectorGP, 0},
		{"DR6 upper half", nil, []byte{0x0f, 0x23, 0xf0}, 1 << 32, vectorGP, 0},
		{"DR4 is DR6", nil, []byte{0x0f, 0x23, 0xe0, 0x0f, 0x21, 0xf0}, 0xf, -1, dr6Fixed | 0xf},
		{"DR5 is DR7", nil, []byte{0x0f, 0x23, 0xe8, 0x0f, 0x21, 0xf8}, 0, -1, 0x400},
		{"DR4 with DE", func(c *CPU) { c.cr4 |= cr4DE }, []byte{0x0f, 0x23, 0xe0}, 0, vectorUD, 0},
		{"GD", func(c *CPU) { c.dr7 |= dr7GD; c.updateStep() }, []byte{0x0f, 0x21, 0xc0}, 0, vectorDB, 0},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := longRig(t)
			c := r.c
			if x.set != nil {
				x.set(c)
			}
			c.r[rax] = x.value
			r.code(x.code...).steps(len(x.code) / 3)
			r.faults(x.vector, 0, "")
			if x.vector < 0 {
				require.Equal(t, x.want, c.r[rax])
			}
			if x.vector == vectorDB {
				require.EqualValues(t, dr6Fixed|dr6BD, c.dr6)
				require.Zero(t, c.dr7&dr7GD, "the handler may use the registers")
				require.NotZero(t, r.top(2)&flagRF)
			}
		})
	}
}

func (r *sysRig) breakAt(i int, la uint64, kind, size uint64) {
	c := r.c
	c.dr[i] = la
	c.dr7 = dr7Fixed | 1<<(2*i) | (kind|size<<2)<<(16+4*i)
	c.selectTLB()
	c.updateStep()
}

func TestInstructionBreakpoint(t *testing.T) {
	r := longRig(t)
	c := r.c
	r.code(0x90, 0x90, 0x90)
	r.breakAt(1, atCode+1, breakExecute, 0)
	r.steps(2)
	require.Equal(t, vectorDB, r.vector())
	require.EqualValues(t, atCode+1, r.top(0), "a fault")
	require.Zero(t, r.top(2)&flagRF)
	require.EqualValues(t, dr6Fixed|2, c.dr6)
	// With RF in the image the instruction runs, once.
	c.r[rsp] = 0xf000
	r.frame(8, atCode+1, selCode64, flagRF|2, stack0, selData)
	r.code(0x48, 0xcf).steps(2)
	require.EqualValues(t, atCode+2, c.rip)
	require.Zero(t, c.rflags&flagRF)
}

func TestDataBreakpoints(t *testing.T) {
	for _, x := range []struct {
		about      string
		at         uint64
		kind, size uint64
		code       []byte
		hit        bool
	}{
		{"write", atData, breakWrite, 3, []byte{0x89, 0x08}, true},
		{"read is not a write", atData, breakWrite, 3, []byte{0x8b, 0x08}, false},
		{"read", atData, breakAccess, 3, []byte{0x8b, 0x08}, true},
		{"last byte", atData + 3, breakAccess, 0, []byte{0x8b, 0x08}, true},
		{"beyond", atData + 4, breakAccess, 0, []byte{0x8b, 0x08}, false},
		{"eight bytes", atData + 4, breakWrite, 2, []byte{0x89, 0x08}, true},
		{"a fetch is no access", atCode, breakAccess, 3, []byte{0x90, 0x90}, false},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := longRig(t)
			r.c.r[rax] = atData
			r.breakAt(0, x.at, x.kind, x.size)
			r.code(x.code...).steps(1)
			require.Equal(t, x.hit, r.vector() == vectorDB)
			if x.hit {
				require.EqualValues(t, atCode+2, r.top(0), "a trap")
				require.EqualValues(t, dr6Fixed|1, r.c.dr6)
			}
		})
	}
}

func TestDataBreakpointOfMOVSSComesAfterTheNextInstruction(t *testing.T) {
	r := longRig(t)
	r.c.r[rax] = atData
	r.put16(atData, selData)
	r.breakAt(0, atData, breakAccess, 1)
	r.code(0x8e, 0x10, 0xcd, 0x40).steps(2)
	require.Equal(t, vectorDB, r.vector())
	require.Equal(t, handler(0x40), r.top(0))
	require.EqualValues(t, dr6Fixed|1, r.c.dr6)
}

func TestPortBreakpoint(t *testing.T) {
	r := longRig(t)
	r.c.cr4 |= cr4DE
	r.c.r[rdx] = 0x72
	r.breakAt(2, 0x70, breakPort, 3)
	r.code(0xec).steps(1)
	require.Equal(t, vectorDB, r.vector())
	require.EqualValues(t, dr6Fixed|4, r.c.dr6)
}

func TestSingleStep(t *testing.T) {
	single := func(code ...byte) *sysRig {
		r := longRig(t)
		r.c.msr.star, r.c.msr.lstar, r.c.msr.fmask = selCode64<<32|selUser32<<48, 0x9808, flagTF
		r.c.rflags |= flagTF
		r.c.updateStep()
		return r.code(code...)
	}
	t.Run("after each instruction", func(t *testing.T) {
		r := single(0x90)
		r.steps(1)
		require.Equal(t, vectorDB, r.vector())
		require.EqualValues(t, atCode+1, r.top(0))
		require.NotZero(t, r.top(2)&flagTF)
		require.Zero(t, r.top(2)&flagRF)
		require.Zero(t, r.c.rflags&flagTF)
		require.EqualValues(t, dr6Fixed|dr6BS, r.c.dr6)
		r.code(0x90).steps(1)
		require.Equal(t, -1, r.vector(), "not in the handler")
	})
	t.Run("MOV SS holds it back for one instruction", func(t *testing.T) {
		r := single(0x8e, 0xd0, 0x90, 0x90)
		r.c.r[rax] = selData
		r.steps(1)
		require.EqualValues(t, atCode+2, r.c.rip)
		r.steps(1)
		require.Equal(t, vectorDB, r.vector())
		require.EqualValues(t, atCode+3, r.top(0))
	})
	t.Run("INT clears TF before", func(t *testing.T) {
		r := single(0xcd, 0x40)
		r.steps(1)
		require.Equal(t, 0x40, r.vector())
		require.NotZero(t, r.top(2)&flagTF)
	})
	t.Run("SYSCALL that masks TF", func(t *testing.T) {
		r := single(0x0f, 0x05)
		r.steps(1)
		require.EqualValues(t, 0x9808, r.c.rip)
		require.NotZero(t, r.c.r[r11]&flagTF)
	})
	t.Run("an instruction that faults does not trap", func(t *testing.T) {
		r := single(0x0f, 0x0b)
		r.steps(1)
		require.Equal(t, vectorUD, r.vector())
		require.Zero(t, r.c.dr6&dr6BS)
	})
	t.Run("IRET that sets TF: after the next", func(t *testing.T) {
		r := longRig(t)
		r.c.r[rsp] = 0xf000
		r.frame(8, 0x9908, selCode64, flagTF|2, stack0, selData)
		r.code(0x48, 0xcf).steps(1)
		require.EqualValues(t, 0x9908, r.c.rip)
		r.code(0x90).steps(1)
		require.Equal(t, vectorDB, r.vector())
		require.EqualValues(t, 0x9909, r.top(0))
	})
}

func TestSTIShadow(t *testing.T) {
	r := longRig(t)
	c := r.c
	r.apic.pending = []uint8{0x40}
	c.lookAPIC()
	r.code(0xfb, 0x90, 0x90).steps(1)
	require.NotZero(t, c.rflags&flagIF)
	r.steps(1)
	require.EqualValues(t, atCode+2, c.rip, "one instruction goes first")
	r.steps(1)
	require.Equal(t, 0x40, r.vector())
	require.EqualValues(t, atCode+2, r.top(0))
}

func TestHLTWaitsForAnInterrupt(t *testing.T) {
	r := longRig(t)
	c := r.c
	c.rflags |= flagIF
	r.code(0xf4, 0x90).steps(1)
	require.True(t, c.halted)
	r.apic.pending = []uint8{0x40}
	c.lookAPIC()
	r.steps(1)
	require.False(t, c.halted)
	require.Equal(t, 0x40, r.vector())
	require.EqualValues(t, atCode+1, r.top(0))
}

func TestNMIIsMaskedUntilIRET(t *testing.T) {
	r := longRig(t)
	c := r.c
	c.NMI()
	r.code(0x90).steps(1)
	require.Equal(t, 2, r.vector())
	c.NMI()
	r.code(0x90, 0x48, 0xcf).steps(1)
	require.EqualValues(t, handler(2)+1, c.rip)
	r.steps(1)
	require.EqualValues(t, atCode, c.rip)
	r.steps(1)
	require.Equal(t, 2, r.vector())
}

func TestAlignmentCheck(t *testing.T) {
	r := longRig(t)
	r.enter(selUser64|3, selUserData|3)
	c := r.c
	c.cr0 |= cr0AM
	c.setRFLAGS(flagAC, flagAC)
	c.updateMode()
	c.r[rax] = atData + 1
	r.code(0x8b, 0x08).steps(1)
	r.faults(vectorAC, 0, "")
}

func TestFetchFromAnAddressThatIsNotCanonical(t *testing.T) {
	r := longRig(t)
	r.c.r[rax] = 1 << 50
	r.code(0xff, 0xe0).steps(1)
	r.faults(vectorGP, 0, "")
	require.EqualValues(t, atCode, r.top(1))
}

func TestUserWaits(t *testing.T) {
	tpause, umwait, umonitor := []byte{0x66, 0x0f, 0xae, 0xf1}, []byte{0xf2, 0x0f, 0xae, 0xf1}, []byte{0xf3, 0x0f, 0xae, 0xf0}
	until := func(c *CPU, us uint64) {
		v := c.machine.clock.TSC() + us*2000
		c.setEDXEAX(v)
	}
	t.Run("to the deadline", func(t *testing.T) {
		r := longRig(t)
		c := r.c
		until(c, 500)
		start := r.clock.now
		r.code(tpause...)
		n := 0
		for c.rip == atCode {
			r.steps(1)
			n++
		}
		require.GreaterOrEqual(t, r.clock.now-start, uint64(500*2000))
		require.Greater(t, n, 5, "in slices")
		require.Zero(t, c.arith())
	})
	t.Run("to the operating system's limit", func(t *testing.T) {
		r := longRig(t)
		c := r.c
		c.msr.umwaitControl = 20000
		until(c, 5000)
		start := r.clock.now
		c.setArith(flagsArith)
		r.code(tpause...).steps(1)
		require.EqualValues(t, atCode+4, c.rip)
		require.EqualValues(t, flagCF, c.arith())
		require.Less(t, r.clock.now-start, uint64(100*2000))
	})
	t.Run("something is pending", func(t *testing.T) {
		r := longRig(t)
		c := r.c
		until(c, 5000)
		start := r.clock.now
		r.code(tpause...)
		c.pending.Or(pendingInterrupt)
		require.True(t, c.one())
		require.EqualValues(t, atCode+4, c.rip)
		require.Less(t, r.clock.now-start, uint64(20*2000))
	})
	t.Run("the line changed", func(t *testing.T) {
		r := longRig(t)
		c := r.c
		c.r[rax] = atData + 8
		r.code(append(append(umonitor[:4:4], 0x90), umwait...)...).steps(2)
		until(c, 500)
		r.steps(1)
		require.EqualValues(t, atCode+5, c.rip, "it waits")
		r.ram[atData+63]++
		r.steps(1)
		require.EqualValues(t, atCode+9, c.rip)
		require.False(t, c.monitor.armed)
	})
	t.Run("UMWAIT without a monitor", func(t *testing.T) {
		r := longRig(t)
		until(r.c, 500)
		r.code(umwait...).steps(1)
		require.EqualValues(t, atCode+4, r.c.rip)
	})
	t.Run("reserved control", func(t *testing.T) {
		r := longRig(t)
		r.c.r[rcx] = 2
		r.code(tpause...).steps(1)
		r.faults(vectorGP, 0, "")
	})
}

func TestMonitorHasToBeSwitchedOn(t *testing.T) {
	r := longRig(t)
	c := r.c
	c.r[rax] = atData
	r.code(0x0f, 0x01, 0xc8).steps(1)
	r.faults(vectorUD, 0, "")
	c.msr.miscEnable |= miscMonitor
	c.r[rcx] = 0
	r.code(0x0f, 0x01, 0xc8, 0x0f, 0x01, 0xc9).steps(1)
	require.True(t, c.monitor.armed)
	r.steps(1)
	require.EqualValues(t, handler(vectorUD)+6, c.rip)
	require.NotZero(t, c.leafOf(1, 0)[2]&featureMonitor)
}

func TestInstructionsThatDoNotExist(t *testing.T) {
	for _, b := range [][]byte{{0x0f, 0xaa}, {0x0f, 0x01, 0xc1}, {0x0f, 0x01, 0xee}, {0x0f, 0x01, 0xef}} {
		r := longRig(t)
		r.code(b...).steps(1)
		r.faults(vectorUD, 0, "")
	}
}

func TestResetAndStartUp(t *testing.T) {
	r := newSysRig(t)
	c := r.c
	require.EqualValues(t, 0xfffffff0, c.bases[cs]+c.rip)
	require.EqualValues(t, 0x60000010, c.cr0)
	require.EqualValues(t, 2, c.RFLAGS())
	require.EqualValues(t, signature, c.r[rdx])
	require.EqualValues(t, dr6Fixed, c.dr6)
	require.EqualValues(t, 0x400, c.dr7)
	require.Equal(t, decode.Mode16, c.mode)
	require.False(t, c.waitSIPI)

	other, err := newTestCPU(c.machine, CPUConfig{ID: 1, CPUs: 2, APIC: r.apic})
	require.NoError(t, err)
	require.True(t, other.waitSIPI)
	other.SIPI(0x12)
	_, err = other.attend(other.pending.Load())
	require.NoError(t, err)
	require.False(t, other.waitSIPI)
	require.EqualValues(t, 0x12000, other.bases[cs]+other.rip)
	require.EqualValues(t, 0x1200, other.seg[cs].sel)

	other.cr4, other.xcr0, other.msr.lstar = cr4PAE, 3, 5
	other.cr0 = cr0PE | cr0PG | cr0ET
	other.uintr.UINV = 0x40
	other.INIT()
	_, err = other.attend(other.pending.Load())
	require.NoError(t, err)
	require.True(t, other.waitSIPI)
	require.EqualValues(t, cr0ET, other.cr0, "CD and NW stay")
	require.Zero(t, other.cr4)
	require.EqualValues(t, 3, other.xcr0)
	require.EqualValues(t, 5, other.msr.lstar)
	require.EqualValues(t, 0x40, other.uintr.UINV)
	require.EqualValues(t, 1, r.apic.resets)
}
