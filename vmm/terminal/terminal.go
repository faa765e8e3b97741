package terminal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Config is what a terminal is made of.
type Config struct {
	In      *os.File  // its input
	Message io.Writer // where help goes
	Leave   func()    // called, once, when the user wants to leave
	// Resized, if set, is told the window's size in characters when it is first read and at each change.
	Resized func(columns, rows int)
}

// Terminal is a person's input, or a file's. Read belongs to one goroutine; Close may be called from any, once.
type Terminal struct {
	config Config
	tty    bool
	wake   [2]*os.File // a pipe: closed, it ends Read
	escape escape
	left   bool

	mu     sync.Mutex
	before *unix.Termios // nil: not raw
	closed bool
	window chan os.Signal
}

// New returns a terminal that nobody has read yet.
func New(c Config) (*Terminal, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	return &Terminal{config: c, tty: IsTerminal(c.In), wake: [2]*os.File{r, w}}, nil
}

// IsTerminal tells whether f is a terminal.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Read implements io.Reader with what the guest is to get: at least one byte, or io.EOF at the input's end, when the
// user leaves, and after Close.
func (t *Terminal) Read(p []byte) (int, error) {
	if !t.tty {
		if !t.await() {
			return 0, io.EOF
		}
		return t.config.In.Read(p)
	}
	if err := t.raw(); err != nil {
		return 0, err
	}
	for len(p) > 0 {
		if t.left || !t.await() {
			return 0, io.EOF
		}
		// A key of escape's may become two.
		n, err := t.config.In.Read(p[:(len(p)+1)/2])
		if n == 0 || err != nil {
			return 0, errors.Join(err, io.EOF)
		}
		out, what := t.escape.filter(append([]byte(nil), p[:n]...), p[:0])
		if what&wishHelp != 0 {
			fmt.Fprint(t.config.Message, "\ngvmm: Ctrl-A x leaves, Ctrl-A Ctrl-A sends one Ctrl-A, Ctrl-A h says this\n")
		}
		if what&wishLeave != 0 {
			t.left = true
			t.config.Leave()
		}
		if len(out) > 0 {
			return len(out), nil
		}
	}
	return 0, nil
}

// await waits for input; false after Close.
func (t *Terminal) await() bool {
	fds := []unix.PollFd{
		{Fd: int32(t.config.In.Fd()), Events: unix.POLLIN},
		{Fd: int32(t.wake[0].Fd()), Events: unix.POLLIN},
	}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil, fds[1].Revents != 0:
			return false
		case fds[0].Revents != 0:
			return true
		}
	}
}

// raw makes the terminal raw, once.
func (t *Terminal) raw() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.before != nil || t.closed {
		return nil
	}
	fd := int(t.config.In.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	now := *before
	now.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	now.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	now.Cflag = now.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETSW, &now); err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	t.before = before
	t.watchSize()
	return nil
}

// Close gives the terminal back as it was, and ends a Read.
func (t *Terminal) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	t.ignoreSize()
	err := t.wake[1].Close()
	if t.before != nil {
		err = errors.Join(err, unix.IoctlSetTermios(int(t.config.In.Fd()), unix.TCSETSW, t.before))
	}
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	return nil
}
