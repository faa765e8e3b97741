package image

import (
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestTreePutsMergedFoldersIntoUsr(t *testing.T) {
	x := newTree(time.Unix(1, 0))
	require.NoError(t, x.merge())
	require.NoError(t, x.write("lib/modules/1/a.ko", 0o644, []byte("a")))
	require.NoError(t, x.mkdir("bin", 0o755), "a package's own /bin is the link")
	require.NoError(t, x.write("./bin/true", 0o755, nil))
	require.Contains(t, x.entries, "usr/lib/modules/1/a.ko")
	require.Contains(t, x.entries, "usr/bin/true")
	require.Equal(t, "usr/bin", x.entries["bin"].link)
	data, err := x.read("/lib/modules/1/a.ko")
	require.NoError(t, err)
	require.Equal(t, "a", string(data))
}

func TestTreeRefusesWhatItCannotHold(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		e    entry
	}{
		"a name above the root":               {"a/../../b", entry{}},
		"a quotation mark":                    {`a"b`, entry{}},
		"a line end":                          {"a\nwrite /etc/passwd /x", entry{}},
		"a file below a file":                 {"file/x", entry{}},
		"a file where a folder is":            {"folder", entry{}},
		"a folder where a file is":            {"file", entry{mode: fs.ModeDir}},
		"a hard link to nothing":              {"l", entry{same: "none"}},
		"a hard link to a folder":             {"l", entry{same: "folder"}},
		"a hard link to itself":               {"file", entry{same: "file"}},
		"a hard link to what leaves the root": {"l", entry{same: "../file"}},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTree(time.Unix(1, 0))
			require.NoError(t, x.write("file", 0o644, nil))
			require.NoError(t, x.mkdir("folder", 0o755))
			require.ErrorIs(t, x.put(c.path, &c.e), errTree)
		})
	}
}

func TestTreeListsFoldersBeforeWhatIsInThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newTree(time.Unix(1, 0))
		for _, name := range rapid.SliceOf(rapid.StringMatching(`[a-c.+-]{1,3}(/[a-c.+-]{1,3}){0,3}`)).Draw(t, "names") {
			_ = x.write(name, 0o644, nil) // one may be below another's file
		}
		seen := map[string]bool{"": true}
		for _, name := range x.names() {
			above := ""
			for i, c := range name {
				if c == '/' {
					above = name[:i]
				}
			}
			require.True(t, seen[above], "%s before %s", name, above)
			seen[name] = true
		}
	})
}
