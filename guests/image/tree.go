package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// errTree wraps what a Tree cannot hold.
var errTree = errors.New("image: file tree")

// An entry is one name in a Tree.
type entry struct {
	mode     fs.FileMode // type and permissions; fs.ModeDir, fs.ModeSymlink or none of the types
	uid, gid int
	mtime    time.Time
	link     string // a symbolic link's target
	same     string // a hard link: the path of the entry that it is another name of
	data     []byte // a file's content, unless it is in the host's file
	file     string
	size     int64
}

// A tree is a file system as a list. Paths are relative to its root, with no leading
// slash; "" is the root, which always exists.
type tree struct {
	entries map[string]*entry
	epoch   time.Time // of what has no time of its own
}

// merged are the directories that Debian's root has as links into /usr.
var merged = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}

func newTree(epoch time.Time) *tree {
	t := &tree{entries: make(map[string]*entry), epoch: epoch}
	t.entries[""] = &entry{mode: fs.ModeDir | 0o755}
	return t
}

// merge makes /bin, /sbin and /lib* links into /usr: what is put there afterwards goes
// to /usr.
func (t *tree) merge() error {
	for _, d := range merged {
		if err := t.mkdir("usr/"+d, 0o755); err != nil {
			return err
		}
		if err := t.put(d, &entry{mode: fs.ModeSymlink | 0o777, link: "usr/" + d}); err != nil {
			return err
		}
	}
	return nil
}

// clean makes a path of the form that entries have, and refuses names that leave the
// root or that debugfs has no spelling for.
func clean(name string) (string, error) {
	if strings.ContainsAny(name, "\"\n\r\x00") {
		return "", fmt.Errorf("%w: %q: a quotation mark or a line end in a name", errTree, name)
	}
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", fmt.Errorf("%w: %q leaves the root", errTree, name)
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

// place is where a name lies, with the links of merge followed.
func (t *tree) place(name string) (string, error) {
	name, err := clean(name)
	if err != nil {
		return "", err
	}
	first, rest, below := strings.Cut(name, "/")
	if e := t.entries[first]; below && e != nil && e.mode&fs.ModeSymlink != 0 && e.link == "usr/"+first {
		return e.link + "/" + rest, nil
	}
	return name, nil
}

// put adds an entry, and the directories above it. A later file or link takes the place
// of an earlier one; a directory stays what it is.
func (t *tree) put(name string, e *entry) error {
	name, err := t.place(name)
	if err != nil {
		return err
	}
	if err := t.above(name); err != nil {
		return err
	}
	old := t.entries[name]
	switch {
	case old == nil:
	case old.mode.IsDir() && e.mode.IsDir(), slices.Contains(merged, name) && e.mode.IsDir():
		return nil
	case old.mode.IsDir() || e.mode.IsDir():
		return fmt.Errorf("%w: /%s is a directory and something else", errTree, name)
	}
	if e.same != "" {
		if e.same, err = t.place(e.same); err != nil {
			return err
		}
		if first := t.entries[e.same]; first == nil || !first.mode.IsRegular() || e.same == name {
			return fmt.Errorf("%w: /%s is a hard link to /%s, which is no file", errTree, name, e.same)
		}
	}
	if e.mtime.IsZero() {
		e.mtime = t.epoch
	}
	t.entries[name] = e
	return nil
}

// above makes the directories that a name lies in.
func (t *tree) above(name string) error {
	for i, c := range name {
		if c != '/' {
			continue
		}
		switch e := t.entries[name[:i]]; {
		case e == nil:
			t.entries[name[:i]] = &entry{mode: fs.ModeDir | 0o755, mtime: t.epoch}
		case !e.mode.IsDir():
			return fmt.Errorf("%w: /%s lies below /%s, which is no directory", errTree, name, name[:i])
		}
	}
	return nil
}

func (t *tree) mkdir(name string, mode fs.FileMode) error {
	return t.put(name, &entry{mode: fs.ModeDir | mode})
}

func (t *tree) write(name string, mode fs.FileMode, data []byte) error {
	return t.put(name, &entry{mode: mode, data: data, size: int64(len(data))})
}

func (t *tree) symlink(name, target string) error {
	return t.put(name, &entry{mode: fs.ModeSymlink | 0o777, link: target})
}

// has tells whether a name is taken.
func (t *tree) has(name string) bool {
	name, err := t.place(name)
	return err == nil && t.entries[name] != nil
}

// names are all paths but the root's, each after the directories that it lies in.
func (t *tree) names() []string {
	names := make([]string, 0, len(t.entries))
	for name := range t.entries {
		if name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// bytes is what the files hold, and an estimate of the blocks that carry it.
func (t *tree) bytes() (content, onDisk int64) {
	for _, e := range t.entries {
		content += e.size
		onDisk += (e.size+blockSize-1)/blockSize*blockSize + inodeSize
		if e.mode.IsDir() {
			onDisk += blockSize
		}
	}
	return content, onDisk
}

// read is a file's content.
func (t *tree) read(name string) ([]byte, error) {
	name, err := t.place(name)
	if err != nil {
		return nil, err
	}
	e := t.entries[name]
	if e != nil && e.same != "" {
		e = t.entries[e.same]
	}
	if e == nil || !e.mode.IsRegular() {
		return nil, fmt.Errorf("%w: /%s: %w", errTree, name, fs.ErrNotExist)
	}
	if e.file == "" {
		return e.data, nil
	}
	return os.ReadFile(e.file)
}

// content is a file's, open for reading.
type content interface {
	io.Reader
	io.ReaderAt
	io.Closer
}

// inMemory is content that needs no closing.
type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

// open reads a file without holding it in memory.
func (e *entry) open() (content, error) {
	if e.file == "" {
		return inMemory{bytes.NewReader(e.data)}, nil
	}
	return os.Open(e.file)
}
