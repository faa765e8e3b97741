package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"gvmm/vmm/boot"
	"gvmm/vmm/disk"
	"gvmm/vmm/disk/bootable"
)

// ErrInspect wraps what keeps an image from being looked into.
var ErrInspect = errors.New("image: inspect")

// An Inspection is what an image holds.
type Inspection struct {
	Path      string      `json:"path"`
	Kind      string      `json:"kind"`             // as gvmm run tells it
	Detail    string      `json:"detail,omitempty"` // more of that, in words
	Format    string      `json:"format,omitempty"` // of a disk: raw or qcow2
	Backing   []string    `json:"backing,omitempty"`
	Size      int64       `json:"size"`      // of the disk, or of the file, bytes
	Allocated int64       `json:"allocated"` // that the file takes on the host, bytes
	Version   string      `json:"version,omitempty"`
	Command   string      `json:"command_line,omitempty"` // that the image gives its kernel
	Kernel    int64       `json:"kernel_bytes,omitempty"`
	Initrd    int64       `json:"initrd_bytes,omitempty"`
	From      string      `json:"from,omitempty"`      // where in a disk the kernel is, and what names it
	NoKernel  string      `json:"no_kernel,omitempty"` // why a disk boots nothing
	Parts     []Partition `json:"partitions,omitempty"`
	Manifest  *Manifest   `json:"manifest,omitempty"` // of an image that Build made
	Used      bool        `json:"used,omitempty"`     // and mounted since
}

// A Partition is a part of a disk; number 0 is all of one that has no table.
type Partition struct {
	Number     int    `json:"number"`
	Offset     int64  `json:"offset"`
	Size       int64  `json:"size"`
	Filesystem string `json:"filesystem,omitempty"` // or what else is there
}

// Inspect tells what an image is and holds: a kernel in any form, or a disk. What is
// neither is described too; an error is one of reading.
func Inspect(path string) (*Inspection, error) {
	f, err := boot.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInspect, err)
	}
	defer f.Close()
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInspect, err)
	}
	id := boot.Identify(f.Source)
	i := &Inspection{Path: path, Kind: id.Kind.String(), Detail: id.Detail, Version: id.Version, Size: f.Size, Allocated: allocated(info)}
	switch {
	case id.Kind == boot.UKI:
		return i, i.unified(f.Source)
	case id.Kind.Disk():
		return i, i.disk()
	}
	return i, nil
}

// unified adds what a unified kernel image has besides its kernel.
func (i *Inspection) unified(s boot.Source) error {
	u, err := boot.OpenUKI(s)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInspect, i.Path, err)
	}
	i.Kernel, i.Command = u.Kernel.Size, u.Command
	for _, r := range u.Initrds {
		i.Initrd += r.Size
	}
	return nil
}

// disk adds a disk's partitions and what it boots.
func (i *Inspection) disk() error {
	return openDisk(i.Path, func(image reader, d *bootable.Disk) error {
		description := image.Describe()
		i.Format, i.Size, i.Backing = description.Format.String(), description.Size, description.Backing
		for _, v := range d.Volumes() {
			i.Parts = append(i.Parts, Partition{v.Number, v.Offset, v.Size, v.Kind})
		}
		i.boots(image)
		var err error
		if i.Manifest, err = manifestIn(d); err == nil {
			i.Used, err = mounted(image, gap)
		}
		if errors.Is(err, errManifest) {
			err = nil
		}
		return err
	})
}

// boots adds the kernel that a disk boots, or why it boots none.
func (i *Inspection) boots(image reader) {
	found, err := bootable.Find(image, image.Size())
	if err != nil {
		i.NoKernel = err.Error()
		return
	}
	id := boot.Identify(boot.Bytes(found.What, found.Kernel))
	i.Version, i.Command, i.From = id.Version, found.Command, found.What
	i.Kernel, i.Initrd = int64(len(found.Kernel)), int64(len(found.Initrd))
	if err := id.Err(); err != nil {
		i.NoKernel = fmt.Sprintf("%s is %v", found.What, err)
	}
}

// A reader is a disk image as an io.ReaderAt.
type reader struct{ disk.Image }

// ReadAt implements io.ReaderAt.
func (r reader) ReadAt(p []byte, off int64) (int, error) {
	if off >= r.Size() {
		return 0, io.EOF
	}
	short := int64(len(p)) > r.Size()-off
	if short {
		p = p[:r.Size()-off]
	}
	n, err := r.Image.ReadAt([][]byte{p}, off)
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// openDisk opens an image to read it only.
func openDisk(path string, do func(image reader, d *bootable.Disk) error) error {
	opened, err := disk.Open(path, disk.Options{ReadOnly: true, Engine: disk.EngineSync})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInspect, err)
	}
	defer opened.Close()
	image := reader{opened}
	d, err := bootable.Open(image, image.Size())
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInspect, path, err)
	}
	return do(image, d)
}

// List lists a directory, or one file, in a disk: in a partition, or in the one that holds
// a system where partition is negative.
func List(path string, partition int, name string) (list []bootable.File, err error) {
	if err := isDisk(path); err != nil {
		return nil, err
	}
	err = openDisk(path, func(_ reader, d *bootable.Disk) error {
		number := partition
		if number < 0 {
			number = d.Root()
		}
		for _, v := range d.Volumes() {
			if v.Number == number {
				var err error
				if list, err = v.List(name); err != nil {
					return fmt.Errorf("%w: %s: %w", ErrInspect, path, err)
				}
				return nil
			}
		}
		if partition < 0 {
			return fmt.Errorf("%w: %s: no file system in it is one that is read: ext2 to ext4 and FAT are", ErrInspect, path)
		}
		return fmt.Errorf("%w: %s has no partition %d", ErrInspect, path, partition)
	})
	return list, err
}

// isDisk refuses what is something else than a disk, or cannot be read. What is nothing
// known may be a disk of a kind that boot does not know.
func isDisk(path string) error {
	f, err := boot.Open(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInspect, err)
	}
	defer f.Close()
	id := boot.Identify(f.Source)
	if id.Kind.Disk() || id.Kind == boot.Unknown {
		return nil
	}
	what := id.Kind.String()
	if id.Detail != "" {
		what += ", " + id.Detail
	}
	return fmt.Errorf("%w: %s is not a disk: %s", ErrInspect, path, what)
}

var errManifest = errors.New("image: no manifest")

// ReadManifest reads the manifest in an image that Build made.
func ReadManifest(path string) (m *Manifest, err error) {
	err = openDisk(path, func(_ reader, d *bootable.Disk) error {
		m, err = manifestIn(d)
		return err
	})
	return m, err
}

func manifestIn(d *bootable.Disk) (*Manifest, error) {
	for _, v := range d.Volumes() {
		if !v.Reads {
			continue
		}
		text, err := v.ReadFile("/"+ManifestPath, maxManifest)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errManifest, err)
		}
		m, err := parseManifest(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errManifest, err)
		}
		return m, nil
	}
	return nil, errManifest
}
