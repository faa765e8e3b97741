package soft

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gvmm/irqchip"
	"gvmm/vmm/memory"
)

// idleAPIC is a local APIC from which nothing comes.
type idleAPIC struct{}

func (idleAPIC) Pending() bool                 { return false }
func (idleAPIC) Acknowledge() (uint8, bool)    { return 0, false }
func (idleAPIC) EOI()                          {}
func (idleAPIC) ReadMMIO(_ uint64, p []byte)   { clear(p) }
func (idleAPIC) WriteMMIO(uint64, []byte)      {}
func (idleAPIC) ReadMSR(uint32) (uint64, bool) { return 0, false }
func (idleAPIC) WriteMSR(uint32, uint64) bool  { return false }
func (idleAPIC) Base() (uint64, bool)          { return 0xfee00000, true }
func (idleAPIC) X2APIC() bool                  { return false }
func (idleAPIC) TPR() uint8                    { return 0 }
func (idleAPIC) SetTPR(uint8)                  {}
func (idleAPIC) Notify(uint8, uint32)          {}
func (idleAPIC) Deadline() uint64              { return ^uint64(0) }
func (idleAPIC) Tick(uint64)                   {}
func (idleAPIC) Reset()                        {}

// stillClock does not move.
type stillClock struct{}

func (stillClock) TSC() uint64 { return 0 }
func (stillClock) Hz() uint64  { return 1e9 }

// Layout of flatCPU's memory: 16 MiB, mapped where it is by 4 KiB pages, for everybody.
const (
	flatRAM    = 16 << 20
	flatPages  = 0x100000
	flatCode   = 0x200000
	flatStack  = 0x400000
	flatBuffer = 0x400000
)

// flatCPU is a processor in 64-bit mode at CPL 0 with code at flatCode.
func flatCPU(t testing.TB, code []byte) *CPU {
	t.Helper()
	mem := memory.New()
	require.NoError(t, mem.AddRAM(0, flatRAM))
	t.Cleanup(func() { require.NoError(t, mem.Close()) })
	m := NewMachine(mem, stillClock{})
	c, err := newTestCPU(m, CPUConfig{CPUs: 1, APIC: idleAPIC{}})
	require.NoError(t, err)
	require.NoError(t, mem.WriteAt(code, flatCode))
	for _, e := range [][2]uint64{{flatPages, flatPages + 0x1000}, {flatPages + 0x1000, flatPages + 0x2000}} {
		require.NoError(t, mem.Store64(e[0], e[1]|pteP|pteW|pteU))
	}
	for i := range uint64(flatRAM >> 21) {
		table := flatPages + 0x3000 + i<<12
		require.NoError(t, mem.Store64(flatPages+0x2000+i*8, table|pteP|pteW|pteU))
		for j := range uint64(512) {
			require.NoError(t, mem.Store64(table+j*8, i<<21|j<<12|pteP|pteW|pteU))
		}
	}
	c.waitSIPI = false
	c.cr0, c.cr3, c.cr4, c.efer = cr0PE|cr0PG|cr0WP|cr0ET|cr0NE, flatPages, cr4PAE|cr4OSFXSR|cr4OSXMMEXCPT, eferLME|eferLMA
	c.seg[cs] = segment{sel: 8, limit: ^uint32(0), attr: attrP | attrS | attrCode | attrReadable | attrL | attrG}
	c.seg[ss] = segment{sel: 16, limit: ^uint32(0), attr: attrP | attrS | attrWritable | attrDB | attrG}
	c.seg[ds], c.seg[es] = c.seg[ss], c.seg[ss]
	c.cpl, c.mxcsr = 0, 0x1f80
	c.updateMode()
	c.rip, c.r[rsp], c.r[rdi] = flatCode, flatStack, flatBuffer
	return c
}

// assemble makes a flat binary of an assembler file, or skips.
func assemble(t testing.TB, source string) []byte {
	t.Helper()
	for _, tool := range []string{"gcc", "objcopy"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	object := filepath.Join(t.TempDir(), "o")
	out, err := exec.Command("gcc", "-c", source, "-o", object).CombinedOutput()
	require.NoError(t, err, string(out))
	out, err = exec.Command("objcopy", "-O", "binary", "-j", ".text", object, object+".bin").CombinedOutput()
	require.NoError(t, err, string(out))
	b, err := os.ReadFile(object + ".bin")
	require.NoError(t, err)
	return b
}

// loopNames are those of the offsets in testdata/loops.S.
var loopNames = []string{
	"ALU", "call", "table", "words", "random", "memory", "branch", "SSE", "system call", "trap", "interrupt", "user interrupt",
}

// loopCPU is a flatCPU with interrupts, at the start of loop i.
func loopCPU(t testing.TB, code []byte, i int, iterations uint64) *CPU {
	t.Helper()
	c := flatCPU(t, code)
	chip := irqchip.NewSoft(irqchip.SoftConfig{CPUs: 1, Signal: func(_ int, s irqchip.Signal, _ uint8) {
		if s == irqchip.SignalInterrupt {
			c.Interrupt()
		}
	}})
	c.apic = chip.Local(0)
	c.config.Virtual, c.config.UINTR = true, true
	c.sleeping.Store(false)
	c.rip += uint64(binary.LittleEndian.Uint32(code[4*i:]))
	c.r[rcx] = iterations
	return c
}

// finish runs the loop to its end.
func finish(t testing.TB, c *CPU) {
	t.Helper()
	for !c.idle {
		require.NoError(t, c.Slice(1<<20))
	}
}

func TestLoopsRunToTheirEnd(t *testing.T) {
	code := assemble(t, "testdata/loops.S")
	for i, name := range loopNames {
		c := loopCPU(t, code, i, 64)
		finish(t, c)
		require.True(t, c.halted, name)
		require.GreaterOrEqual(t, c.Retired(), uint64(64*3), name)
		if name == "user interrupt" {
			require.EqualValues(t, 64, c.stats.delivered.Load())
			require.EqualValues(t, 64, c.stats.notified.Load())
		}
	}
}

// cpuSeconds is the time on CPUs that this process has had: what a busy host took away is not in it.
func cpuSeconds(t testing.TB) float64 {
	t.Helper()
	var u unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkLoops gives guest MIPS for the kinds of code that programs are made of, 1024 iterations a round: by wall
// time, and by CPU time for busy hosts.
func BenchmarkLoops(b *testing.B) {
	code := assemble(b, "testdata/loops.S")
	for i, name := range loopNames {
		b.Run(name, func(b *testing.B) {
			const iterations = 1024
			c := loopCPU(b, code, i, uint64(b.N)*iterations)
			b.ReportAllocs()
			b.ResetTimer()
			begin := cpuSeconds(b)
			finish(b, c)
			b.ReportMetric(float64(c.Retired())/1e6/(cpuSeconds(b)-begin), "cpu-MIPS")
			b.ReportMetric(float64(c.Retired())/1e6/b.Elapsed().Seconds(), "MIPS")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/iterations, "ns/iteration")
		})
	}
}

func TestStatisticsCountWhatRan(t *testing.T) {
	c := loopCPU(t, assemble(t, "testdata/loops.S"), 0, 4*quantum)
	finish(t, c)
	s, err := c.Statistics()
	require.NoError(t, err)
	require.Greater(t, s["instructions"], uint64(4*quantum))
	require.LessOrEqual(t, s["instructions"], c.Retired())
	require.NotZero(t, s["blocks"])
	require.Zero(t, s["block_flushes"])
	c.dropAll()
	s, err = c.Statistics()
	require.NoError(t, err)
	require.EqualValues(t, 1, s["block_flushes"])
}
