package disk

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// drawImage is an image of random clusters and what it holds over below.
func drawImage(t *rapid.T, below []byte) (qcow2File, []byte) {
	q := qcow2File{bits: rapid.Uint32Range(9, 17).Draw(t, "bits"), clusters: map[int64]cluster{}}
	size := int64(1) << q.bits
	q.size = (rapid.Int64Range(1, 20*size).Draw(t, "size") + 511) &^ 511
	packed := zlib
	if rapid.Bool().Draw(t, "zstd") {
		q.compression, packed = 1, zstandard
	} else if rapid.Bool().Draw(t, "old") {
		q.version = 2
	}
	content := make([]byte, q.size)
	copy(content, below)
	for n := range (q.size + size - 1) / size {
		part := content[n*size : min((n+1)*size, q.size)]
		c := cluster{kind: rapid.SampledFrom([]int{absent, data, zero, packed}).Draw(t, "kind")}
		if c.kind == zero && q.version == 2 {
			c.kind = absent
		}
		switch c.kind {
		case zero:
			clear(part)
		case data, packed:
			copy(part, noise(len(part), uint64(n)))
			clear(part[len(part)/3 : len(part)/2])
			c.bytes = bytes.Clone(part)
		}
		q.clusters[n] = c
	}
	return q, content
}

func TestQCOW2ReadsWhatItWasMadeOf(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		var below []byte
		backing, format := "", ""
		for i := range rapid.IntRange(0, 2).Draw(rt, "layers") {
			q, content := drawImage(rt, below)
			q.backing, q.format = backing, format
			backing, format, below = []string{"a", "b"}[i], "qcow2", content
			require.NoError(rt, os.WriteFile(filepath.Join(dir, backing), q.build(t), 0o600))
		}
		if backing == "" && rapid.Bool().Draw(rt, "raw") {
			backing, format, below = "raw", "raw", noise(rapid.IntRange(0, 100).Draw(rt, "sectors")*512, 9)
			require.NoError(rt, os.WriteFile(filepath.Join(dir, backing), below, 0o600))
		}
		q, content := drawImage(rt, below)
		q.backing, q.format = backing, format
		path := filepath.Join(dir, "top")
		require.NoError(rt, os.WriteFile(path, q.build(t), 0o600))
		o := Options{ReadOnly: true, Backing: backing != ""}
		if rapid.Bool().Draw(rt, "overlay") {
			o.ReadOnly, o.Overlay = false, true
		}
		d, err := Open(path, o)
		require.NoError(rt, err)
		defer d.Close()
		require.Equal(rt, q.size, d.Size())
		for range 8 {
			off := rapid.Int64Range(0, q.size/512-1).Draw(rt, "sector") * 512
			n := rapid.Int64Range(0, (q.size-off)/512).Draw(rt, "sectors") * 512
			got := make([]byte, n)
			transfer(rt, d, rapid.IntRange(0, 2).Draw(rt, "how"), false, cutUp(rt, got), off)
			require.True(rt, bytes.Equal(content[off:][:n], got), "%d bytes at %d", n, off)
			if o.Overlay && n > 0 {
				b := noise(int(n), uint64(off))
				transfer(rt, d, 0, true, cutUp(rt, b), off)
				copy(content[off:], b)
			}
		}
	})
}

func small(t testing.TB) qcow2File {
	return qcow2File{bits: 12, size: 64 << 10, clusters: map[int64]cluster{
		0: {data, noise(4096, 1)}, 3: {zlib, make([]byte, 4096)}, 5: {zero, nil},
	}}
}

func TestQCOW2ThatCannotBeReadSaysWhy(t *testing.T) {
	be := binary.BigEndian
	for _, c := range []struct {
		name  string
		spoil func(f []byte) []byte
		want  string
	}{
		{"version", func(f []byte) []byte { be.PutUint32(f[4:], 4); return f }, "qcow2 version 4"},
		{"short", func(f []byte) []byte { return f[:80] }, "its header ends after 80 bytes"},
		{"cluster bits", func(f []byte) []byte { be.PutUint32(f[20:], 63); return f }, "clusters of 2^63 bytes"},
		{"no disk", func(f []byte) []byte { be.PutUint64(f[24:], 0); return f }, "a disk of 0 bytes"},
		{"odd disk", func(f []byte) []byte { be.PutUint64(f[24:], 1000); return f }, "a disk of 1000 bytes"},
		{"huge disk", func(f []byte) []byte { be.PutUint64(f[24:], 1<<63); return f }, "a disk of 9223372036854775808 bytes"},
		{"encrypted", func(f []byte) []byte { be.PutUint32(f[32:], 2); return f }, "encrypted"},
		{"huge L1", func(f []byte) []byte { be.PutUint32(f[36:], 1<<31); return f }, "an L1 table of 16384 MiB"},
		{"L1 too small", func(f []byte) []byte { be.PutUint32(f[36:], 0); return f }, "an L1 table of 0 entries, where its disk has 1"},
		{"L1 outside", func(f []byte) []byte { be.PutUint64(f[40:], 1<<40); return f }, "is not in the file"},
		{"L1 past the end", func(f []byte) []byte { be.PutUint32(f[36:], 1<<20); return f }, "is not in the file"},
		{"unknown feature", func(f []byte) []byte { f[72] = 0x80; return f }, "not known, 0x8000000000000000"},
		{"corrupt", func(f []byte) []byte { f[79] = 2; return f }, "qemu-img check"},
		{"external data", func(f []byte) []byte { f[79] = 4; return f }, "its data is in another file"},
		{"subclusters", func(f []byte) []byte { f[79] = 16; return f }, "extended_l2"},
		{"compression", func(f []byte) []byte { f[79], f[104] = 8, 7; return f }, "compression type 7"},
		{"header length", func(f []byte) []byte { be.PutUint32(f[100:], 1<<30); return f }, "a header of 1073741824 bytes"},
		{"backing name", func(f []byte) []byte { f[8], f[19] = 1, 10; return f }, "is not in the first cluster"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := put(t, "x.qcow2", c.spoil(small(t).build(t)))
			_, err := Open(path, Options{ReadOnly: true})
			require.ErrorIs(t, err, ErrImage)
			require.ErrorContains(t, err, "disk: image: "+path+": ")
			require.ErrorContains(t, err, c.want)
		})
	}
}

// The library would open whatever an image names; here nothing is opened
// unless that was asked for.
func TestBackingFileIsNotFollowedUnasked(t *testing.T) {
	secret := put(t, "secret", noise(4096, 7))
	q := small(t)
	q.backing, q.format = secret, "raw"
	path := put(t, "x.qcow2", q.build(t))
	_, err := Open(path, Options{ReadOnly: true})
	require.ErrorContains(t, err, path+" needs its backing file \""+secret+"\"")
	d := mustOpen(t, path, Options{ReadOnly: true, Backing: true})
	require.Equal(t, []string{secret}, d.Describe().Backing)
	require.True(t, bytes.Equal(make([]byte, 4096), readAll(t, d)[4096:8192]), "behind the end of what is below")
}

func TestBackingFileThatCannotBeUsedSaysWhy(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	for _, c := range []struct{ backing, format, want string }{
		{"absent", "raw", "no such file"},
		{"base", "", "does not say the format of its backing file"},
		{"base", "vmdk", `is "vmdk": raw and qcow2 are read`},
		{`json:{"driver":"nbd"}`, "raw", "is no file"},
		{"nbd://example.org/x", "raw", "is no file"},
		{fifo, "raw", "neither a regular file nor a block device"},
		{"x.qcow2", "qcow2", "more than 15 backing files"},
	} {
		q := small(t)
		q.backing, q.format = c.backing, c.format
		_, err := Open(put(t, "x.qcow2", q.build(t)), Options{ReadOnly: true, Backing: true})
		require.ErrorIs(t, err, ErrImage, c.want)
		require.ErrorContains(t, err, c.want)
	}
}

func TestCompressedClusterIsUnpackedOnce(t *testing.T) {
	q := qcow2File{bits: 16, size: 1 << 16, clusters: map[int64]cluster{0: {zlib, noise(1<<16, 1)}}}
	d := mustOpen(t, put(t, "x", q.build(t)), Options{ReadOnly: true})
	p := [][]byte{make([]byte, 4096)}
	_, err := d.ReadAt(p, 0)
	require.NoError(t, err)
	require.Less(t, testing.AllocsPerRun(50, func() { d.ReadAt(p, 8192) }), 1.0)
}

func TestQCOW2IsReadByManyAtOnce(t *testing.T) {
	q := qcow2File{bits: 12, size: 1 << 20, clusters: map[int64]cluster{}}
	var want []byte
	for n := range int64(256) {
		b := noise(4096, uint64(n))
		q.clusters[n] = cluster{[]int{data, zlib}[n%2], b}
		want = append(want, b...)
	}
	d := mustOpen(t, put(t, "x", q.build(t)), Options{Overlay: true})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			got := make([]byte, len(want))
			_, err := d.ReadAt([][]byte{got}, 0)
			if err != nil || !bytes.Equal(want, got) {
				t.Errorf("not what was written: %v", err)
			}
		})
	}
	all.Wait()
}

// QEMU's own tool agrees, where it is to be had.
func TestQEMUsImagesAreRead(t *testing.T) {
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skip("no qemu-img on this host")
	}
	dir := t.TempDir()
	content := noise(3<<20, 5)
	clear(content[1<<20 : 2<<20])
	for i := range content[:1<<20] {
		content[i] &= 0x0f // so that it can be compressed
	}
	raw := filepath.Join(dir, "raw")
	require.NoError(t, os.WriteFile(raw, content, 0o600))
	run := func(args ...string) {
		out, err := exec.Command(tool, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	for name, args := range map[string][]string{
		"plain":    {"-o", "compat=1.1"},
		"old":      {"-o", "compat=0.10"},
		"zlib":     {"-c"},
		"zstd":     {"-c", "-o", "compression_type=zstd"},
		"large":    {"-c", "-o", "cluster_size=2M"},
		"small":    {"-c", "-o", "cluster_size=512"},
		"metadata": {"-o", "preallocation=metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			run(append(append([]string{"convert", "-O", "qcow2"}, args...), raw, path)...)
			require.True(t, bytes.Equal(content, readAll(t, mustOpen(t, path, Options{ReadOnly: true}))))
			top := filepath.Join(dir, name+"-top")
			run("create", "-q", "-f", "qcow2", "-b", name, "-F", "qcow2", top, "4M")
			got := readAll(t, mustOpen(t, top, Options{ReadOnly: true, Backing: true}))
			require.True(t, bytes.Equal(content, got[:len(content)]))
			require.True(t, bytes.Equal(make([]byte, 1<<20), got[len(content):]))
		})
	}
}

// Whatever is in the file, opening and reading it ends, in bytes or an error.
func FuzzQCOW2(f *testing.F) {
	f.Add(small(f).build(f))
	q := small(f)
	q.backing, q.format, q.version = "below", "raw", 3
	f.Add(q.build(f))
	q = qcow2File{bits: 9, size: 1 << 16, compression: 1, clusters: map[int64]cluster{1: {zstandard, noise(512, 1)}, 127: {data, noise(512, 2)}}}
	f.Add(q.build(f))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "x")
		require.NoError(t, os.WriteFile(path, b, 0o600))
		d, err := Open(path, Options{ReadOnly: true, Format: FormatQCOW2})
		if err != nil {
			return
		}
		defer d.Close()
		p := make([]byte, 64<<10)
		for _, off := range []int64{0, d.Size() / 2 &^ 511, max(0, d.Size()-int64(len(p)))} {
			n := min(int64(len(p)), d.Size()-off)
			_, _ = d.ReadAt([][]byte{p[:n]}, off)
		}
	})
}
