package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"gvmm/vcpu"
	"gvmm/vmm"
	"gvmm/vmm/boot"
	"gvmm/vmm/disk/bootable"
)

// BootOptions shape the comparison of boots with QEMU.
type BootOptions struct {
	Kernel  string // a Linux kernel that both load, or a raw disk with one
	Initrd  string // "": the disk's, or none
	Command string
	Memory  uint64 // bytes
	CPUs    int
	Marker  string // what the kernel says on the serial console when the boot is over
	QEMU    string // program, sought in PATH
	CPU     string // QEMU's model
	Rounds  int    // of both engines, one after the other

	// Progress, if set, is called when a boot has ended.
	Progress func(done, total int)
}

// BootMarker is what Linux says right before its first program runs.
const BootMarker = "Run /init as init process"

// BootTimes are one engine's boots, in seconds from the start of the machine to the marker.
type BootTimes struct {
	Median float64   `json:"median_s"`
	Min    float64   `json:"min_s"`
	Max    float64   `json:"max_s"`
	All    []float64 `json:"all_s"`
}

// BootResult is the comparison's outcome.
type BootResult struct {
	Version string    `json:"qemu_version"`
	Rounds  int       `json:"rounds"`
	Command string    `json:"command_line"`
	CPUs    int       `json:"cpus"`
	Soft    BootTimes `json:"soft"`
	QEMU    BootTimes `json:"qemu"`
	Ratio   float64   `json:"ratio"` // of times, soft to QEMU: the median over the rounds
}

// Boot boots the same kernel on the software CPU and under QEMU's translator, alternating, and compares the time that
// each takes to its first program.
func Boot(ctx context.Context, o BootOptions) (*BootResult, error) {
	qemu, version, err := findQEMU(ctx, o.QEMU)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gvmm-boot-")
	if err != nil {
		return nil, &SetupError{err}
	}
	defer os.RemoveAll(dir)
	if err := o.unpack(dir); err != nil {
		return nil, &SetupError{err}
	}
	var soft, peer, ratios []float64
	for i := range o.Rounds {
		a, err := o.boot(ctx, o.runSoft)
		if err != nil {
			return nil, err
		}
		o.tell(2*i + 1)
		b, err := o.boot(ctx, func(ctx context.Context, w io.Writer) error { return o.runQEMU(ctx, qemu, w) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.QEMU, err)
		}
		o.tell(2*i + 2)
		soft, peer, ratios = append(soft, a), append(peer, b), append(ratios, ratio(a, b))
	}
	return &BootResult{
		Version: version, Rounds: o.Rounds, Command: o.Command, CPUs: o.CPUs,
		Soft: bootTimes(soft), QEMU: bootTimes(peer), Ratio: median(ratios),
	}, nil
}

// unpack puts what a disk boots into files, which QEMU's loader wants.
func (o *BootOptions) unpack(dir string) error {
	f, err := boot.Open(o.Kernel)
	if err != nil {
		return err
	}
	defer f.Close()
	if !boot.Identify(f.Source).Kind.Disk() {
		return nil
	}
	found, err := bootable.Find(f, f.Size)
	if err != nil {
		return fmt.Errorf("%s: %w", o.Kernel, err)
	}
	o.Kernel = filepath.Join(dir, "kernel")
	if err := os.WriteFile(o.Kernel, found.Kernel, 0o600); err != nil {
		return err
	}
	if found.Initrd == nil || o.Initrd != "" {
		return nil
	}
	o.Initrd = filepath.Join(dir, "initrd")
	return os.WriteFile(o.Initrd, found.Initrd, 0o600)
}

func (o *BootOptions) tell(done int) {
	if o.Progress != nil {
		o.Progress(done, 2*o.Rounds)
	}
}

func bootTimes(all []float64) BootTimes {
	t := BootTimes{Median: median(all), Min: all[0], Max: all[0], All: all}
	for _, s := range all {
		t.Min, t.Max = min(t.Min, s), max(t.Max, s)
	}
	return t
}

// boot times one boot, and ends it at the marker.
func (o *BootOptions) boot(ctx context.Context, run func(context.Context, io.Writer) error) (seconds float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := &marker{what: []byte(o.Marker), met: cancel}
	begin := time.Now()
	err = run(ctx, m)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.at.IsZero() {
		return m.at.Sub(begin).Seconds(), nil
	}
	if err == nil {
		err = errors.New("it ended")
	}
	var setup *SetupError
	if errors.As(err, &setup) || errors.Is(err, context.Canceled) {
		return 0, err
	}
	return 0, fmt.Errorf("%w before the kernel said %q: %s", err, o.Marker, m.tail())
}

func (o *BootOptions) runSoft(ctx context.Context, w io.Writer) error {
	_, err := Run(ctx, vmm.Config{
		Image: o.Kernel, Initrd: o.Initrd, Command: o.Command, Memory: o.Memory, CPUs: o.CPUs, Accel: vcpu.AccelSoft, Serial: w, NoReset: true,
	})
	return err
}

func (o *BootOptions) runQEMU(ctx context.Context, path string, w io.Writer) error {
	args := []string{
		"-accel", "tcg", "-machine", "pc", "-cpu", o.CPU, "-m", strconv.FormatUint(o.Memory>>20, 10), "-smp", strconv.Itoa(o.CPUs),
		"-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", o.Kernel, "-append", o.Command,
	}
	if o.Initrd != "" {
		args = append(args, "-initrd", o.Initrd)
	}
	var complaint bytes.Buffer
	c := exec.CommandContext(ctx, path, args...)
	c.Stdout, c.Stderr, c.WaitDelay = w, &complaint, time.Second
	if err := c.Run(); err != nil {
		return fmt.Errorf("%w %s", err, strings.TrimSpace(complaint.String()))
	}
	return nil
}

// marker is a serial console's reader that waits for a line.
type marker struct {
	what []byte
	met  func()

	mu   sync.Mutex
	text []byte // the last bytes
	at   time.Time
}

// markerText is how much of the console's text is kept.
const markerText = 4096

// Write implements io.Writer.
func (m *marker) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text = append(m.text, p...)
	if m.at.IsZero() && bytes.Contains(m.text[max(0, len(m.text)-len(p)-len(m.what)):], m.what) {
		m.at = time.Now()
		m.met()
	}
	if extra := len(m.text) - markerText; extra > markerText {
		m.text = append(m.text[:0], m.text[extra:]...)
	}
	return len(p), nil
}

// tail is the last line that the kernel said.
func (m *marker) tail() string {
	lines := bytes.Split(bytes.TrimSpace(m.text), []byte("\n"))
	return string(bytes.TrimSpace(lines[len(lines)-1]))
}
