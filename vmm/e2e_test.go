package vmm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gvmm/vcpu"
)

// long asks for the sizes of an acceptance run.
var long = os.Getenv("GVMM_LONG") == "1"

// newDisk makes a file of n bytes that say nothing, and returns its path and their SHA-256.
func newDisk(t testing.TB, n int) (path, sum string) {
	t.Helper()
	data := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	_, _ = r.Read(data)
	path = filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path, fmt.Sprintf("%x", sha256.Sum256(data))
}

// runGuest runs an image to its end and returns what it printed.
func runGuest(t testing.TB, c Config) (m *Machine, serial string, status int) {
	t.Helper()
	var out bytes.Buffer
	c.Serial = &out
	m = newMachine(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	if long {
		ctx, cancel = context.WithTimeout(context.Background(), 10*time.Minute)
	}
	defer cancel()
	status, err := m.Run(ctx)
	require.NoError(t, err, out.String())
	return m, out.String(), status
}

func TestEveryByteOfTheDiskReachesTheProgram(t *testing.T) {
	image := guestImage(t, "guest")
	sizes := []int{512, 4096 + 512, 1<<20 + 1536, 8 << 20}
	switch {
	case long:
		sizes[3] = 256 << 20
	case testing.Short():
		sizes = sizes[:2]
	}
	for _, size := range sizes {
		disk, sum := newDisk(t, size)
		for _, e := range engines {
			for _, posted := range []bool{true, false} {
				t.Run(fmt.Sprintf("%d %v posted=%v", size, e, posted), func(t *testing.T) {
					_, serial, status := runGuest(t, e.on(t, Config{
						Image: image, UINTR: true, Posted: posted, Command: "depth=32",
						Disks: []Disk{{Path: disk, ReadOnly: true}}, Queues: 1 + size/512%3,
					}))
					require.Zero(t, status, serial)
					require.Contains(t, serial, "sha256 "+sum)
				})
			}
		}
	}
}

func TestCompletionsArePostedWithoutExitsOfTheirOwn(t *testing.T) {
	image := guestImage(t, "guest")
	disk, _ := newDisk(t, 1<<20)
	requests := 20000
	if testing.Short() {
		requests = 2000
	}
	if long {
		requests = 1_000_000
	}
	for _, e := range engines {
		t.Run(e.String(), func(t *testing.T) {
			report := func(posted bool, depth, requests int) *Report {
				m, serial, status := runGuest(t, e.on(t, Config{
					Image: image, UINTR: true, Posted: posted, Disks: []Disk{{Path: disk, ReadOnly: true}},
					Command: fmt.Sprintf("hash=0 depth=%d requests=%d", depth, requests),
				}))
				require.Zero(t, status, serial)
				require.Contains(t, serial, fmt.Sprintf("%d requests, %d handled", requests, requests))
				r := m.Report()
				require.EqualValues(t, requests, r.Completions)
				require.NotZero(t, r.UserInterrupts)
				require.Empty(t, r.Faults)
				require.Empty(t, r.GuestErrors)
				return r
			}
			few, many := report(true, 32, requests/10), report(true, 32, requests)
			user := func(r *Report) uint64 {
				// A signal of the Go runtime's is no exit of the guest's doing.
				return r.ExitSum("user.") - r.Exits["user.interrupted"]
			}
			if e.accel == vcpu.AccelSoft {
				// A doorbell is a return of the run loop's, and all there is for a completion.
				require.Less(t, many.ExitsPerCompletion, 1.2)
				require.Zero(t, many.ExitSum("modelled."))
			}
			require.InDelta(t, user(few), user(many), 20, "few: %v\nmany: %v", few.Exits, many.Exits)
			// One request at a time: how many completions share an interrupt does not matter then.
			posted, control := report(true, 1, requests/10), report(false, 1, requests/10)
			t.Logf("exits a completion: %.2f posted, %.2f control", posted.ExitsPerCompletion, control.ExitsPerCompletion)
			require.Less(t, posted.ExitsPerCompletion, control.ExitsPerCompletion/2)
		})
	}
}

func TestSENDUIPIBetweenProcessorsLosesNothing(t *testing.T) {
	image := guestImage(t, "ipi")
	for _, c := range []struct {
		engine  engineCase
		command string
	}{
		{engines[0], ""}, {engines[0], "trap=1"}, {engines[1], "soak=1000"}, {engines[1], "trap=1 soak=1000"},
		{engines[2], "soak=1000"}, {engines[2], "trap=1"},
	} {
		t.Run(c.engine.String()+" "+c.command, func(t *testing.T) {
			_, serial, status := runGuest(t, c.engine.on(t, Config{Image: image, UINTR: true, CPUs: 2, Command: c.command}))
			require.Zero(t, status, serial)
			require.Contains(t, serial, "2 CPUs, 2000 round trips")
		})
	}
}

func TestAMessageGoesRoundFourProcessors(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engineCase) {
		_, serial, status := runGuest(t, e.on(t, Config{
			Image: guestImage(t, "ipi"), UINTR: true, CPUs: 4, Command: "rounds=50 soak=100",
		}))
		require.Zero(t, status, serial)
		require.Contains(t, serial, "4 CPUs, 50 round trips")
	})
}

func TestAGuestThatMisusesEverythingHarmsNobody(t *testing.T) {
	image, good := guestImage(t, "misuse"), guestImage(t, "guest")
	disk, sum := newDisk(t, 64<<10)
	for _, e := range engines {
		for _, posted := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v posted=%v", e, posted), func(t *testing.T) {
				defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
				disks := []Disk{{Path: disk, ReadOnly: true}}
				var out bytes.Buffer
				m, err := New(e.on(t, Config{Image: image, UINTR: true, Posted: posted, Disks: disks, Serial: &out}))
				require.NoError(t, err)
				status := run(t, m)
				r := m.Report()
				require.NoError(t, m.Close())

				require.Zero(t, status, out.String())
				require.NotContains(t, out.String(), "FAILED")
				data, err := os.ReadFile(disk)
				require.NoError(t, err)
				sector := "sector 1:"
				for _, b := range data[512:520] {
					sector += fmt.Sprintf(" %x", b)
				}
				require.Contains(t, out.String(), sector)
				reasons := make(map[string]bool)
				for _, f := range r.Faults {
					require.Equal(t, "00:01.0", f.Requester)
					reasons[f.Reason] = true
				}
				require.GreaterOrEqual(t, len(reasons), 5, "%v", r.Faults)
				require.NotEmpty(t, r.GuestErrors)
				require.False(t, r.WroteDisk)

				second, err := New(e.on(t, Config{Image: good, UINTR: true, Posted: posted, Disks: disks, Serial: &out}))
				require.NoError(t, err)
				require.Zero(t, run(t, second), out.String())
				require.NoError(t, second.Close())
				require.Contains(t, out.String(), "sha256 "+sum)
			})
		}
	}
}

func TestAGuestThatNeverEndsIsStopped(t *testing.T) {
	disk, _ := newDisk(t, 64<<10)
	eachEngine(t, func(t *testing.T, e engineCase) {
		for _, cpus := range []int{1, 2} {
			m := newMachine(t, e.on(t, Config{
				Image: guestImage(t, "guest"), UINTR: true, Posted: true, CPUs: cpus, Command: "requests=4000000000 hash=0",
				Disks: []Disk{{Path: disk, ReadOnly: true}},
			}))
			ctx, cancel := context.WithCancel(context.Background())
			var stopped time.Time
			completions := &m.devices[0].transport.Counters(0).Completions
			go func() { // when the guest is at it
				for deadline := time.Now().Add(time.Minute); completions.Load() == 0 && time.Now().Before(deadline); {
					time.Sleep(time.Millisecond)
				}
				stopped = time.Now()
				cancel()
			}()
			_, err := m.Run(ctx)
			require.ErrorIs(t, err, context.Canceled)
			require.Less(t, time.Since(stopped), 10*time.Second, "a stop is prompt")
			require.NotZero(t, m.Report().Completions)
		}
	})
}

func TestAMachineThatIsStoppedBeforeItRunsDoesNotRun(t *testing.T) {
	eachEngine(t, func(t *testing.T, e engineCase) {
		c := e.on(t, Config{Image: guestImage(t, "guest")})
		c.Way = vcpu.WayNone
		m := newMachine(t, c)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := m.Run(ctx)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestWithoutUserInterruptsTheProgramSaysSo(t *testing.T) {
	disk, _ := newDisk(t, 4096)
	eachEngine(t, func(t *testing.T, e engineCase) {
		c := e.on(t, Config{Image: guestImage(t, "guest"), Disks: []Disk{{Path: disk, ReadOnly: true}}})
		m, serial, status := runGuest(t, c)
		require.Equal(t, 1, status)
		require.Equal(t, "program: this machine offers no user interrupts\n", serial)
		require.Equal(t, vcpu.WayNone, m.Way())
	})
}

func TestWhatCannotRunIsRefusedInOneLineAndNothingIsWritten(t *testing.T) {
	image := guestImage(t, "guest")
	good, _ := newDisk(t, 4096)
	odd, _ := newDisk(t, 1000)
	before, err := os.ReadFile(good)
	require.NoError(t, err)
	dir := t.TempDir()
	elf, err := os.ReadFile(image)
	require.NoError(t, err)
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	changed := func(at int, v byte) []byte {
		b := bytes.Clone(elf)
		b[at] = v
		return b
	}
	locked := file("locked", before)
	require.NoError(t, os.Chmod(locked, 0o400))
	disks := func(path string) []Disk { return []Disk{{Path: path}} }
	for name, c := range map[string]struct {
		config Config
		wants  []string
	}{
		"no image":      {Config{}, []string{"no image"}},
		"absent image":  {Config{Image: dir + "/absent"}, []string{"absent", "no such file"}},
		"empty image":   {Config{Image: file("empty", nil)}, []string{"empty", "not an ELF"}},
		"folder":        {Config{Image: dir}, []string{dir, "not a regular file"}},
		"text":          {Config{Image: file("text", []byte("#!/bin/sh\n"))}, []string{"text", "not an ELF"}},
		"32-bit":        {Config{Image: file("elf32", changed(4, 1))}, []string{"elf32"}},
		"other machine": {Config{Image: file("arm", changed(18, 0xb7))}, []string{"arm", "64-bit x86"}},
		"without note": {
			Config{Image: file("bare", bytes.ReplaceAll(elf, []byte("Xen\x00"), []byte("Nex\x00")))}, []string{"bare", "PVH note"},
		},
		"truncated":       {Config{Image: file("short", elf[:len(elf)/2])}, []string{"short"}},
		"little memory":   {Config{Image: image, Memory: 1 << 20}, []string{"memory too small", "at least"}},
		"odd memory":      {Config{Image: image, Memory: 1<<20 + 1}, []string{"whole MiB"}},
		"many CPUs":       {Config{Image: image, CPUs: 65}, []string{"65 CPUs"}},
		"negative CPUs":   {Config{Image: image, CPUs: -1}, []string{"-1 CPUs"}},
		"many queues":     {Config{Image: image, Queues: 17}, []string{"17 queues"}},
		"long command":    {Config{Image: image, Command: strings.Repeat("x", 5000)}, []string{"command line of 5000"}},
		"absent disk":     {Config{Image: image, Disks: disks(dir + "/gone")}, []string{"gone", "no such file"}},
		"odd disk":        {Config{Image: image, Disks: disks(odd)}, []string{odd, "512"}},
		"disk folder":     {Config{Image: image, Disks: disks(dir)}, []string{dir}},
		"absent KVM":      {Config{Image: image, Accel: vcpu.AccelKVM, KVM: dir + "/kvm"}, []string{dir + "/kvm"}},
		"way without KVM": {Config{Image: image, UINTR: true, Way: vcpu.WayDirect, Accel: vcpu.AccelSoft}, []string{"direct way is for KVM"}},
		"locked disk":     {Config{Image: image, Disks: disks(locked)}, []string{"readonly"}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "locked disk" && os.Geteuid() == 0 {
				t.Skip("the superuser may write everything")
			}
			c.config.Disks = append([]Disk{{Path: good}}, c.config.Disks...)
			_, err := New(c.config)
			require.Error(t, err)
			for _, want := range c.wants {
				require.ErrorContains(t, err, want)
			}
			require.NotContains(t, err.Error(), "\n")
		})
	}
	after, err := os.ReadFile(good)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestATripleFaultEndsTheMachineWithAnError(t *testing.T) {
	elf, err := os.ReadFile(guestImage(t, "guest"))
	require.NoError(t, err)
	// The PVH entry point begins MOV EBX, ESI; LGDT: make it UD2 without an IDT.
	at := bytes.Index(elf, []byte{0x89, 0xde, 0x0f, 0x01})
	require.Positive(t, at)
	copy(elf[at:], []byte{0x0f, 0x0b})
	path := filepath.Join(t.TempDir(), "dies")
	require.NoError(t, os.WriteFile(path, elf, 0o600))
	eachEngine(t, func(t *testing.T, e engineCase) {
		m := newMachine(t, e.on(t, Config{Image: path}))
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_, err = m.Run(ctx)
		require.ErrorContains(t, err, "vCPU 0")
		require.NotErrorIs(t, err, context.DeadlineExceeded)
	})
}
