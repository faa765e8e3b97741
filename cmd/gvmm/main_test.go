package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"gvmm/guests"
	"gvmm/kvm"
	"gvmm/vmm"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"gvmm": main})
}

// hasKVM tells whether guests can run here.
func hasKVM() bool {
	s, err := kvm.Open(kvm.DefaultPath)
	if err != nil {
		return false
	}
	return s.Close() == nil
}

func TestCommand(t *testing.T) {
	out := t.TempDir()
	image, err := guests.Build(out, guests.Main)
	if err != nil && !errors.Is(err, guests.ErrToolchain) {
		t.Fatal(err)
	}
	disk := filepath.Join(out, "disk.img")
	content := make([]byte, 100*512)
	for i := range content {
		content[i] = byte(i * 7 / 3)
	}
	require.NoError(t, os.WriteFile(disk, content, 0o600))
	sum := sha256.Sum256(content)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("IMAGE", image)
			e.Setenv("DISK", disk)
			e.Setenv("SHA256", hex.EncodeToString(sum[:]))
			return nil
		},
		Condition: func(c string) (bool, error) {
			switch c {
			case "kvm":
				return image != "" && hasKVM(), nil
			case "image":
				return image != "", nil
			}
			return false, errors.New("unknown condition " + c)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": checkStatus, "report": checkReport},
	})
}

// checkStatus runs a command and wants an exit status: status N command…
func checkStatus(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	var exit interface{ ExitCode() int }
	if errors.As(err, &exit) {
		got = strconv.Itoa(exit.ExitCode())
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

// checkReport judges the JSON report on standard output: report way
func checkReport(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile("stdout")
	var fields map[string]json.RawMessage
	ts.Check(json.Unmarshal([]byte(text), &fields))
	for _, name := range []string{"engine", "way", "image", "completions", "user_interrupts", "exits",
		"exits_per_completion", "latency_ns", "control", "saved_exits_per_completion"} {
		if _, ok := fields[name]; !ok {
			ts.Fatalf("the report lacks %q", name)
		}
	}
	var r vmm.Report
	ts.Check(json.Unmarshal([]byte(text), &r))
	switch {
	case r.Engine != "kvm" || r.Way != args[0]:
		ts.Fatalf("engine %s, way %s", r.Engine, r.Way)
	case r.Completions != 26 || r.Control == nil || r.Control.Completions != 26:
		ts.Fatalf("completions: %d", r.Completions)
	case r.UserInterrupts == 0 || r.UserInterrupts > r.Completions:
		ts.Fatalf("user interrupts: %d", r.UserInterrupts)
	case r.Saved <= 0 || r.Saved != r.Control.ExitsPerCompletion-r.ExitsPerCompletion:
		ts.Fatalf("saved: %v", r.Saved)
	}
}
