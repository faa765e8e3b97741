package vmm

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
	"gvmm/vcpu/trace"
)

// traced runs the main guest under a trace and returns its lines but the comment.
func traced(t *testing.T, c Config, kinds trace.Kinds) (lines [][]string, r *Report) {
	t.Helper()
	disk, sum := newDisk(t, 8<<10)
	var out bytes.Buffer
	c.Trace = trace.New(&out, kinds)
	c.Image, c.UINTR, c.Posted, c.Command = guestImage(t, "guest"), true, true, "depth=1"
	c.Disks = []Disk{{Path: disk, ReadOnly: true}}
	m, serial, status := runGuest(t, c)
	require.Zero(t, status, serial)
	require.Contains(t, serial, "sha256 "+sum)
	require.NoError(t, c.Trace.Flush())
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.Fields(line))
	}
	require.Equal(t, "#", lines[0][0])
	return lines[1:], m.Report()
}

// count is how many lines are of a kind and begin with what follows.
func count(lines [][]string, kind string, first ...string) (n int) {
next:
	for _, l := range lines {
		if l[2] != kind || len(l) < 3+len(first) {
			continue
		}
		for i, f := range first {
			if l[3+i] != f {
				continue next
			}
		}
		n++
	}
	return n
}

func TestATraceOfTheSoftwareCPUIsComplete(t *testing.T) {
	lines, r := traced(t, Config{Accel: vcpu.AccelSoft}, trace.All)
	require.EqualValues(t, r.UserInterrupts, count(lines, "uintr", "UIRET"))
	require.EqualValues(t, r.UserInterrupts, count(lines, "uintr", "deliver"))
	require.EqualValues(t, r.Notifications, count(lines, "uintr", "message"))
	require.Equal(t, count(lines, "uintr", "UIRET"), countMnemonic(lines, "uiret"))
	require.NotZero(t, count(lines, "irq", "acknowledge"))
	require.NotZero(t, count(lines, "uintr", "IA32_UINTR_PD"))
	require.EqualValues(t, r.Completions, r.UserInterrupts, "one at a time")
	require.EqualValues(t, r.Completions, count(lines, "iommu", "post-user"))
	require.EqualValues(t, r.Notifications, count(lines, "iommu", "notify"))
	require.NotZero(t, count(lines, "iommu", "write", "GCMD"))

	executed := -1
	for _, l := range lines {
		if l[0] == "-" {
			continue
		}
		require.Equal(t, "0", l[0])
		n, err := strconv.Atoi(l[1])
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, executed, "time goes on: %v", l)
		executed = n
	}
	require.Greater(t, count(lines, "insn"), 1000)
	require.Zero(t, count(lines, "insn", "(undefined)"))
}

func countMnemonic(lines [][]string, name string) (n int) {
	for _, l := range lines {
		if l[2] == "insn" && len(l) > 6 && l[6] == name {
			n++
		}
	}
	return n
}

func TestATraceHasEveryExitOfTheReport(t *testing.T) {
	for _, accel := range []vcpu.Accel{vcpu.AccelSoft, vcpu.AccelKVM} {
		t.Run(accel.String(), func(t *testing.T) {
			prefix := "soft."
			if accel == vcpu.AccelKVM {
				guestKVM(t)
				prefix = "user."
			}
			disk, _ := newDisk(t, 8<<10)
			var out bytes.Buffer
			log := trace.New(&out, trace.Exits)
			// Without user interrupts the guest registers no log: the report is of the whole run.
			m, _, _ := runGuest(t, Config{Image: guestImage(t, "guest"), Accel: accel, Trace: log, Disks: []Disk{{Path: disk, ReadOnly: true}}})
			require.NoError(t, log.Flush())
			var lines [][]string
			for line := range strings.Lines(out.String()) {
				lines = append(lines, strings.Fields(line))
			}
			for name, n := range m.Report().Exits {
				if cause, ok := strings.CutPrefix(name, prefix); ok && cause != "port_read" && cause != "port_write" {
					require.EqualValues(t, n, count(lines, "exit", cause), name)
				}
			}
			require.NotZero(t, count(lines, "exit", "port_write", "3f8", "1"))
		})
	}
}

func TestKVMTracesWhatItSees(t *testing.T) {
	guestKVM(t)
	lines, r := traced(t, Config{Accel: vcpu.AccelKVM}, trace.Exits|trace.User)
	require.EqualValues(t, r.Notifications, count(lines, "uintr", "message"))
	require.NotZero(t, count(lines, "uintr", "IA32_UINTR_TT"))
	require.NotZero(t, count(lines, "exit", "mmio_write"))

	_, err := New(Config{Image: guestImage(t, "guest"), Accel: vcpu.AccelKVM, Trace: trace.New(new(bytes.Buffer), trace.Instructions|trace.Exits)})
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorContains(t, err, "a trace of insn needs the software CPU")
	m := newMachine(t, Config{Image: guestImage(t, "guest"), Trace: trace.New(new(bytes.Buffer), trace.Interrupts)})
	require.Equal(t, vcpu.AccelSoft, m.config.Accel, "where the choice is free")
}
