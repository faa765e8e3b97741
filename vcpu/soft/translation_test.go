package soft

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/difftest"
)

// testJIT is what the tests' processors run by: GVMM_JIT=on runs all tests by translations, from each block's first run on.
var testJIT = func() vcpu.JIT {
	if os.Getenv("GVMM_JIT") == "on" {
		return vcpu.JITOn
	}
	return vcpu.JITOff
}()

// newTestCPU adds a processor that runs by testJIT.
func newTestCPU(m *Machine, config CPUConfig) (*CPU, error) {
	config.JIT = testJIT
	c, err := m.NewCPU(config)
	if err == nil && c.translation != nil {
		c.translation.hot, c.translation.exact = 0, true
	}
	return c, err
}

func TestLoopsRunTheSameTranslated(t *testing.T) {
	code := assemble(t, "testdata/loops.S")
	for i, name := range loopNames {
		plain, fast := loopCPU(t, code, i, 5000), loopCPU(t, code, i, 5000)
		require.NoError(t, plain.Close())
		if fast.translation == nil {
			startTranslator(t, fast)
		}
		finish(t, plain)
		finish(t, fast)
		require.Equal(t, plain.r[:16], fast.r[:16], name)
		require.Equal(t, plain.RFLAGS(), fast.RFLAGS(), name)
		require.Equal(t, plain.Retired(), fast.Retired(), name)
		t.Logf("%s: %d of %d instructions", name, fast.native, fast.Retired())
	}
}

// translatingRig is a nativeRig that translates each block before its first run.
func translatingRig(t testing.TB) *nativeRig {
	t.Helper()
	r := newNativeRig(t, false)
	if r.c.translation == nil {
		startTranslator(t, r.c)
	}
	return r
}

// startTranslator has a processor translate each block before its first run, or skips.
func startTranslator(t testing.TB, c *CPU) {
	t.Helper()
	if err := c.startTranslating(vcpu.JITOn); err != nil {
		t.Skip(err)
	}
	c.translation.hot, c.translation.exact = 0, true
	t.Cleanup(func() { require.NoError(t, c.Close()) })
}

// Random instructions, single ones and sequences, with faults, page crossings, all addressing forms and high-byte
// registers: the state at the end, or at the fault, is the interpreter's.
func TestTranslatedInstructionsDoAsTheInterpreter(t *testing.T) {
	count := 60_000
	if testing.Short() {
		count = 6_000
	}
	if v, err := strconv.Atoi(os.Getenv("GVMM_DIFFTEST")); err == nil {
		count = v
	}
	seed := uint64(time.Now().UnixNano())
	if v, err := strconv.ParseUint(os.Getenv("GVMM_DIFFTEST_SEED"), 0, 64); err == nil {
		seed = v
	}
	t.Logf("seed %d: GVMM_DIFFTEST_SEED and GVMM_DIFFTEST (instructions) say otherwise", seed)
	integer := nativeInteger()
	n := nativeTest{ignore: ignoreUndefined, wanted: func(in *decode.Inst) bool {
		return integer(in) || in.Op.Group() == decode.GroupSIMD && in.Size == 16
	}}
	plain, fast := newNativeRig(t, false), translatingRig(t)
	require.NoError(t, plain.c.Close()) // of a translator that GVMM_JIT gave it
	g := difftest.NewGenerator(rand.New(rand.NewPCG(seed, 0)), n.wanted)
	g.Vectors = func(g *difftest.Generator, f *difftest.FX) {
		for i := range 16 {
			f.SetXMM(i, g.Value(), g.Value())
		}
		if g.IntN(4) == 0 {
			f.SetMXCSR(uint32(g.IntN(0x10000)))
		}
	}
	for done, batch := 0, 0; done < count; batch++ {
		length := []int{1, 4, 12, 40}[batch%4]
		mem := g.Memory()
		plain.batch(mem)
		fast.batch(mem)
		for range 64 {
			k := g.Case(length)
			done += length
			var none difftest.Result
			want, got := plain.loop(&k, &none), fast.loop(&k, &none)
			in := lastOf(&k, want.RIP, want.Trap)
			if d := n.differences(&in, &k, got, want); d != nil {
				t.Fatalf("host is the translation:\n%s\n%s", describe(&k), strings.Join(d, "\n"))
			}
		}
	}
	require.Greater(t, fast.c.native, int64(count/16))
}

func TestTranslatedCodeThatChangesItself(t *testing.T) {
	code := []byte{
		0xb8, 0, 0, 0, 0, // 0: mov eax, N
		0x48, 0x01, 0xc3, // 5: add rbx, rax
		0xff, 0x05, 0xf3, 0xff, 0xff, 0xff, // 8: inc dword [rip-13]: N
		0x48, 0xff, 0xc9, // 14: dec rcx
		0x75, 0xed, // 17: jnz 0
		0xf4, // hlt
	}
	c := flatCPU(t, code)
	startTranslator(t, c)
	c.config.Virtual = true
	c.r[rcx] = 1000
	finish(t, c)
	require.EqualValues(t, 1000*999/2, c.r[rbx])
	require.NotZero(t, c.native)
}

func TestTranslatedCodeThatADeviceChanges(t *testing.T) {
	code := []byte{
		0xbb, 1, 0, 0, 0, // mov ebx, 1
		0x48, 0xff, 0xc9, // dec rcx
		0x75, 0xf6, // jnz 0
		0xf4, // hlt
	}
	c := flatCPU(t, code)
	startTranslator(t, c)
	c.config.Virtual = true
	c.r[rcx] = 1 << 40
	require.NoError(t, c.Slice(1<<16))
	require.EqualValues(t, 1, c.r[rbx])
	host, ok := c.machine.host(flatCode)
	require.True(t, ok)
	host.store(1, 4, 2)
	c.machine.Written(flatCode+1, 4)
	require.NoError(t, c.Slice(1<<16))
	require.EqualValues(t, 2, c.r[rbx])
	require.Greater(t, c.native, int64(1<<16))
}

func TestTranslatedCodeGivesWayToAnInterrupt(t *testing.T) {
	c := flatCPU(t, []byte{0xeb, 0xfe}) // jmp to itself
	startTranslator(t, c)
	c.sleeping.Store(false)
	done := make(chan error)
	go func() { done <- c.Slice(math.MaxInt64) }()
	for c.stats.native.Load() == 0 {
		runtime.Gosched()
	}
	c.Kick()
	require.NoError(t, <-done)
	require.Positive(t, c.native)
}

func TestTranslationsThatFillTheirMemoryAreDropped(t *testing.T) {
	c := flatCPU(t, nil)
	startTranslator(t, c)
	c.config.Virtual = true
	code, err := c.newTranslator(64 << 10)
	require.NoError(t, err)
	require.NoError(t, c.translation.code.Close())
	c.translation.code = code
	host, ok := c.machine.host(flatCode)
	require.True(t, ok)
	block := []byte{0x48, 0xff, 0xc0, 0x48, 0x03, 0x07, 0xeb, 0} // inc rax; add rax, [rdi]; jmp on
	for i := range 500 {
		copy(host.bytes(uint64(len(block)*i), len(block)), block)
	}
	copy(host.bytes(4000, 12), []byte{0x48, 0xff, 0xc9, 0x0f, 0x85, 0x57, 0xf0, 0xff, 0xff, 0xf4}) // dec rcx; jnz to the start; hlt
	c.r[rcx] = 20
	finish(t, c)
	require.EqualValues(t, 20*500, c.r[rax])
	require.NotZero(t, c.stats.codeFlushes.Load())
}

func TestCheckingFindsADifference(t *testing.T) {
	c := flatCPU(t, []byte{0x48, 0xff, 0xc0, 0x48, 0x89, 0x07, 0xeb, 0xf8}) // inc rax; mov [rdi], rax; jmp
	require.NoError(t, c.Close())
	if err := c.startTranslating(vcpu.JITCheck); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	c.translation.hot = 0
	c.config.Virtual = true
	require.NoError(t, c.Slice(3000))
	require.EqualValues(t, c.stats.checked.Load()*3, c.Retired())
	for _, b := range c.cache.pages {
		b.insts[0].Op = decode.DEC // the interpreter's, from now on
	}
	require.ErrorContains(t, c.Slice(10_000), "translation and interpreter differ")
}

// FuzzTranslation runs any bytes by interpreter and translator: registers, flags and memory are the same at the end of each
// slice, or where a triple fault ended it.
func FuzzTranslation(f *testing.F) {
	f.Add(uint64(1), []byte{0x48, 0x01, 0x07, 0x48, 0xff, 0xc0, 0xeb, 0xf8})
	f.Add(uint64(2), []byte{0x50, 0x5b, 0xe8, 0, 0, 0, 0, 0xc3})
	f.Add(uint64(3), []byte{0xf0, 0x0f, 0xb1, 0x0f, 0x75, 0xfa, 0x88, 0xe5, 0x0f, 0xa4, 0xd8, 5})
	f.Add(uint64(4), []byte{0x66, 0x0f, 0x6f, 0x07, 0x66, 0x0f, 0xfe, 0xc0, 0xf3, 0x0f, 0x7f, 0x47, 1, 0xeb, 0xf2})
	f.Add(uint64(5), []byte{0xff, 0x05, 0xfa, 0xff, 0xff, 0xff, 0xeb, 0xf8})
	f.Fuzz(func(t *testing.T, seed uint64, code []byte) {
		if len(code) > 4096 {
			code = code[:4096]
		}
		plain, fast := flatCPU(t, code), flatCPU(t, code)
		require.NoError(t, plain.Close())
		if fast.translation == nil {
			startTranslator(t, fast)
		}
		random := rand.New(rand.NewPCG(seed, 1))
		for i := range 16 {
			v := random.Uint64() >> random.IntN(64)
			if random.IntN(2) == 0 {
				v = flatBuffer + uint64(random.IntN(1<<14))
			}
			plain.r[i], fast.r[i] = v, v
		}
		for _, c := range []*CPU{plain, fast} {
			c.config.Virtual = true
			c.grant(1 + int64(seed%64))
		}
		for range 8 {
			a, b := plain.Slice(300), fast.Slice(300)
			require.Equal(t, a != nil, b != nil)
			require.Equal(t, plain.moment(), fast.moment())
			if a != nil {
				break
			}
			require.Equal(t, plain.Retired(), fast.Retired())
			plain.pending.And(^pendingStop)
			fast.pending.And(^pendingStop)
		}
		for pa := uint64(0); pa < flatRAM; pa += 4096 {
			a, _ := plain.machine.host(pa)
			b, _ := fast.machine.host(pa)
			if !bytes.Equal(a.bytes(0, 4096), b.bytes(0, 4096)) {
				t.Fatalf("memory differs in the page at %#x", pa)
			}
		}
	})
}
