package bootable

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// A Disk is a disk whose file systems are looked into, within the budget that Find has.
type Disk struct{ d *disk }

// Open reads a disk's partition table, and what its partitions begin with.
func Open(r io.ReaderAt, size int64) (*Disk, error) {
	d := &disk{reader: &meter{r: r, size: size, left: budget}}
	if err := d.mount(); err != nil {
		return nil, err
	}
	return &Disk{d}, nil
}

// A Volume is a partition, or a disk that has none.
type Volume struct {
	Number int    // from 1 as the table counts; 0 is the whole disk
	Offset int64  // bytes
	Size   int64  // bytes
	Kind   string // of file system, or what else is there; "" is unknown
	Reads  bool   // whether List and ReadFile can
	volume *volume
}

// Volumes are the disk's, in the order of its table.
func (d *Disk) Volumes() (list []Volume) {
	for _, v := range d.d.volumes {
		list = append(list, Volume{v.part.number, v.part.off, v.part.n, v.kind, v.fs != nil, v})
	}
	return list
}

// Root is the number of the partition that holds a system; else of the first that can be
// read, or -1.
func (d *Disk) Root() int {
	for _, v := range d.d.volumes {
		if v.fs != nil {
			if n := d.d.root(v); n >= 0 {
				return n
			}
			return v.part.number
		}
	}
	return -1
}

// A File is a name in a directory.
type File struct {
	Name   string
	Type   fs.FileMode // 0, fs.ModeDir, fs.ModeSymlink, or fs.ModeIrregular for what is none of them
	Size   int64       // bytes
	Target string      // of a symbolic link
}

// lister is a fileSystem that reads a directory in one go.
type lister interface {
	nodes(dir node, do func(name string, n node) bool) error
}

func (f *fat) nodes(dir node, do func(name string, n node) bool) error { return f.each(dir, do) }

func (e *ext) nodes(dir node, do func(name string, n node) bool) error {
	var failed error
	err := e.each(dir, func(name string, number uint64) bool {
		n, err := e.node(number)
		if err != nil {
			failed = err
			return false
		}
		return do(name, n)
	})
	if failed != nil {
		return failed
	}
	return err
}

// List lists a directory by name, or one file. It follows symbolic links on the way, and
// the last one if that leads to a directory. What is not there is fs.ErrNotExist.
func (v Volume) List(name string) ([]File, error) {
	l, ok := v.lister()
	if !ok {
		return nil, v.unread()
	}
	n, err := v.volume.walk(name, true)
	if err != nil || n.kind != kindDirectory {
		// A link to nowhere is listed as what it is.
		if n, err = v.volume.walk(name, false); err != nil {
			return nil, fmt.Errorf("%s in %v: %w", name, v.volume, err)
		}
		file, err := v.file(path.Base(path.Clean("/"+name)), n)
		return []File{file}, err
	}
	var list []File
	var failed error
	err = l.nodes(n, func(name string, n node) bool {
		if name == "." || name == ".." {
			return true
		}
		var f File
		if f, failed = v.file(name, n); failed == nil && len(list) == maxNames {
			failed = fmt.Errorf("%w: a directory of more than %d names", ErrDisk, maxNames)
		}
		list = append(list, f)
		return failed == nil
	})
	if failed == nil {
		failed = err
	}
	slices.SortFunc(list, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return list, failed
}

func (v Volume) lister() (l lister, ok bool) {
	if v.volume.fs != nil {
		l, ok = v.volume.fs.(lister)
	}
	return l, ok
}

func (v Volume) unread() error {
	return fmt.Errorf("bootable: %v: the file system is not one that is read: ext2 to ext4 and FAT are", v.volume)
}

func (v Volume) file(name string, n node) (File, error) {
	f := File{Name: name, Size: n.size}
	switch n.kind {
	case kindFile:
	case kindDirectory:
		f.Type = fs.ModeDir
	case kindLink:
		f.Type = fs.ModeSymlink
		if n.size > 4096 {
			return f, fmt.Errorf("%w: a symbolic link of %d bytes", ErrDisk, n.size)
		}
		target, err := v.volume.fs.content(n)
		f.Target = string(target)
		return f, err
	default:
		f.Type = fs.ModeIrregular
	}
	return f, nil
}

// ReadFile reads a file of limit bytes at most. What is not there, or no file, is
// fs.ErrNotExist.
func (v Volume) ReadFile(name string, limit int) ([]byte, error) {
	if v.volume.fs == nil {
		return nil, v.unread()
	}
	return v.volume.read(name, limit)
}
