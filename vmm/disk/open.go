package disk

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"gvmm/virtio/blk"
)

// Open opens the image at path. Of the same image there may be any number of
// readers, or one writer.
func Open(path string, o Options) (Image, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	file, err := openFile(path, !o.ReadOnly && !o.Overlay)
	if err != nil {
		return nil, err
	}
	format, err := tell(file, o)
	if err != nil {
		unlock(file)
		file.Close()
		return nil, err
	}
	if format == FormatQCOW2 {
		return openQCOW2(file, o)
	}
	r, err := openRaw(file, o)
	if err != nil {
		return nil, err
	}
	if o.Overlay {
		return newOverlay(r, r, o)
	}
	return r.withEngine(o.Engine)
}

// openFile opens and locks a regular file or a block device.
func openFile(path string, write bool) (*os.File, error) {
	flags := unix.O_RDONLY
	if write {
		flags = unix.O_RDWR
	}
	// O_NONBLOCK so that nothing is waited for before the file's type is known.
	file, err := os.OpenFile(path, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	if err = prepare(file, write); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func prepare(file *os.File, write bool) error {
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if kind := info.Mode().Type(); kind != 0 && kind != os.ModeDevice {
		return fmt.Errorf("%w: %s is neither a regular file nor a block device", blk.ErrFile, file.Name())
	}
	if err := unix.SetNonblock(int(file.Fd()), false); err != nil {
		return fmt.Errorf("disk: %s: %w", file.Name(), err)
	}
	return lock(file, write)
}

// foreign are formats that are known and not read.
var foreign = []struct {
	name  string
	at    int64
	magic string
}{
	{"VMDK", 0, "KDMV"},
	{"VHDX", 0, "vhdxfile"},
	{"VHD", 0, "conectix"},
	{"VDI", 64, "\x7f\x10\xda\xbe"},
	{"QED", 0, "QED\x00"},
	{"Parallels", 0, "WithoutFreeSpace"},
}

// tell finds the format of an image, and judges what is wanted of it.
func tell(file *os.File, o Options) (Format, error) {
	name, format := file.Name(), o.Format
	var head [128]byte
	_, _ = file.ReadAt(head[:], 0) // what is not there is zero
	if format == FormatAuto {
		format = FormatRaw
		if bytes.HasPrefix(head[:], []byte(qcow2Magic)) {
			format = FormatQCOW2
		}
		for _, f := range foreign {
			if bytes.HasPrefix(head[f.at:], []byte(f.magic)) {
				return 0, fmt.Errorf("%w: %s looks like %s: qemu-img convert -O raw %s NEW.raw converts it (or format=raw, if it is the disk's bytes)",
					ErrImage, name, f.name, name)
			}
		}
	}
	switch {
	case format == FormatQCOW2 && !o.ReadOnly && !o.Overlay:
		return 0, fmt.Errorf("%w: %s is qcow2, which is not written to: add overlay (writes then last as long as the machine) or readonly, or convert it: qemu-img convert -O raw %s NEW.raw",
			ErrOptions, name, name)
	case format == FormatQCOW2 && o.Direct:
		return 0, fmt.Errorf("%w: %s is qcow2, and direct I/O is for raw images", ErrOptions, name)
	case format == FormatRaw && o.Backing:
		return 0, fmt.Errorf("%w: %s is raw, and has no backing file", ErrOptions, name)
	}
	return format, nil
}

func noUring(err error) error {
	return fmt.Errorf("%w: engine=uring: no io_uring here: %w (engine=threads does without)", ErrOptions, err)
}
