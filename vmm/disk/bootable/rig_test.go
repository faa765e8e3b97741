package bootable

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem"
	"github.com/diskfs/go-diskfs/filesystem/fat12"
	"github.com/diskfs/go-diskfs/filesystem/fat16"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/diskfs/go-diskfs/partition/mbr"
	"github.com/stretchr/testify/require"
)

const miB = 1 << 20

// tree is what a file system is to hold, by path: content, or a link.
type tree map[string]any

type link string

func noise(n int, seed uint64) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// ext makes a file system with mke2fs and options.
func extImage(t testing.TB, size int, files tree, options ...string) []byte {
	tool, err := exec.LookPath("mke2fs")
	if err != nil {
		if tool, err = exec.LookPath("/usr/sbin/mke2fs"); err != nil {
			t.Skip("no mke2fs on this host")
		}
	}
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
	for name, content := range files {
		at := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
		switch c := content.(type) {
		case link:
			require.NoError(t, os.Symlink(string(c), at))
		case []byte:
			require.NoError(t, os.WriteFile(at, c, 0o644))
		case string:
			require.NoError(t, os.WriteFile(at, []byte(c), 0o644))
		}
	}
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, int64(size)))
	out, err := exec.Command(tool, append(append([]string{"-q", "-F", "-d", dir}, options...), image)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	b, err := os.ReadFile(image)
	require.NoError(t, err)
	return b
}

func onFile(t testing.TB, size int) (*os.File, backend.Storage) {
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	require.NoError(t, f.Truncate(int64(size)))
	return f, file.New(f, false)
}

// fatImage makes a FAT file system of a width.
func fatImage(t testing.TB, width, size int, files tree) []byte {
	f, b := onFile(t, size)
	var made filesystem.FileSystem
	var err error
	switch width {
	case 12:
		made, err = fat12.Create(b, int64(size), 0, 512, "TEST", true)
	case 16:
		made, err = fat16.Create(b, int64(size), 0, 512, "TEST", true)
	case 32:
		made, err = fat32.Create(b, int64(size), 0, 512, "TEST", true)
	}
	require.NoError(t, err)
	for name, content := range files {
		if dir := strings.Trim(path.Dir(name), "/"); dir != "" {
			require.NoError(t, made.Mkdir(dir))
		}
		to, err := made.OpenFile(strings.TrimPrefix(name, "/"), os.O_CREATE|os.O_RDWR)
		require.NoError(t, err, name)
		b, ok := content.([]byte)
		if !ok {
			b = []byte(content.(string))
		}
		_, err = to.Write(b)
		require.NoError(t, err, name)
		require.NoError(t, to.Close())
	}
	require.NoError(t, made.Close())
	image, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	return image
}

// partitioned puts parts on a disk, a MiB apart, as partitions 1, 2, ...
func partitioned(t testing.TB, table string, parts ...[]byte) []byte {
	size := 2 * miB
	for _, p := range parts {
		size += len(p) + miB
	}
	f, b := onFile(t, size)
	w, err := b.Writable()
	require.NoError(t, err)
	g, m := &gpt.Table{LogicalSectorSize: 512, PhysicalSectorSize: 512, ProtectiveMBR: true}, &mbr.Table{LogicalSectorSize: 512, PhysicalSectorSize: 512}
	at := miB
	for i, p := range parts {
		_, err := f.WriteAt(p, int64(at))
		require.NoError(t, err)
		first, n := uint64(at/512), uint64(len(p)/512)
		g.Partitions = append(g.Partitions, &gpt.Partition{Index: i + 1, Start: first, End: first + n - 1, Type: gpt.LinuxFilesystem, Name: fmt.Sprint("part", i)})
		m.Partitions = append(m.Partitions, &mbr.Partition{Index: i + 1, Start: uint32(first), Size: uint32(n), Type: mbr.Linux})
		at += len(p) + miB
	}
	if table == "GPT" {
		err = g.Write(w, int64(size))
	} else {
		err = m.Write(w, int64(size))
	}
	require.NoError(t, err)
	image, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	return image
}

func find(disk []byte) (*Found, error) { return Find(bytes.NewReader(disk), int64(len(disk))) }

func mustFind(t testing.TB, disk []byte) *Found {
	f, err := find(disk)
	require.NoError(t, err)
	return f
}

// fake is a file system in memory.
type fake struct{ files tree }

func (f fake) at(name string) (node, error) {
	n := node{kind: kindDirectory}
	names := f.sorted()
	for i, file := range names {
		if file == name {
			n = node{kind: kindFile, id: uint64(i)}
			switch c := f.files[file].(type) {
			case string:
				n.size = int64(len(c))
			case link:
				n.kind, n.size = kindLink, int64(len(c))
			}
			return n, nil
		}
	}
	for i, file := range names {
		if strings.HasPrefix(file, strings.TrimSuffix(name, "/")+"/") {
			n.id = uint64(i)<<16 | uint64(len(strings.TrimSuffix(name, "/")))
			return n, nil
		}
	}
	return n, os.ErrNotExist
}

func (f fake) sorted() (names []string) {
	for name := range f.files {
		names = append(names, name)
	}
	newest(names)
	return names
}

func (f fake) path(dir node) string { return f.sorted()[dir.id>>16][:dir.id&0xffff] }

func (f fake) root() (node, error) { return f.at("/") }

func (f fake) lookup(dir node, name string) (node, error) { return f.at(f.path(dir) + "/" + name) }

func (f fake) names(dir node) (names []string, err error) {
	for file := range f.files {
		if rest, ok := strings.CutPrefix(file, f.path(dir)+"/"); ok {
			names = append(names, strings.Split(rest, "/")[0])
		}
	}
	return names, nil
}

func (f fake) content(n node) ([]byte, error) {
	switch c := f.files[f.sorted()[n.id]].(type) {
	case link:
		return []byte(c), nil
	case string:
		return []byte(c), nil
	}
	return nil, io.EOF
}
