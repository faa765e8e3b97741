package vmm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
	"gvmm/kvm"
	"gvmm/vcpu"
)

// absentOn are the tests of the images that find nothing to test, by the number of
// processors, on the software CPU. It has all else.
var absentOn = map[int]func(why string) bool{
	1: func(why string) bool { return strings.Contains(why, "more than one CPU") },
	4: func(string) bool { return false },
}

// systemOutcome is what a test kernel said of its tests.
type systemOutcome struct {
	ok, failed, skipped []string
	absent              map[string]string
}

// runSystem runs a test kernel and reads what it says.
func runSystem(t *testing.T, c Config) systemOutcome {
	t.Helper()
	var out bytes.Buffer
	c.Serial = &out
	m := newMachine(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	status, err := m.Run(ctx)
	require.NoError(t, err, out.String())
	o := systemOutcome{absent: map[string]string{}}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	for _, line := range lines[:len(lines)-1] {
		what, name, _ := strings.Cut(line, " ")
		switch what {
		case "ok":
			o.ok = append(o.ok, name)
		case "FAILED":
			o.failed = append(o.failed, name)
		case "skipped":
			o.skipped = append(o.skipped, name)
		case "absent":
			name, why, _ := strings.Cut(name, ": ")
			o.absent[name] = why
		default:
			require.Fail(t, "a line that says nothing of a test", line)
		}
	}
	require.Equal(t, fmt.Sprintf("%d failed", len(o.failed)), lines[len(lines)-1], out.String())
	require.Equal(t, len(o.failed) != 0, status != 0, out.String())
	return o
}

// systemImage builds a test kernel, or skips where it cannot be built.
func systemImage(t *testing.T, name string) string {
	t.Helper()
	path, err := guests.Build(images, name)
	if errors.Is(err, guests.ErrToolchain) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return path
}

func TestTheSoftwareCPUBehavesAsAMachineDoes(t *testing.T) {
	for _, image := range []string{guests.System, guests.Legacy} {
		for _, cpus := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s %d", image, cpus), func(t *testing.T) {
				o := runSystem(t, Config{Image: systemImage(t, image), CPUs: cpus, UINTR: true, Accel: vcpu.AccelSoft, Command: "text=as given"})
				require.Empty(t, o.failed)
				require.NotEmpty(t, o.ok)
				for name, why := range o.absent {
					require.True(t, absentOn[cpus](why), "%s: %s", name, why)
				}
			})
		}
	}
}

// interpretedCannot are the tests that a KVM cannot pass which interprets CPL 0
// (kvm_pvm), with what it does not do.
var interpretedCannot = map[string]string{}

func TestKVMBehavesAsAMachineDoes(t *testing.T) {
	system, err := kvm.Open(kvm.DefaultPath)
	if err != nil {
		t.Skipf("needs KVM: %v", err)
	}
	require.NoError(t, system.Close())
	var skip []string
	if kvm.DescribeHost(os.DirFS("/")).Kind == kvm.HostPVM {
		for name := range interpretedCannot {
			skip = append(skip, name)
		}
	}
	command := ""
	if len(skip) > 0 {
		command = "skip=" + strings.Join(skip, ",")
	}
	for _, cpus := range []int{1, 4} {
		t.Run(fmt.Sprint(cpus), func(t *testing.T) {
			o := runSystem(t, Config{Image: systemImage(t, guests.System), CPUs: cpus, Accel: vcpu.AccelKVM, Command: command})
			require.Empty(t, o.failed)
			require.NotEmpty(t, o.ok)
			require.ElementsMatch(t, skip, o.skipped)
			for _, name := range skip {
				t.Logf("%s: %s", name, interpretedCannot[name])
			}
			for name, why := range o.absent {
				t.Logf("%s: %s", name, why)
			}
		})
	}
}
