package bootable

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

const (
	maxLinks     = 32       // symbolic links on a way
	maxDepth     = 64       // directories on a way
	maxDirectory = 16 << 20 // bytes
	maxNames     = 1 << 16  // in a directory
)

type kind int

const (
	kindOther kind = iota
	kindFile
	kindDirectory
	kindLink
)

// node is a file, a directory or a symbolic link of a file system, which knows
// what to make of id.
type node struct {
	kind kind
	size int64
	id   uint64
}

// fileSystem is one that is read. Errors are fs.ErrNotExist, or ErrDisk.
type fileSystem interface {
	root() (node, error)
	// lookup finds a name in a directory.
	lookup(dir node, name string) (node, error)
	// names are those in a directory.
	names(dir node) ([]string, error)
	// content reads all of a file or a link, of node.size bytes.
	content(n node) ([]byte, error)
}

// volume is a partition and what is in it.
type volume struct {
	part partition
	kind string     // of file system, or of what else is there; "" is unknown
	fs   fileSystem // nil: not read
}

// String names it for the user.
func (v *volume) String() string {
	where := "the disk"
	if v.part.number > 0 {
		where = fmt.Sprintf("partition %d", v.part.number)
	}
	return fmt.Sprintf("%s (%s)", where, v.kind)
}

func openVolume(m *meter, p partition) (*volume, error) {
	v, s := &volume{part: p}, section{m, p.off, p.n}
	var err error
	if v.kind, err = identify(s); err != nil {
		return nil, err
	}
	switch v.kind {
	case "ext":
		v.fs, v.kind, err = openExt(s)
	case "FAT":
		v.fs, v.kind, err = openFAT(s)
	}
	if err != nil {
		// One that cannot be read does not keep the others from it.
		v.fs, v.kind = nil, err.Error()
	}
	return v, nil
}

// signatures tell what is in a partition.
var signatures = []struct {
	at    int
	magic string
	kind  string
}{
	{0x438, "\x53\xef", "ext"},
	{0, "XFSB", "XFS"},
	{0x10040, "_BHRfS_M", "btrfs"},
	{0, "LUKS\xba\xbe", "LUKS, encrypted"},
	{512, "LABELONE", "LVM"},
	{0x400, "\x10\x20\xf5\xf2", "F2FS"},
	{0, "hsqs", "squashfs"},
	{4086, "SWAPSPACE2", "swap"},
	{0x8001, "CD001", "ISO 9660"},
	{3, "NTFS    ", "NTFS"},
	{3, "EXFAT   ", "exFAT"},
}

// identify tells what s holds; "" is something else.
func identify(s section) (string, error) {
	head := make([]byte, min(s.n, 68<<10))
	if _, err := s.ReadAt(head, 0); err != nil {
		return "", err
	}
	for _, k := range signatures {
		if len(head) >= k.at+len(k.magic) && bytes.Equal(head[k.at:][:len(k.magic)], []byte(k.magic)) {
			return k.kind, nil
		}
	}
	if isFAT(head) {
		return "FAT", nil
	}
	return "", nil
}

// walk follows a path, also through symbolic links, to the last one if follow.
func (v *volume) walk(path string, follow bool) (node, error) {
	root, err := v.fs.root()
	if err != nil {
		return node{}, err
	}
	way, left, links := []node{root}, strings.Split(path, "/"), 0
	for len(left) > 0 {
		name := left[0]
		left = left[1:]
		here := way[len(way)-1]
		switch name {
		case "", ".":
			continue
		case "..":
			way = way[:max(1, len(way)-1)]
			continue
		}
		if here.kind != kindDirectory || len(way) == maxDepth {
			return node{}, fs.ErrNotExist
		}
		n, err := v.fs.lookup(here, name)
		if err != nil {
			return node{}, err
		}
		if n.kind != kindLink || len(left) == 0 && !follow {
			way = append(way, n)
			continue
		}
		if links++; links > maxLinks || n.size > 4096 {
			return node{}, fs.ErrNotExist
		}
		target, err := v.fs.content(n)
		if err != nil {
			return node{}, err
		}
		if strings.HasPrefix(string(target), "/") {
			way = way[:1]
		}
		left = append(strings.Split(string(target), "/"), left...)
	}
	return way[len(way)-1], nil
}

// read reads a file of limit bytes at most.
func (v *volume) read(path string, limit int) ([]byte, error) {
	n, err := v.walk(path, true)
	if err != nil {
		return nil, err
	}
	if n.kind != kindFile {
		return nil, fs.ErrNotExist
	}
	if n.size > int64(limit) {
		return nil, fmt.Errorf("%w: %s in %v is %d MiB, and %d MiB are read", ErrDisk, printable(path), v, n.size>>20, limit>>20)
	}
	b, err := v.fs.content(n)
	if err != nil {
		return nil, fmt.Errorf("%s in %v: %w", printable(path), v, err)
	}
	return b, nil
}

// list is the names in a directory; none if it is not there.
func (v *volume) list(path string) ([]string, error) {
	n, err := v.walk(path, true)
	if err != nil || n.kind != kindDirectory {
		return nil, ignoreAbsent(err)
	}
	return v.fs.names(n)
}

// config reads a boot loader's file; "" if it is not there.
func (v *volume) config(path string) (string, error) {
	b, err := v.read(path, maxConfig)
	return string(b), ignoreAbsent(err)
}

func ignoreAbsent(err error) error {
	if err == fs.ErrNotExist {
		return nil
	}
	return err
}

func readBytes(r io.ReaderAt, off int64, n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := r.ReadAt(b, off)
	return b, err
}

func u16(b []byte, at int) uint16 { return binary.LittleEndian.Uint16(b[at:]) }
func u32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
