package network

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gvmm/virtio/vnet"
)

// tapOrSkip makes an interface, where this process may.
func tapOrSkip(t *testing.T, name string) *TAP {
	tap, err := NewTAP(name)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = tap.Close() })
	return tap
}

func ipOrSkip(t *testing.T, args ...string) {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Skipf("ip %v: %v: %s", args, err, out)
	}
}

// whoHas is ARP's question for the host's address.
func whoHas(sender vnet.MAC, from, to [4]byte) []byte {
	f := append(append([]byte{}, everybody[:]...), sender[:]...)
	f = append(f, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	f = append(append(f, sender[:]...), from[:]...)
	return append(append(append(f, make([]byte, 6)...), to[:]...), make([]byte, 18)...)
}

func TestTAPCarriesFramesBothWays(t *testing.T) {
	tap := tapOrSkip(t, "gvmmtest1")
	ipOrSkip(t, "addr", "add", "10.200.78.1/24", "dev", tap.Name())
	question := [][]byte{whoHas(mac(1), [4]byte{10, 200, 78, 2}, [4]byte{10, 200, 78, 1})}
	require.False(t, tap.Transmit(vnet.Header{}, question), "the interface is down")
	require.Equal(t, uint64(1), tap.Stats.Dropped.Load())
	ipOrSkip(t, "link", "set", tap.Name(), "up")

	g := &guestStub{}
	tap.Start(g)
	require.True(t, tap.Transmit(vnet.Header{}, [][]byte{question[0][:3], nil, question[0][3:]}))
	answered := func() bool {
		for _, f := range g.taken() {
			if len(f) >= 42 && f[12] == 8 && f[13] == 6 && f[21] == 2 && bytes.Equal(f[:6], question[0][6:12]) {
				return true
			}
		}
		return false
	}
	eventually(t, func() bool { // the frame waits in the host for the guest's buffers
		g.give(8)
		return answered()
	})
	tap.Stop()
	tap.Stop()
	tap.Start(g)
	require.True(t, tap.Transmit(vnet.Header{}, question))
	eventually(t, func() bool { g.give(8); return answered() })
	require.NoError(t, tap.Close())
}

// A TCP segment larger than the interface's MTU reaches the host only if the offloads do.
func TestTAPTakesFramesThatTheHostIsToFinish(t *testing.T) {
	tap := tapOrSkip(t, "gvmmtest2")
	require.Equal(t, new(Port).Offloads(), tap.Offloads())
	ipOrSkip(t, "addr", "add", "10.200.79.1/24", "dev", tap.Name())
	ipOrSkip(t, "link", "set", tap.Name(), "up")
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 200, 79, 1)})
	require.NoError(t, err)
	defer socket.Close()
	i, err := net.InterfaceByName(tap.Name())
	require.NoError(t, err)

	frame := append(append(append([]byte{}, i.HardwareAddr...), make([]byte, 6)...), 8, 0)
	frame[6] = 2
	ip := []byte{0x45, 0, 0, 20 + 8 + 5, 0, 1, 0, 0, 64, 17, 0, 0, 10, 200, 79, 2, 10, 200, 79, 1}
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip))
	udp := binary.BigEndian.AppendUint16([]byte{0x13, 0x88}, uint16(socket.LocalAddr().(*net.UDPAddr).Port))
	pseudo := append(append([]byte{}, ip[12:20]...), 0, 17, 0, 13)
	udp = binary.BigEndian.AppendUint16(append(udp, 0, 13), sum(pseudo))
	frame = append(append(append(frame, ip...), udp...), "hello"...)
	h := vnet.Header{Flags: vnet.HdrNeedsCsum, CsumStart: 34, CsumOffset: 6}
	require.True(t, tap.Transmit(h, [][]byte{frame[:20], frame[20:]}))
	require.NoError(t, socket.SetReadDeadline(time.Now().Add(10*time.Second)))
	got := make([]byte, 100)
	n, from, err := socket.ReadFromUDP(got)
	require.NoError(t, err)
	require.Equal(t, "hello", string(got[:n]))
	require.Equal(t, "10.200.79.2:5000", from.String())
}

// sum is the Internet checksum's, of an even number of bytes.
func sum(p []byte) uint16 {
	v := uint32(0)
	for i := 0; i < len(p); i += 2 {
		v += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for v > 0xFFFF {
		v = v>>16 + v&0xFFFF
	}
	return uint16(v)
}

func TestTAPThatIsInUseIsRefused(t *testing.T) {
	tapOrSkip(t, "gvmmtest3")
	_, err := NewTAP("gvmmtest3")
	require.ErrorIs(t, err, ErrTAP)
	require.ErrorIs(t, err, unix.EBUSY)
	require.ErrorContains(t, err, "another program has it")
}

func TestTAPSaysWhatIsMissing(t *testing.T) {
	for err, want := range map[error]string{
		&fs.PathError{Op: "open", Path: tunPath, Err: unix.ENOENT}: "modprobe tun",
		&fs.PathError{Op: "open", Path: tunPath, Err: unix.EACCES}: "ip tuntap add tap9 mode tap user",
		unix.EPERM:  "ip tuntap add tap9 mode tap user",
		unix.EINVAL: "no TAP",
	} {
		require.ErrorContains(t, explain("tap9", err), want)
		require.ErrorIs(t, explain("tap9", err), ErrTAP)
	}
	for _, name := range []string{"", "a name that is too long"} {
		_, err := NewTAP(name)
		require.ErrorContains(t, err, "no interface's name")
	}
}

func TestFrameInTooManyPiecesIsDropped(t *testing.T) {
	var raw [vnet.HeaderSize]byte
	require.ErrorIs(t, writeFrame(-1, &raw, make([][]byte, maxVector)), unix.E2BIG)
	require.ErrorIs(t, writeFrame(-1, &raw, make([][]byte, maxVector-1)), unix.EBADF)
}
