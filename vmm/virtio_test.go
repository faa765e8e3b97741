package vmm

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
)

// names are the virtio devices on a machine's bus, in order.
func names(m *Machine) (list []string) {
	for _, d := range m.devices {
		list = append(list, d.name)
	}
	return list
}

func TestWhichMachinesHaveARandomNumberDevice(t *testing.T) {
	foreign, ours := echoImage(t), guestImage(t, "guest")
	for _, c := range []struct {
		name    string
		image   string
		entropy Entropy
		want    []string
	}{
		{"any image", foreign, EntropyAuto, []string{"rng"}},
		{"any image, off", foreign, EntropyOff, nil},
		{"an image made for this VMM", ours, EntropyAuto, nil},
		{"an image made for this VMM, on", ours, EntropyOn, []string{"rng"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, Config{Image: c.image, Entropy: c.entropy, Accel: vcpu.AccelSoft})
			require.Equal(t, c.want, names(m))
		})
	}
}

func TestEntropyIsReadAsItIsWritten(t *testing.T) {
	for _, e := range []Entropy{EntropyAuto, EntropyOn, EntropyOff} {
		got, err := ParseEntropy(e.String())
		require.NoError(t, err)
		require.Equal(t, e, got)
	}
	_, err := ParseEntropy("maybe")
	require.EqualError(t, err, "maybe: auto, on or off")
}

func TestSeededBytesRepeatAndAreOthersAfterAReset(t *testing.T) {
	read := func(seed uint64, resets int) []byte {
		b := make([]byte, 64)
		_, err := io.ReadFull(seeded(seed, resets), b)
		require.NoError(t, err)
		return b
	}
	require.Equal(t, read(1, 0), read(1, 0))
	require.NotEqual(t, read(1, 0), read(2, 0))
	require.NotEqual(t, read(1, 0), read(1, 1))
}

// A console's size and connections stay when a reset makes its device anew. Its input waits for a driver.
func TestTheConsoleOutlivesAReset(t *testing.T) {
	for _, icount := range []uint64{0, 1} {
		c := &Console{In: unread{t}, MultiPort: true, Name: "name"}
		c.Resize(80, 25)
		in, keys := io.Pipe()
		var out echoes
		out.reply = func(b byte) {
			if b == 'x' && out.xs == 1 {
				go func() { _, _ = keys.Write([]byte("r")) }()
			} else if b == 'x' {
				c.Resize(132, 1_000_000)
				go func() { _, _ = keys.Write([]byte("q")) }()
			}
		}
		m := newMachine(t, Config{
			Image: echoImage(t), Accel: vcpu.AccelSoft, Entropy: EntropyOff, ICount: icount, Console: c, Serial: &out, Input: in,
		})
		require.Equal(t, []string{"console"}, names(m))
		first := c.device
		require.Equal(t, 3, run(t, m))
		require.Equal(t, []string{"console"}, names(m))
		require.NotSame(t, first, c.device)
		p := make([]byte, 4)
		m.devices[0].transport.Reset()
		c.device.ReadConfig(0, p)
		require.Equal(t, []byte{132, 0, 0xFF, 0xFF}, p)
		require.NoError(t, keys.Close())
		silent := c.Silent()
		require.Equal(t, &Console{MultiPort: true, Name: "name", columns: 132, rows: 0xFFFF}, silent)
	}
	require.Nil(t, (*Console)(nil).Silent())
}

// unread fails its test when it is read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("read, without a driver")
	return 0, io.EOF
}
