package vmm

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"gvmm/virtio/blk"
	"gvmm/vmm/disk"
)

// DiskOptions say how a disk's image is used. The zero value writes to it in place.
type DiskOptions struct {
	Overlay bool        // writes go to a temporary overlay: the image is never changed
	Backing bool        // follow the backing files that a qcow2 image names
	Direct  bool        // past the host's page cache
	Format  disk.Format // [by its content]
	Engine  disk.Engine // how requests wait [io_uring where the host has it; with ICount they wait in turn]
	Limits  blk.Limits  // of its speed; not with ICount
}

// image is how d is opened.
func (d Disk) image(icount bool) (disk.Options, error) {
	o := disk.Options{
		ReadOnly: d.ReadOnly, Overlay: d.Overlay, Direct: d.Direct, Backing: d.Backing, Format: d.Format, Engine: d.Engine,
	}
	if !icount {
		return o, nil
	}
	switch {
	case d.Engine == disk.EngineUring || d.Engine == disk.EngineThreads:
		return o, fmt.Errorf("%w: disk %s: engine %v with counted instructions, which have it wait in turn (engine=sync)", ErrConfig, d.Path, d.Engine)
	case d.Limits != blk.Limits{}:
		return o, fmt.Errorf("%w: disk %s: limits are of real time, and time is virtual where instructions are counted", ErrConfig, d.Path)
	}
	o.Engine = disk.EngineSync
	return o, nil
}

// openDisks opens the configuration's disks, which stay open as long as the machine.
func (m *Machine) openDisks() error {
	for _, d := range m.config.Disks {
		o, err := d.image(m.config.ICount > 0)
		if err != nil {
			return err
		}
		image, err := disk.Open(d.Path, o)
		if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EROFS) {
			return fmt.Errorf("%w (a disk that is only read: --disk %s,readonly)", err, d.Path)
		}
		if err != nil {
			return err
		}
		m.disks = append(m.disks, image)
	}
	return nil
}

// addDisk puts the device of disk i on the bus.
func (m *Machine) addDisk(i int) error {
	name, about := fmt.Sprintf("disk%d", i), m.disks[i].Describe()
	o := blk.Options{
		Queues: m.config.queues(), Inline: m.config.ICount > 0, ReadOnly: about.ReadOnly, ID: name,
		BlockSize: about.BlockSize, Uncached: about.Direct, Limits: m.config.Disks[i].Limits,
	}
	if about.Engine == disk.EngineSync {
		o.Workers = -1
	}
	device, err := blk.New(m.disks[i], o)
	if err != nil {
		return err
	}
	dev, err := m.addVirtio(name, device, nil)
	if err != nil {
		return err
	}
	dev.disk = device
	return nil
}
