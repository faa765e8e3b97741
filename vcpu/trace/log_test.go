package trace

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/vcpu"
)

func TestAListOfKindsIsReadAndWritten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := Kinds(rapid.IntRange(1, int(All)).Draw(rt, "kinds"))
		got, err := ParseKinds(k.String())
		require.NoError(rt, err)
		require.Equal(rt, k, got)
	})
	k, err := ParseKinds("irq,all")
	require.NoError(t, err)
	require.Equal(t, All, k)
	for _, bad := range []string{"", "insn,", "insns", "insn irq", "INSN"} {
		_, err := ParseKinds(bad)
		require.ErrorContains(t, err, "insn, exit, irq, uintr, iommu or all", bad)
	}
}

// fields drops CPU and COUNT of each line, and the comment.
func fields(t *testing.T, text string) (all []string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	require.Equal(t, "# CPU COUNT KIND FIELDS", lines[0])
	for _, l := range lines[1:] {
		parts := strings.SplitN(l, " ", 3)
		require.Len(t, parts, 3, l)
		all = append(all, parts[0]+" "+parts[2])
	}
	return all
}

func TestExitsAndStepsAreLines(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, Exits|User)
	l.Exit(1, vcpu.Exit{Cause: vcpu.PortWrite, Addr: 0x3f8, Size: 1, Value: 0x41})
	l.Exit(0, vcpu.Exit{Cause: vcpu.MemoryRead, Addr: 0xfed90018, Size: 4, Value: 0x10})
	l.Exit(0, vcpu.Exit{Cause: vcpu.MSRRead, Addr: 0x123, Size: 8, Refused: true})
	l.Exit(2, vcpu.Exit{Cause: vcpu.Halt})
	l.Exit(2, vcpu.Exit{Cause: vcpu.Injection, Addr: 0xec})
	l.User(0, vcpu.UserMSR(0x98a), 0xffff800000000001)
	l.User(0, vcpu.UserMSR(0x99), 1)
	l.User(3, vcpu.UserSend, 5)
	l.User(3, "UIRET", 0)
	l.Message(0xec)
	require.Zero(t, out.Len(), "nothing is written before it is worth it")
	require.NoError(t, l.Flush())
	require.Equal(t, []string{
		"1 exit port_write 3f8 1 41", "0 exit mmio_read fed90018 4 00000010", "0 exit msr_read 123 8 0000000000000000 refused",
		"2 exit halt", "2 exit injection ec", "0 uintr IA32_UINTR_TT ffff800000000001", "0 uintr MSR 0x99 1",
		"3 uintr SENDUIPI 5", "3 uintr UIRET", "- uintr message ec",
	}, fields(t, out.String()))
}

func TestWhatWasNotAskedForIsNotWritten(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, Instructions)
	l.Exit(0, vcpu.Exit{Cause: vcpu.Halt})
	l.User(0, vcpu.UserSend, 1)
	l.Message(1)
	require.NoError(t, l.Flush())
	require.Equal(t, "# CPU COUNT KIND FIELDS\n", out.String())
}

var errFull = errors.New("no space")

// full takes some bytes.
type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestAnErrorOfWritingIsKept(t *testing.T) {
	l := New(&full{left: 1 << 19}, Exits)
	for range 50000 {
		l.Exit(0, vcpu.Exit{Cause: vcpu.PortWrite, Addr: 0x3f8, Size: 1})
	}
	require.ErrorIs(t, l.Flush(), errFull)
}

func TestLinesOfManyProcessorsStayWhole(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, All)
	var g sync.WaitGroup
	for cpu := range uint32(4) {
		g.Go(func() {
			for range 2000 {
				l.Exit(cpu, vcpu.Exit{Cause: vcpu.PortWrite, Addr: 0x3f8, Size: 1, Value: uint64(cpu)})
			}
		})
	}
	g.Wait()
	require.NoError(t, l.Flush())
	count := map[string]int{}
	for _, line := range fields(t, out.String()) {
		count[line]++
	}
	require.Equal(t, map[string]int{
		"0 exit port_write 3f8 1 00": 2000, "1 exit port_write 3f8 1 01": 2000,
		"2 exit port_write 3f8 1 02": 2000, "3 exit port_write 3f8 1 03": 2000,
	}, count)
}
