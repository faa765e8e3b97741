package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
	"gvmm/guests/guesttest"
	"gvmm/vcpu"
	"gvmm/vmm"
)

// loopsText is what the loops image prints on the software CPU.
func loopsText(t *testing.T, image string, o VsQEMUOptions) string {
	t.Helper()
	var text bytes.Buffer
	r, err := Run(testContext(t), vmm.Config{Image: image, Command: o.command(), Accel: vcpu.AccelSoft, Serial: &text})
	require.NoError(t, err)
	require.Zero(t, r.Status, text.String())
	return text.String()
}

// fakeQEMU is a program that stands for QEMU: it prints text and ends with status.
func fakeQEMU(t *testing.T, text, status string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "text"), []byte(text), 0o600))
	path := filepath.Join(dir, "qemu")
	script := "#!/bin/sh\n[ \"$1\" = --version ] && { echo fake 1.0; exit 0; }\nread -r first < " + dir + "/text\necho \"$first\"\nsleep 0.1\ntail -n +2 " + dir + "/text\nexit " + status + "\n"
	require.NoError(t, os.WriteFile(path, []byte(script), 0o700))
	return path
}

func TestVsQEMUComparesLoopByLoop(t *testing.T) {
	o := VsQEMUOptions{Image: guesttest.Image(t, t.TempDir(), guests.Loops), CPU: "max", Millions: 1, Repeat: 1, Rounds: 2}
	text := loopsText(t, o.Image, o)
	o.QEMU = fakeQEMU(t, text, "1")
	calls := 0
	o.Progress = func(done, total int) { calls++; require.Equal(t, calls, done); require.Equal(t, 4, total) }
	r, err := VsQEMU(testContext(t), o)
	require.NoError(t, err)
	require.Equal(t, 4, calls)
	require.Equal(t, "fake 1.0", r.Version)
	require.Positive(t, r.Mean)
	five := 0
	for _, row := range r.Rows {
		require.Positive(t, row.Ratio, row.Loop)
		require.Positive(t, row.Soft.NS, row.Loop)
		if row.Instructions > 0 {
			require.Positive(t, row.QEMU.MIPS)
			require.InEpsilon(t, float64(o.Millions)*1e6, row.Instructions, 0.01, row.Loop)
		}
		for _, name := range MeanLoops {
			if name == row.Loop {
				five++
			}
		}
	}
	require.Equal(t, 5, five)
}

func TestVsQEMURefusesWhatCannotBeCompared(t *testing.T) {
	o := VsQEMUOptions{Image: guesttest.Image(t, t.TempDir(), guests.Loops), CPU: "max", Millions: 1, Repeat: 1, Rounds: 1}
	text := loopsText(t, o.Image, o)
	for name, c := range map[string]struct{ text, status, want string }{
		"another checksum":  {strings.Replace(text, "checksum ", "checksum 1", 1), "1", "computed"},
		"other work":        {strings.Replace(text, "operations ", "operations 1", 1), "1", "not the same work"},
		"a loop is missing": {strings.Replace(text, "loop ALU", "loup ALU", 1), "1", "loops"},
		"no end":            {"begin\nloop", "1", "exit status 1"},
		"the guest failed":  {text, "17", "exit status 17"},
		"no guest's status": {text, "0", "without the guest's status"},
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			o.QEMU = fakeQEMU(t, c.text, c.status)
			_, err := VsQEMU(testContext(t), o)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestVsQEMUSaysThatQEMUIsMissing(t *testing.T) {
	_, err := VsQEMU(t.Context(), VsQEMUOptions{QEMU: filepath.Join(t.TempDir(), "qemu-system-x86_64"), Rounds: 1})
	var setup *SetupError
	require.ErrorAs(t, err, &setup)
	require.ErrorContains(t, err, "make bench-qemu")
	require.NotContains(t, err.Error(), "\n")
}

func TestTranscriptTakesTheTSCsFrequencyFromWallTime(t *testing.T) {
	var tr transcript
	for _, s := range []string{"noise\r\nbeg", "in\n"} {
		_, err := tr.Write([]byte(s))
		require.NoError(t, err)
	}
	_, _ = tr.Write([]byte("loop system call: operations 5 instructions 0 ticks 6 checksum ff\nend: ticks 7"))
	require.True(t, tr.end.IsZero(), "the line is not whole")
	_, _ = tr.Write([]byte("00\n"))
	require.False(t, tr.end.IsZero())
	tr.end = tr.begin.Add(2 * time.Second)
	loops, hz, err := tr.loops()
	require.NoError(t, err)
	require.Equal(t, []loopTime{{"system call", 5, 0, 6, "ff"}}, loops)
	require.InDelta(t, 350, hz, 1e-9)
}
