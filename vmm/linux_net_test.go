package vmm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
	"gvmm/virtio/vnet"
	"gvmm/vmm/network"
)

// linuxNetModules are virtio-net's, in the order that they are loaded in.
var linuxNetModules = []string{
	"drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci_legacy_dev",
	"drivers/virtio/virtio_pci", "net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net",
}

const linuxNetInit = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /etc
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for m in %s; do insmod /modules/$m.ko; done
ifconfig lo 127.0.0.1 up
%s
echo "warnings $(dmesg | grep -c -e WARNING -e BUG -e 'Call Trace')"
echo finished
poweroff -f
`

// linuxNetInitrd makes an initial RAM disk that has the network device and runs script.
func linuxNetInitrd(t *testing.T, script string) string {
	t.Helper()
	dir := os.Getenv(modulesEnv)
	if os.Getenv(linuxEnv) == "" || dir == "" {
		t.Skip("no kernel in ", linuxEnv, " or no modules in ", modulesEnv)
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox on PATH (Debian: busybox-static): ", err)
	}
	const directory, program = 0o040755, 0o100755
	var a archive
	for _, d := range []string{"bin", "modules", "dev"} {
		a.add(d, directory, nil)
	}
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		return b
	}
	a.add("bin/busybox", program, read(busybox))
	var modules []string
	for _, m := range linuxNetModules {
		a.add("modules/"+filepath.Base(m)+".ko", program, read(filepath.Join(dir, "kernel", m+".ko")))
		modules = append(modules, filepath.Base(m))
	}
	a.add("init", program, fmt.Appendf(nil, linuxNetInit, strings.Join(modules, " "), script))
	a.add("TRAILER!!!", 0, nil)
	path := filepath.Join(t.TempDir(), "initrd")
	require.NoError(t, os.WriteFile(path, a.Bytes(), 0o600))
	return path
}

// linuxNet is a machine with Linux, these networks and a script for its init.
type linuxNet struct {
	machine *Machine
	out     transcript
}

// transcript is what COM1 said, to read while it goes on.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until the guest has said what, and is false if ctx ends first.
func (s *transcript) await(ctx context.Context, what string) bool {
	for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if strings.Contains(s.String(), what) {
			return true
		}
	}
	return false
}

func newLinuxNet(t *testing.T, script string, cpus int, networks ...Network) *linuxNet {
	l := new(linuxNet)
	l.machine = newMachine(t, Config{
		Image: os.Getenv(linuxEnv), Initrd: linuxNetInitrd(t, script), Command: "console=ttyS0 cryptomgr.notests panic=-1 quiet",
		Memory: 256 * MiB, CPUs: cpus, Accel: vcpu.AccelSoft, Serial: &l.out, Posted: true, NoReset: true, Networks: networks,
	})
	return l
}

func (l *linuxNet) run(ctx context.Context, t *testing.T) {
	status, err := l.machine.Run(ctx)
	require.NoError(t, err, l.out.String())
	require.Zero(t, status)
	require.Contains(t, l.out.String(), "finished", "the script ran to its end")
	require.Contains(t, l.out.String(), "warnings 0\r\n", l.out.String())
}

// said is what the guest wrote behind a word at the start of a line.
func (l *linuxNet) said(t *testing.T, word string) string {
	m := regexp.MustCompile(`(?m)^` + word + ` (.*)\r$`).FindStringSubmatch(l.out.String())
	require.NotNil(t, m, "%s in %s", word, l.out.String())
	return m[1]
}

// limited is a link of which a device learns less offloads than it has.
type limited struct {
	vnet.Link
	offloads vnet.Offloads
}

func (l limited) Offloads() vnet.Offloads { return l.offloads }

// mean is how long a network's transmitted frames were.
func mean(n NetworkReport) uint64 { return n.TxBytes / max(1, n.TxFrames) }

func TestLinuxGuestsTalkOverASwitch(t *testing.T) {
	all := new(network.Port).Offloads()
	for _, c := range []struct {
		name             string
		sender, receiver vnet.Offloads
	}{
		{"all offloads", all, all},
		{"no offloads", vnet.Offloads{}, vnet.Offloads{}},
		{"offloads of the sender's alone", all, vnet.Offloads{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := network.NewSwitch()
			connect := func(script string, o vnet.Offloads, mac vnet.MAC) *linuxNet {
				port, err := s.Port(network.PortOptions{Only: mac})
				require.NoError(t, err)
				return newLinuxNet(t, script, 1, Network{Kind: NetworkLink, Link: limited{port, o}, MAC: mac})
			}
			sender := connect(`ifconfig eth0 10.1.0.1 up
mkdir /tmp/www; head -c 10485760 /dev/urandom > /tmp/www/data
echo "sent $(sha256sum < /tmp/www/data)"
httpd -p 5000 -h /tmp/www
(echo hold | nc -l -p 5001 > /tmp/end; touch /tmp/done) &
while [ ! -e /tmp/done ]; do sleep 0.2; done; sleep 0.5`, c.sender, vnet.MAC{2, 0, 0, 0, 0, 1})
			receiver := connect(`ifconfig eth0 10.1.0.2 up
while ! ping -c 1 -W 1 10.1.0.1 > /dev/null; do :; done
ping -c 3 -s 5000 10.1.0.1 | grep received
while ! wget -q -O /tmp/got http://10.1.0.1:5000/data; do sleep 0.2; done
echo "got $(sha256sum < /tmp/got)"
while ! nc 10.1.0.1 5001 < /dev/null; do sleep 0.2; done
echo "address $(cat /sys/class/net/eth0/address)"`, c.receiver, vnet.MAC{2, 0, 0, 0, 0, 2})
			ctx, cancel := context.WithTimeout(context.Background(), 150*time.Second)
			defer cancel()
			var g sync.WaitGroup
			g.Go(func() { receiver.run(ctx, t) })
			g.Go(func() { sender.run(ctx, t) })
			g.Wait()
			require.Contains(t, receiver.out.String(), "3 packets received")
			require.Equal(t, "02:00:00:00:00:02", receiver.said(t, "address"))
			require.Equal(t, sender.said(t, "sent"), receiver.said(t, "got"))
			out, in := sender.machine.networks()[0], receiver.machine.networks()[0]
			t.Logf("sender %+v, receiver %+v", out, in)
			if c.sender.TxTSO4 {
				require.Greater(t, mean(out), uint64(1514), "frames left to be segmented")
			}
			require.Equal(t, c.sender.TxTSO4 && !c.receiver.RxTSO4, receiver.machine.cards[0].device.Stats(0).Completed.Load() > 0)
		})
	}
}

// newTAP makes an interface with an address on the host, in a test that may.
func newTAP(t *testing.T, name, address string) *network.TAP {
	tap, err := network.NewTAP(name)
	if err != nil {
		t.Skip(err)
	}
	for _, args := range [][]string{
		{"addr", "add", address, "dev", name}, {"link", "set", name, "up"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			_ = tap.Close()
			t.Skipf("ip %v: %v: %s", args, err, out)
		}
	}
	return tap
}

func TestLinuxGuestTalksOverATAP(t *testing.T) {
	linuxNetInitrd(t, "") // or skips
	tap := newTAP(t, "gvmmtest0", "10.200.77.1/24")
	listener, err := net.Listen("tcp", "10.200.77.1:0")
	require.NoError(t, err)
	defer listener.Close()
	data := bytes.Repeat([]byte("from host to guest and back "), 10<<20/28)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = c.Write(data)
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		c.Close()
		if c, err = listener.Accept(); err != nil {
			return
		}
		back, _ := io.ReadAll(c)
		if bytes.Equal(back, data) {
			_, _ = c.Write([]byte("equal\n"))
		}
		c.Close()
	}()
	l := newLinuxNet(t, fmt.Sprintf(`ifconfig eth0 10.200.77.2 up
while ! ping -c 1 -W 1 10.200.77.1 > /dev/null; do :; done
nc 10.200.77.1 %[1]d < /dev/null > /tmp/data
ls -l /tmp/data
echo "back $(nc 10.200.77.1 %[1]d < /tmp/data)"`, listener.Addr().(*net.TCPAddr).Port), 2,
		Network{Kind: NetworkLink, Link: tap, Queues: 2})
	ctx, cancel := context.WithTimeout(context.Background(), 150*time.Second)
	defer cancel()
	l.run(ctx, t)
	require.Equal(t, "equal", l.said(t, "back"), l.out.String())
	t.Logf("%+v", l.machine.networks())
}
