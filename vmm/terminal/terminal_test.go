package terminal

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func TestTheEscapeKey(t *testing.T) {
	for keys, want := range map[string]struct {
		guest string
		what  wish
	}{
		"hello\r":    {"hello\r", 0},
		"a\x01\x01b": {"a\x01b", 0},
		"a\x01xb":    {"a", wishLeave},
		"a\x01hb":    {"ab", wishHelp},
		"a\x01qb":    {"a\x01qb", 0},
		"\x03\x1a":   {"\x03\x1a", 0},
	} {
		var e escape
		out, what := e.filter([]byte(keys), nil)
		require.Equal(t, want.guest, string(out), "%q", keys)
		require.Equal(t, want.what, what, "%q", keys)
	}
}

func TestTheEscapeKeyDoesNotCareHowKeysArrive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOf(rapid.SampledFrom([]byte{1, 'a', 'h', 'q', 3})).Draw(t, "keys")
		var whole, parts escape
		want, _ := whole.filter(keys, nil)
		var got []byte
		for len(keys) > 0 {
			n := rapid.IntRange(1, len(keys)).Draw(t, "n")
			got, _ = parts.filter(keys[:n], got)
			keys = keys[n:]
		}
		require.Equal(t, string(want), string(got))
	})
}

// pty is a pseudo-terminal.
func pty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo-terminal: ", err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	slave, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	require.NoError(t, err)
	return s.Lflag&unix.ECHO != 0
}

func TestATerminalIsRawWhileItIsReadAndThenAsBefore(t *testing.T) {
	master, slave := pty(t)
	require.NoError(t, unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 132, Row: 50}))
	left, sizes := 0, make(chan [2]int, 4)
	var help bytes.Buffer
	term, err := New(Config{
		In: slave, Message: &help, Leave: func() { left++ },
		Resized: func(c, r int) { sizes <- [2]int{c, r} },
	})
	require.NoError(t, err)
	require.True(t, echoes(t, slave), "nobody has read it")

	read := make(chan []byte)
	go func() {
		all, err := io.ReadAll(term)
		if err != nil {
			t.Error(err)
		}
		read <- all
	}()
	require.Eventually(t, func() bool { return !echoes(t, slave) }, 10*time.Second, time.Millisecond)
	_, err = master.WriteString("ls\r\x03 \x01h.\x01x")
	require.NoError(t, err)
	require.Equal(t, "ls\r\x03 .", string(<-read), "Ctrl-C is the guest's")
	require.Equal(t, 1, left)
	require.Contains(t, help.String(), "Ctrl-A x")
	require.Equal(t, [2]int{132, 50}, <-sizes)
	require.NoError(t, term.Close())
	require.True(t, echoes(t, slave))
}

func TestClosingEndsARead(t *testing.T) {
	_, slave := pty(t)
	term, err := New(Config{In: slave})
	require.NoError(t, err)
	ended := make(chan error)
	go func() {
		_, err := term.Read(make([]byte, 8))
		ended <- err
	}()
	require.NoError(t, term.Close())
	require.ErrorIs(t, <-ended, io.EOF)
	require.True(t, echoes(t, slave))
}

func TestAFileIsPassedOnAsItIs(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	term, err := New(Config{In: r, Leave: func() { t.Error("left") }})
	require.NoError(t, err)
	text := strings.Repeat("\x01x", 100)
	_, err = w.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	got, err := io.ReadAll(term)
	require.NoError(t, err)
	require.Equal(t, text, string(got))
	require.NoError(t, term.Close())
}
