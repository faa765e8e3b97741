package vmm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
)

// deviceModules are the drivers of the devices that these tests see Linux use, after linuxModules.
var deviceModules = []string{"char/hw_random/virtio-rng", "char/virtio_console"}

// devicesInit talks over hvc0: what is told there the test waits for.
const devicesInit = linuxMounts + `for m in %s; do insmod /modules/$m.ko; done
for d in /sys/bus/virtio/devices/*; do
	echo "device $(cat $d/device) packed $(cut -c 35 $d/features)"
done
echo "port $(cat /sys/class/virtio-ports/*/name 2>/dev/null)"
echo "disk $(sha256sum < /dev/vda)"
echo "disk again $(dd if=/dev/vda bs=256k 2>/dev/null | sha256sum)"
echo "rng $(cat /sys/class/misc/hw_random/rng_available)"
echo "random $(dd if=/dev/hwrng bs=4k count=16 iflag=fullblock 2>/dev/null | wc -c)"
exec 3<>/dev/hvc0
echo "size $(stty size <&3)"
stty -echo <&3
echo "what shall I say?" >&3
read -r line <&3
echo "heard $line"
for n in 1 2 3 4 5 6 7 8 9 10; do
	[ "$(stty size <&3)" = "$line" ] && break
	sleep 0.1
done
echo "size now $(stty size <&3)"
stty raw <&3
cat /blob >&3
echo "warnings $(dmesg | grep -c -e WARNING -e BUG -e 'Call Trace')"
poweroff -f
`

// person is at the other end of a guest's console: answers once, after a question, and keeps what was said.
type person struct {
	question string
	asked    func() (answer string)

	mu    sync.Mutex
	heard bytes.Buffer
	done  bool
	out   *io.PipeWriter
}

func (p *person) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard.Write(b)
	if !p.done && bytes.Contains(p.heard.Bytes(), []byte(p.question)) {
		p.done = true
		go func() { _, _ = io.WriteString(p.out, p.asked()) }()
	}
	return len(b), nil
}

// devicesInitrd makes the initial RAM disk, with blob in it.
func devicesInitrd(t *testing.T, blob []byte) string {
	t.Helper()
	a, modules := newArchive(t, slices.Concat(linuxModules, deviceModules))
	a.add("blob", archiveProgram, blob)
	return a.write(t, fmt.Sprintf(devicesInit, modules))
}

// Linux's own drivers on packed queues: a disk, random numbers, and a console that is read, written and resized; the
// second time behind the IOMMU.
func TestLinuxUsesTheVirtioDevices(t *testing.T) {
	kernel := os.Getenv(linuxEnv)
	if kernel == "" || os.Getenv(modulesEnv) == "" {
		t.Skip("no kernel in ", linuxEnv, " or no modules in ", modulesEnv)
	}
	blob := make([]byte, 300_000)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(blob)
	initrd := devicesInitrd(t, blob)
	disk, diskSum := newDisk(t, 2<<20)
	for _, multiPort := range []bool{false, true} {
		t.Run(fmt.Sprint("multiport ", multiPort), func(t *testing.T) {
			in, out := io.Pipe()
			defer in.Close()
			who := &person{question: "what shall I say?", out: out}
			c := &Console{In: in, Out: who, MultiPort: multiPort, Name: "org.example.console"}
			c.Resize(100, 31)
			who.asked = func() string {
				c.Resize(132, 43)
				return "43 132\n"
			}
			var serial bytes.Buffer
			m := newMachine(t, Config{
				Image: kernel, Initrd: initrd, Command: "console=ttyS0 cryptomgr.notests panic=-1 quiet", Memory: 512 * MiB, CPUs: 2,
				Accel: vcpu.AccelSoft, Serial: &serial, Posted: true, Disks: []Disk{{Path: disk, ReadOnly: true}}, Console: c,
				IOMMU: multiPort,
			})
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			status, err := m.Run(ctx)
			require.NoError(t, err, serial.String())
			require.Zero(t, status)
			m.Report() // stops the devices
			text := strings.ReplaceAll(serial.String(), "\r", "")
			for _, want := range []string{
				"device 0x0002 packed 1\n", "device 0x0003 packed 1\n", "device 0x0004 packed 1\n",
				"disk " + diskSum, "disk again " + diskSum, "rng virtio_rng.0", "random 65536\n",
				"heard 43 132\n", "warnings 0\n",
			} {
				require.Contains(t, text, want)
			}
			if multiPort { // in whose messages this Linux may take columns for rows
				require.Contains(t, text, "port org.example.console\n")
			} else {
				require.Contains(t, text, "size 31 100\n")
				require.Contains(t, text, "size now 43 132\n")
			}
			who.mu.Lock()
			defer who.mu.Unlock()
			tail := who.heard.Bytes()[max(0, who.heard.Len()-len(blob)):]
			require.Equal(t, sha256.Sum256(blob), sha256.Sum256(tail), "the last of %d bytes of output", who.heard.Len())
			t.Log(text)
		})
	}
}
