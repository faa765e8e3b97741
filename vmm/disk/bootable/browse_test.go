package bootable

import (
	"bytes"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

func open(t testing.TB, disk []byte) *Disk {
	t.Helper()
	d, err := Open(bytes.NewReader(disk), int64(len(disk)))
	require.NoError(t, err)
	return d
}

func TestDirectoriesAndFilesAreListed(t *testing.T) {
	files := tree{"/a/file": "content", "/a/link": link("file"), "/a/lost": link("nowhere"), "/a/deep/x": "", "/sbin/init": "ELF", "/b": link("a")}
	disk := partitioned(t, "GPT", fatImage(t, 16, 8<<20, tree{"/EFI/x": "y"}), extImage(t, 8<<20, files))
	d := open(t, disk)
	require.Len(t, d.Volumes(), 2)
	require.Equal(t, 2, d.Root())
	v := d.Volumes()[1]
	require.Equal(t, 2, v.Number)
	require.True(t, v.Reads)
	want := []File{
		{Name: "deep", Type: fs.ModeDir, Size: 4096}, {Name: "file", Size: 7},
		{Name: "link", Type: fs.ModeSymlink, Size: 4, Target: "file"}, {Name: "lost", Type: fs.ModeSymlink, Size: 7, Target: "nowhere"},
	}
	for _, name := range []string{"/a", "a/", "/b", "/a/deep/.."} {
		list, err := v.List(name)
		require.NoError(t, err)
		want[0].Size = list[0].Size // the file system's block
		require.Equal(t, want, list, name)
	}
	for name, want := range map[string]File{"/a/file": want[1], "/a/link": want[2], "/a/lost": want[3]} {
		list, err := v.List(name)
		require.NoError(t, err)
		require.Equal(t, []File{want}, list, name)
	}
	_, err := v.List("/none")
	require.ErrorIs(t, err, fs.ErrNotExist)
	data, err := v.ReadFile("/a/link", 100)
	require.NoError(t, err)
	require.Equal(t, "content", string(data))
	_, err = v.ReadFile("/a/link", 6)
	require.ErrorIs(t, err, ErrDisk)
	list, err := d.Volumes()[0].List("/EFI")
	require.NoError(t, err)
	require.Equal(t, []File{{Name: "x", Size: 1}}, list)
}

func TestWhatIsNotReadSaysSo(t *testing.T) {
	disk := make([]byte, 1<<20)
	copy(disk, "hsqs")
	d := open(t, disk)
	require.Equal(t, -1, d.Root())
	v := d.Volumes()[0]
	require.Equal(t, "squashfs", v.Kind)
	require.False(t, v.Reads)
	_, err := v.List("/")
	require.ErrorContains(t, err, "squashfs")
	_, err = v.ReadFile("/x", 1)
	require.Error(t, err)
}

func FuzzBrowse(f *testing.F) {
	base := golden(f)
	f.Add([]byte{})
	f.Add(patch(0x438, 0))
	f.Fuzz(func(t *testing.T, patches []byte) {
		disk := patched(base, patches)
		d, err := Open(bytes.NewReader(disk), int64(len(disk)))
		if err != nil {
			return
		}
		for _, v := range d.Volumes() {
			list, err := v.List("/")
			if err != nil {
				continue
			}
			for _, file := range list {
				_, _ = v.List("/" + file.Name)
				_, _ = v.ReadFile(file.Name, 1<<20)
			}
		}
	})
}
