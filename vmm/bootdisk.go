package vmm

import (
	"fmt"
	"slices"
	"strings"

	"gvmm/vmm/boot"
	"gvmm/vmm/disk"
	"gvmm/vmm/disk/bootable"
)

// diskImage makes an image that is a disk the machine's first one, which is then
// to be booted. Unless WriteImage says so, what the guest writes there is kept in
// an overlay, and the image is never changed.
func (c *Config) diskImage() (bool, error) {
	if c.Kernel != nil {
		return false, nil
	}
	f, err := boot.Open(c.Image)
	if err != nil {
		return false, fmt.Errorf("%w: %w", boot.ErrImage, err)
	}
	kind := boot.Identify(f.Source).Kind
	if err := f.Close(); err != nil {
		return false, fmt.Errorf("%w: %w", boot.ErrImage, err)
	}
	if !kind.Disk() {
		if c.WriteImage {
			return false, fmt.Errorf("%w: %s is %v, and only a raw disk is written to", ErrConfig, c.Image, kind)
		}
		return false, nil
	}
	d := Disk{Path: c.Image, DiskOptions: DiskOptions{Overlay: !c.WriteImage, Format: disk.FormatRaw}}
	if kind == boot.QCOW2 {
		d.Format = disk.FormatQCOW2
	}
	c.Disks = append([]Disk{d}, c.Disks...)
	return true, c.check()
}

// bootFrom has the machine boot what is found in a disk, its first one. It stays
// the machine's kernel: a reset does not look again.
func (c *Config) bootFrom(d disk.Image) error {
	found, err := bootable.Find(diskReader{d}, d.Size())
	if err != nil {
		return fmt.Errorf("%w: %s: %w", boot.ErrImage, c.Image, err)
	}
	kernel := boot.Bytes(c.Image+": "+found.What, found.Kernel)
	c.Kernel, c.Found = &kernel, found.Command
	if !hasWord(c.Found, "root") && found.Root >= 0 {
		c.Found = strings.TrimSpace(c.Found + " root=" + deviceName(found.Root))
	}
	if found.Initrd != nil && c.Initrd == "" { // the user's replaces it
		c.Initrds = append(slices.Clone(c.Initrds), boot.Bytes(c.Image+": its initial RAM disk", found.Initrd))
	}
	if c.Booting != nil {
		c.Booting(fmt.Sprintf("%s (%v)", found.What, d.Describe()))
	}
	return nil
}

func hasWord(command, name string) bool {
	return slices.ContainsFunc(strings.Fields(command), func(w string) bool { return strings.HasPrefix(w, name+"=") })
}

// deviceName is what Linux calls a partition of the first disk, or all of it.
func deviceName(partition int) string {
	if partition == 0 {
		return "/dev/vda"
	}
	return fmt.Sprintf("/dev/vda%d", partition)
}

// diskReader is a disk as an io.ReaderAt of any bytes.
type diskReader struct{ disk disk.Image }

// ReadAt implements io.ReaderAt.
func (r diskReader) ReadAt(p []byte, off int64) (int, error) {
	return r.disk.ReadAt([][]byte{p}, off)
}
