package vmm

import (
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
	"gvmm/uintr/uintrtest"
	"gvmm/vcpu"
	"gvmm/vcpu/hw"
)

// fewestCases is what each way must carry out of the table: most of it.
const fewestCases = 100

// interpretedLoses is what an IRETQ may lose of RFLAGS where CPL 0 is interpreted: NT.
const interpretedLoses = 1 << 14

// forEachWay runs a test in all ways that this host can.
func forEachWay(t *testing.T, test func(t *testing.T, way vcpu.Way)) {
	for _, e := range engines {
		way := e.way
		t.Run(e.String(), func(t *testing.T) {
			e.on(t, Config{})
			image := guestImage(t, guests.Cases)
			m, err := New(Config{Image: image, UINTR: true, Accel: e.accel, Way: way})
			if err == nil {
				require.NoError(t, m.Close())
			} else {
				require.ErrorIs(t, err, hw.ErrWay)
				t.Skip(err)
			}
			test(t, way)
		})
	}
}

// accelOf is the engine that has a way.
func accelOf(way vcpu.Way) vcpu.Accel {
	if way == vcpu.WayNative {
		return vcpu.AccelSoft
	}
	return vcpu.AccelKVM
}

// caseGuest is the image "cases" and where its variables lie.
type caseGuest struct {
	*Machine
	serial  strings.Builder
	symbols map[string]elf.Symbol
}

func newCaseGuest(t *testing.T, way vcpu.Way, command string) *caseGuest {
	image := guestImage(t, guests.Cases)
	f, err := elf.Open(image)
	require.NoError(t, err)
	defer f.Close()
	symbols, err := f.Symbols()
	require.NoError(t, err)
	g := &caseGuest{symbols: map[string]elf.Symbol{}}
	for _, s := range symbols {
		g.symbols[s.Name] = s
	}
	g.Machine = newMachine(t, Config{Image: image, Command: command, UINTR: true, Accel: accelOf(way), Way: way, Serial: &g.serial})
	return g
}

// view is the memory of a variable: linear addresses of the program are physical, the kernel's are so modulo 2 GiB.
func (g *caseGuest) view(t *testing.T, name string, n uint64) []byte {
	s, ok := g.symbols[name]
	require.True(t, ok, "symbol %s", name)
	p, err := g.memory.View(s.Value&0x7fffffff, n)
	require.NoError(t, err)
	return p
}

// skipped says why a case cannot be carried out in a way, "" if it can.
func skipped(c uintrtest.Case, way vcpu.Way) string {
	switch {
	case c.NoHardware != "":
		return c.NoHardware
	case way == vcpu.WayDirect && c.Flags&uintrtest.FlagPrivileged != 0:
		return "the direct way leaves UPID and UITT in the program's reach"
	}
	return ""
}

// TestCasesOfTheTableInAGuest has the microcode carry out the table that package uintr is tested with.
func TestCasesOfTheTableInAGuest(t *testing.T) {
	forEachWay(t, func(t *testing.T, way vcpu.Way) {
		if way == vcpu.WayNative {
			t.Skip("there is no microcode: vcpu/soft carries the table out itself")
		}
		var todo []uintrtest.Case
		skips := map[string]int{}
		for _, c := range uintrtest.Cases() {
			if why := skipped(c, way); why != "" {
				skips[why]++
				continue
			}
			c.Want.IPI.NDST &= 0xff00 // xAPIC mode: the doorbell that is rung shows no more
			todo = append(todo, c)
		}
		require.GreaterOrEqual(t, len(todo), fewestCases)

		g := newCaseGuest(t, way, "")
		bases, err := uintrtest.DecodeBases(g.view(t, "bases", uintrtest.BasesSize))
		require.NoError(t, err)
		room := uint64(len(todo))
		cases := g.view(t, "cases", room*uintrtest.CaseSize)
		require.LessOrEqual(t, uint64(len(cases)), g.symbols["cases"].Size)
		for i, c := range todo {
			copy(cases[i*uintrtest.CaseSize:], uintrtest.Encode(c, bases))
		}
		binary.LittleEndian.PutUint64(g.view(t, "case_count", 8), room)
		require.Zero(t, run(t, g.Machine), "serial:\n%s", &g.serial)

		lost := binary.LittleEndian.Uint64(g.view(t, "lost_flags", 8))
		if way != vcpu.WayResident {
			lost = 0 // its IRETQ runs at CPL 3, or as it should
		}
		require.Zero(t, lost&^interpretedLoses)
		results := g.view(t, "results", room*uintrtest.ResultSize)
		for i, c := range todo {
			t.Run(c.Name, func(t *testing.T) {
				got, err := uintrtest.Decode(results[i*uintrtest.ResultSize:][:uintrtest.ResultSize])
				require.NoError(t, err)
				c.Want.RFLAGS, got.RFLAGS = c.Want.RFLAGS&^lost, got.RFLAGS&^lost
				require.Empty(t, uintrtest.Compare(c, bases, got))
			})
		}
		t.Logf("%d cases ran; IRETQ of this host's CPL 0 loses RFLAGS %#x", len(todo), lost)
		for why, n := range skips {
			t.Logf("%d skipped: %s", n, why)
		}
	})
}
