package vmm

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
)

// echoCode, entered by multiboot, says x, then echoes what arrives at COM1 by polling: at r it resets the machine, at q it
// ends it with status 3.
var echoCode = []byte{
	0x66, 0xba, 0xf8, 0x03, // start: mov $0x3f8,%dx
	0xb0, 'x', 0xee, // out 'x'
	0x66, 0xba, 0xfd, 0x03, 0xec, // wait: in LSR
	0xa8, 1, 0x74, 0xf7, // test $1,%al; jz wait
	0x66, 0xba, 0xf8, 0x03, 0xec, 0xee, // in RBR, out
	0x3c, 'r', 0x74, 0x08, // cmp; je reset
	0x3c, 'q', 0x75, 0xe9, // cmp; jne wait
	0xb0, 1, 0xe6, 0xf4, // out $1, $0xf4
	0x66, 0xba, 0xf9, 0x0c, 0xb0, 6, 0xee, // reset: out $6, 0xcf9
	0xf4, 0xeb, 0xfd, // hlt; jmp
}

// echoImage is a multiboot image that says itself where it is loaded.
func echoImage(t *testing.T) string {
	t.Helper()
	const base, flags = 0x100000, 1 << 16
	magic := uint32(0x1badb002)
	var b []byte
	for _, v := range []uint32{magic, flags, -(magic + flags), base, base, 0, 0, base + 32} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	path := filepath.Join(t.TempDir(), "echo")
	require.NoError(t, os.WriteFile(path, append(b, echoCode...), 0o600))
	return path
}

// onBoth runs a test on both engines, KVM where the host has it.
func onBoth(t *testing.T, test func(t *testing.T, accel vcpu.Accel)) {
	for _, accel := range []vcpu.Accel{vcpu.AccelKVM, vcpu.AccelSoft} {
		t.Run(accel.String(), func(t *testing.T) {
			engineCase{accel, vcpu.WayNone}.on(t, Config{})
			test(t, accel)
		})
	}
}

func TestAGuestThatResetsItsMachineBeginsAnew(t *testing.T) {
	image := echoImage(t)
	onBoth(t, func(t *testing.T, accel vcpu.Accel) {
		in, keys := io.Pipe()
		var out echoes
		out.reply = func(b byte) { // a key each time the guest says x; what was typed before is lost with the old port
			if b == 'x' {
				go func() { _, _ = keys.Write([]byte{"rrq"[min(out.xs-1, 2)]}) }()
			}
		}
		m := newMachine(t, Config{Image: image, Accel: accel, Serial: &out, Input: in})
		require.Equal(t, 3, run(t, m))
		require.Equal(t, "xrxrxq", out.String())
		require.Equal(t, 2, m.Report().Resets)
		require.NoError(t, keys.Close())
	})
}

// echoes is a terminal whose user answers.
type echoes struct {
	bytes.Buffer
	xs    int
	reply func(b byte)
}

func (e *echoes) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == 'x' {
			e.xs++
		}
		e.reply(b)
	}
	return e.Buffer.Write(p)
}

func TestWhatArrivesBeforeTheGuestReadsIsNotLost(t *testing.T) {
	image := echoImage(t)
	text := bytes.Repeat([]byte("all of this "), 100)
	onBoth(t, func(t *testing.T, accel vcpu.Accel) {
		var out bytes.Buffer
		m := newMachine(t, Config{Image: image, Accel: accel, Serial: &out, Input: io.MultiReader(bytes.NewReader(text), bytes.NewReader([]byte("q")))})
		require.Equal(t, 3, run(t, m))
		require.Equal(t, "x"+string(text)+"q", out.String())
	})
}

func TestAResetEndsTheMachineWhereItIsToldTo(t *testing.T) {
	m := newMachine(t, Config{Image: echoImage(t), Accel: vcpu.AccelSoft, Input: bytes.NewReader([]byte("r")), NoReset: true})
	_, err := m.Run(context.Background())
	require.ErrorIs(t, err, ErrReset)
}
