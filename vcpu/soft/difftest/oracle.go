package difftest

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

// ErrUnavailable is a host without gcc or not an amd64.
var ErrUnavailable = errors.New("difftest: the host cannot be asked")

//go:embed child/child.c
var source []byte

// patience is how long a batch may take.
const patience = 20 * time.Second

// Oracle is the child process. It is not for several goroutines at once.
type Oracle struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *os.File
	memory []byte
	*shared
}

// Start builds the child in dir and starts it.
func Start(dir string) (*Oracle, error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil || !cpu.X86.HasSSE2 {
		return nil, fmt.Errorf("%w: gcc on an amd64 is needed", ErrUnavailable)
	}
	file, program := filepath.Join(dir, "child.c"), filepath.Join(dir, "child")
	if err := os.WriteFile(file, source, 0o600); err != nil {
		return nil, fmt.Errorf("difftest: %w", err)
	}
	build := exec.Command(gcc, "-O2", "-fPIE", "-pie", "-fno-stack-protector", "-fcf-protection=none", "-o", program, file)
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("difftest: gcc: %w\n%s", err, text)
	}
	fd, err := unix.MemfdCreate("difftest", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("difftest: memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "difftest")
	defer f.Close()
	if err := f.Truncate(int64(sharedSize)); err != nil {
		return nil, fmt.Errorf("difftest: %w", err)
	}
	memory, err := unix.Mmap(fd, 0, sharedSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("difftest: mmap: %w", err)
	}
	o := &Oracle{cmd: exec.Command(program), memory: memory, shared: view(memory)}
	if err := o.start(f); err != nil {
		_ = unix.Munmap(memory)
		return nil, err
	}
	return o, nil
}

func (o *Oracle) start(memory *os.File) error {
	out, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("difftest: %w", err)
	}
	o.out = out
	o.cmd.Stdout, o.cmd.Stderr, o.cmd.ExtraFiles = w, os.Stderr, []*os.File{memory}
	if o.in, err = o.cmd.StdinPipe(); err == nil {
		err = o.cmd.Start()
	}
	_ = w.Close()
	if err != nil {
		_ = out.Close()
		return fmt.Errorf("difftest: start: %w", err)
	}
	if err := o.wait(); err != nil {
		_ = out.Close()
		_ = o.in.Close()
		return fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	return nil
}

// wait reads the byte that says that the child is done.
func (o *Oracle) wait() error {
	if err := o.out.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("difftest: %w", err)
	}
	var b [1]byte
	if _, err := io.ReadFull(o.out, b[:]); err != nil {
		_ = o.cmd.Process.Kill()
		return fmt.Errorf("difftest: the child ended: %w (%v)", err, o.cmd.Wait())
	}
	return nil
}

// Wide reports that the host's linear addresses have 57 bits.
func (o *Oracle) Wide() bool { return o.wide != 0 }

// Run executes up to Batch cases, each with ScratchSize bytes of memory at Scratch,
// and appends their results to into. After an error the oracle is of no more use.
func (o *Oracle) Run(memory []byte, cases []Case, into []Result) ([]Result, error) {
	if len(cases) > Batch || len(memory) != ScratchSize {
		return into, fmt.Errorf("difftest: a batch of %d cases, %d bytes", len(cases), len(memory))
	}
	copy(o.shared.memory[:], memory)
	for i := range cases {
		t, c := &o.tests[i], &cases[i]
		t.gpr, t.rflags, t.fx, t.n = c.GPR, c.RFLAGS, c.FX, uint32(copy(t.code[:], c.Bytes))
		if t.narrow = 0; c.Narrow {
			t.narrow = 1
		}
	}
	if err := binary.Write(o.in, binary.LittleEndian, uint32(len(cases))); err != nil {
		return into, fmt.Errorf("difftest: %w", err)
	}
	if err := o.wait(); err != nil {
		c := &cases[min(int(o.current), len(cases)-1)]
		return into, fmt.Errorf("%w\nin %s\nwith %x", err, c.Text(), c.GPR)
	}
	for i := range cases {
		r := &o.results[i]
		n := Result{State: State{r.gpr, r.rflags, r.fx}, RIP: r.rip, Trap: r.trap, Error: r.error, CR2: r.cr2, Offset: r.from}
		if r.to > r.from {
			n.Memory = append([]byte(nil), o.changed[i][:r.to-r.from]...)
		}
		if cases[i].Narrow {
			n.narrow()
		}
		switch r.trap {
		case trapBP:
			n.RIP--
			n.CR2 = 0
		case trapPF:
		default:
			n.CR2 = 0
		}
		into = append(into, n)
	}
	return into, nil
}

// Close ends the child.
func (o *Oracle) Close() error {
	_ = o.in.Close()
	err := o.cmd.Wait()
	_ = o.out.Close()
	return errors.Join(err, unix.Munmap(o.memory))
}
