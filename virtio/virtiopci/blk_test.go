package virtiopci_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/virtio/blk"
	"gvmm/virtio/virtiopci"
	"gvmm/virtio/virtiotest"
)

// A disk from doorbell to MSI-X: what the driver reads is the file, and each
// queue raises its own vector.
func TestDiskOnPCI(t *testing.T) {
	t.Run("split", func(t *testing.T) { testDisk(t, 0, virtiotest.NewDriver) })
	t.Run("packed", func(t *testing.T) { testDisk(t, packed, virtiotest.NewPacked) })
}

func testDisk(t *testing.T, format uint64, driver newDriver) {
	content := make([]byte, 64<<10)
	var seed [32]byte
	_, _ = rand.NewChaCha8(seed).Read(content)
	path := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	file, err := blk.OpenFile(path, false)
	require.NoError(t, err)
	defer file.Close()
	disk, err := blk.New(file, blk.Options{Queues: 2, QueueSize: 16})
	require.NoError(t, err)
	r := newRigFor(t, disk, func(o *virtiopci.Options) { o.Platform = virtiopci.PlatformRequired })

	require.NotZero(t, r.negotiate(version1|eventIdx|indirect|platform|1<<12|format)&featOK)
	require.Equal(t, uint64(len(content)/512), r.read(device, 8))
	drivers := []*virtiotest.Driver{r.queueOf(driver, 0, 16, 1), r.queueOf(driver, 1, 16, 2)}
	for n := range 3 {
		r.msix(n, uint64(0x40+n))
	}
	r.status(ack | drv | featOK | drvOK)
	const header, status, data = ramBase + 0x8_0000, ramBase + 0x8_0010, ramBase + 0x9_0000
	for i := range len(content) / 4096 {
		d := drivers[i%2]
		binary.LittleEndian.PutUint64(r.mem.Bytes(header+8, 8), uint64(i*8))
		d.AddIndirect(ramBase+0x7_0000,
			virtiotest.Desc{Addr: header, Len: 16},
			virtiotest.Desc{Addr: data + uint64(i)*4096, Len: 4096, Flags: virtiotest.Write},
			virtiotest.Desc{Addr: status, Len: 1, Flags: virtiotest.Write})
		d.SetUsedEvent(d.Seen())
		if d.Publish() {
			r.write(virtiopci.NotifyOffset+uint64(i%2)*4, 2, uint64(i%2))
		}
		eventually(t, "no interrupt", func() bool {
			sent := r.take()
			return len(sent) == 1 && sent[0].Data == uint32(0x41+i%2)
		})
		_, written, ok := d.Poll()
		require.True(t, ok)
		require.Equal(t, uint32(4097), written)
	}
	require.True(t, bytes.Equal(content, r.mem.Bytes(data, len(content))))
	require.Zero(t, r.status(0))
}
