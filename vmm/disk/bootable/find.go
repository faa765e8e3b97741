package bootable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode"
)

// What is found is bounded by these, in bytes.
const (
	MaxKernel = 256 << 20
	MaxInitrd = 1 << 30

	maxConfig = 1 << 20 // of a boot loader
	// budget is what may be read of a disk: what is looked for, and as much
	// again for the ways there.
	budget = 2 * (MaxKernel + MaxInitrd)
	// readCost is added for each read, so that small ones end too.
	readCost = 256
)

var (
	// ErrNone means that the disk was read, and nothing to boot was in it.
	ErrNone = errors.New("bootable: no kernel in the disk")
	// ErrDisk wraps what is wrong with what a disk holds.
	ErrDisk = errors.New("bootable: damaged")
)

// Found is what a disk boots.
type Found struct {
	Kernel  []byte // as it stands there: a bzImage, an ELF or a unified kernel image
	Initrd  []byte // the files named, one after the other; nil is none
	Command string // of the kernel, as the boot loader would give it
	What    string // what was found, and where, for the user
	// Root is the number of the partition that holds a system, 0 if that is the
	// whole disk, -1 if none is known. Command may name no root or another one.
	Root int
}

// Find looks for what a disk of size bytes boots. An error is one sentence.
func Find(r io.ReaderAt, size int64) (*Found, error) {
	return look(&meter{r: r, size: size, left: budget})
}

func look(m *meter) (*Found, error) {
	d := &disk{reader: m}
	if err := d.mount(); err != nil {
		return nil, err
	}
	for _, way := range []func(*disk, *volume) (*Found, error){
		(*disk).entries, (*disk).grub, (*disk).unified, (*disk).extlinux, (*disk).plain,
	} {
		for _, v := range d.volumes {
			if v.fs == nil {
				continue
			}
			found, err := way(d, v)
			d.note(err)
			if found != nil {
				found.Root = d.root(v)
				return found, nil
			}
		}
	}
	return nil, d.nothing()
}

// disk is what is known of one.
type disk struct {
	reader  *meter
	volumes []*volume
	damage  error // the first that was met; it matters if nothing is found
}

func (d *disk) note(err error) {
	if d.damage == nil {
		d.damage = err
	}
}

// mount finds the disk's file systems.
func (d *disk) mount() error {
	parts, err := partitions(d.reader)
	if err != nil {
		return err
	}
	for _, p := range parts {
		v, err := openVolume(d.reader, p)
		if err != nil {
			return err
		}
		d.volumes = append(d.volumes, v)
	}
	return nil
}

// nothing says where was looked, and for what.
func (d *disk) nothing() error {
	var read, not []string
	for _, v := range d.volumes {
		if v.fs != nil {
			read = append(read, v.String())
		} else if v.kind != "" {
			not = append(not, v.String())
		}
	}
	var s strings.Builder
	if len(read) == 0 {
		s.WriteString("no ext2, ext3, ext4 or FAT file system is in it")
	} else {
		fmt.Fprintf(&s, "looked in %s for boot loader entries (/loader/entries), GRUB's, extlinux's and syslinux's configurations, unified kernel images (/EFI/Linux) and /boot/vmlinuz*",
			list(read))
	}
	if len(not) > 0 {
		fmt.Fprintf(&s, "; not read: %s", list(not))
	}
	if d.damage != nil {
		return fmt.Errorf("%w: %s; %w", ErrNone, printable(s.String()), d.damage)
	}
	return fmt.Errorf("%w: %s", ErrNone, printable(s.String()))
}

func list(s []string) string {
	if len(s) < 2 {
		return strings.Join(s, "")
	}
	return strings.Join(s[:len(s)-1], ", ") + " and " + s[len(s)-1]
}

// root is where a system is, preferably on v.
func (d *disk) root(v *volume) int {
	for _, v := range append([]*volume{v}, d.volumes...) {
		for _, init := range []string{"/sbin/init", "/usr/sbin/init", "/usr/lib/systemd/systemd", "/init"} {
			if v.fs == nil {
				continue
			}
			if n, err := v.walk(init, true); err == nil && n.kind == kindFile {
				return v.part.number
			}
		}
	}
	return -1
}

// candidate is a way to boot that a configuration names.
type candidate struct {
	kernel  string
	initrds []string
	command string
	from    string // where it stands
}

// load reads what a candidate names: from v, or, since a boot loader may have
// been told of another file system, from another. nil means that it is not all there.
func (d *disk) load(v *volume, c candidate) *Found {
	kernel, at := d.file(v, c.kernel, MaxKernel)
	if kernel == nil {
		return nil
	}
	f := &Found{Kernel: kernel, Command: strings.TrimSpace(c.command)}
	for _, name := range c.initrds {
		b, _ := d.file(v, name, MaxInitrd-len(f.Initrd))
		if b == nil {
			d.note(fmt.Errorf("%w: %s", ErrDisk, printable(fmt.Sprintf("%s names %s, which is not there", c.from, name))))
			return nil
		}
		f.Initrd = append(f.Initrd, b...)
		// Archives begin on a multiple of 4 bytes; zeroes are skipped between them.
		f.Initrd = append(f.Initrd, make([]byte, -len(f.Initrd)&3)...)
	}
	f.What = printable(fmt.Sprintf("%s in %s, by %s", c.kernel, at, c.from))
	return f
}

// printable is s without what a terminal would act on: names are the disk's.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// file reads a file, or what the boot loader may have meant by its name: the
// directory /boot is often a file system of its own. nil means that it is not there.
func (d *disk) file(v *volume, name string, limit int) ([]byte, *volume) {
	names := []string{name, "/boot" + name}
	if rest, ok := strings.CutPrefix(name, "/boot/"); ok {
		names[1] = "/" + rest
	}
	for _, v := range append([]*volume{v}, d.volumes...) {
		for _, name := range names {
			if v.fs == nil {
				continue
			}
			b, err := v.read(name, limit)
			if err == nil && len(b) > 0 {
				return b, v
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				d.note(err)
			}
		}
	}
	return nil, nil
}

// meter is a disk that can be read for so long.
type meter struct {
	r    io.ReaderAt
	size int64
	left int64
}

// ReadAt implements io.ReaderAt. Unlike others it wants all of p to be there.
func (m *meter) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || int64(len(p)) > m.size || off > m.size-int64(len(p)) {
		return 0, fmt.Errorf("%w: %d bytes at %d are not in the disk", ErrDisk, len(p), off)
	}
	if m.left -= int64(len(p)) + readCost; m.left < 0 {
		return 0, fmt.Errorf("%w: too much would have to be read", ErrDisk)
	}
	n, err := m.r.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("bootable: %w", err)
}

// section is [off, off+n) of a disk.
type section struct {
	*meter
	off, n int64
}

// ReadAt implements io.ReaderAt.
func (s section) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || int64(len(p)) > s.n || off > s.n-int64(len(p)) {
		return 0, fmt.Errorf("%w: %d bytes at %d are not in the partition", ErrDisk, len(p), off)
	}
	return s.meter.ReadAt(p, s.off+off)
}
