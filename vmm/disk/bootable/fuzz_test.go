package bootable

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"
)

// patched is base with bytes of it changed: 4 bytes where, 1 how many, then so
// many bytes.
func patched(base, patches []byte) []byte {
	b := bytes.Clone(base)
	for len(patches) >= 5 {
		at, n := int(binary.LittleEndian.Uint32(patches))%len(b), int(patches[4])
		n = copy(b[at:], patches[5:][:min(n, len(patches)-5)])
		patches = patches[5+n:]
	}
	return b
}

func patch(at int, value ...byte) []byte {
	return append(append(binary.LittleEndian.AppendUint32(nil, uint32(at)), byte(len(value))), value...)
}

// Whatever a file system holds, looking through it ends, and keeps to its limits.
func FuzzFileSystems(f *testing.F) {
	files := tree{
		"/loader/entries/a long name.conf": "linux /kernel\ninitrd /initrd\noptions x\n", "/kernel": noise(9000, 1), "/initrd": noise(600, 2),
	}
	bases := [][]byte{golden(f), fatImage(f, 12, 2*miB, files), fatImage(f, 16, 16*miB, files)}
	for i := range bases {
		f.Add(uint8(i), []byte{})
		for _, at := range []int{11, 13, 16, 22, 0x18, 0x400, 0x418, 0x428, 0x458, 0x4fe, 0x4c28, 0x4c2a, 0x4c2e} {
			f.Add(uint8(i), patch(at, 0xff, 0xff))
			f.Add(uint8(i), patch(at, 0))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, patches []byte) {
		b := patched(bases[int(which)%len(bases)], patches)
		m := &meter{r: bytes.NewReader(b), size: int64(len(b)), left: 32 * miB}
		found, err := look(m)
		if err == nil {
			require.NotEmpty(t, found.Kernel)
			require.LessOrEqual(t, len(found.Kernel), len(b))
			require.Equal(t, printable(found.What), found.What)
		}
	})
}

// Whatever a partition table says, its partitions are in the disk.
func FuzzPartitionTables(f *testing.F) {
	image := partitioned(f, "GPT", make([]byte, miB))
	f.Add(image[:40*512], uint8(3))
	f.Add(partitioned(f, "MBR", make([]byte, miB))[:40*512], uint8(0))
	f.Add([]byte{}, uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, mend uint8) {
		disk := make([]byte, max(4096, (len(b)+511)&^511))
		copy(disk, b)
		if mend&1 != 0 { // so that what is behind the checksums is met
			h := disk[512:1024]
			at, n := binary.LittleEndian.Uint64(h[72:]), uint64(binary.LittleEndian.Uint32(h[80:]))*uint64(binary.LittleEndian.Uint32(h[84:]))
			if at < uint64(len(disk)/512) && n <= uint64(len(disk))-at*512 {
				binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(disk[at*512:][:n]))
			}
			clear(h[16:20])
			if length := binary.LittleEndian.Uint32(h[12:]); length <= 512 {
				binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:length]))
			}
		}
		parts, err := partitions(&meter{r: bytes.NewReader(disk), size: int64(len(disk)), left: miB})
		if err != nil {
			require.ErrorIs(t, err, ErrDisk)
		}
		for _, p := range parts {
			require.GreaterOrEqual(t, p.off, int64(0))
			require.Positive(t, p.n)
			require.LessOrEqual(t, p.off, int64(len(disk))-p.n)
		}
	})
}

// A tree of extents that contains itself ends.
func TestExtentTreeThatContainsItselfEnds(t *testing.T) {
	disk := golden(t)
	// Every node of a tree, and there is one in each inode that is used, gets
	// depth 5 and a child that is the superblock's neighbour, a node like it.
	node := make([]byte, 1024)
	binary.LittleEndian.PutUint16(node, extentMagic)
	binary.LittleEndian.PutUint16(node[2:], 84)
	binary.LittleEndian.PutUint16(node[4:], 84)
	binary.LittleEndian.PutUint16(node[6:], 1)
	for i := range 84 {
		binary.LittleEndian.PutUint32(node[12+12*i+4:], 2000)
	}
	copy(disk[2000*1024:], node)
	for at := 0; at+60 < 1000*1024; at += 4 {
		if binary.LittleEndian.Uint16(disk[at:]) == extentMagic && disk[at+4] == 4 {
			copy(disk[at+2:], []byte{1, 0, 4, 0, 2, 0})
			binary.LittleEndian.PutUint32(disk[at+16:], 2000)
		}
	}
	_, err := find(disk)
	require.ErrorIs(t, err, ErrNone)
	require.ErrorIs(t, err, ErrDisk)
}
