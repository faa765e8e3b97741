package terminal

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// watchSize tells Resized of each size of the window. mu is held.
func (t *Terminal) watchSize() {
	if t.config.Resized == nil {
		return
	}
	t.window = make(chan os.Signal, 1)
	signal.Notify(t.window, unix.SIGWINCH)
	t.tellSize()
	window := t.window
	go func() {
		for range window {
			t.tellSize()
		}
	}()
}

// ignoreSize ends watchSize. mu is held.
func (t *Terminal) ignoreSize() {
	if t.window != nil {
		signal.Stop(t.window)
		close(t.window)
		t.window = nil
	}
}

func (t *Terminal) tellSize() {
	if w, err := unix.IoctlGetWinsize(int(t.config.In.Fd()), unix.TIOCGWINSZ); err == nil && w.Col > 0 && w.Row > 0 {
		t.config.Resized(int(w.Col), int(w.Row))
	}
}
