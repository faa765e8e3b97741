package image

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/partition/gpt"
)

// A disk is one partition between two gaps, which hold the tables and align it.
const (
	sectorSize = 512
	gap        = 1 << 20
)

// partition writes a partition table for one Linux root file system (Discoverable
// Partitions Specification, x86-64).
func partition(path string, size int64, disk, root string) error {
	b, err := file.OpenFromPath(path, false)
	if err != nil {
		return fmt.Errorf("image: partition table: %w", err)
	}
	defer b.Close()
	w, err := b.Writable()
	if err != nil {
		return fmt.Errorf("image: partition table: %w", err)
	}
	t := gpt.Table{
		LogicalSectorSize: sectorSize, PhysicalSectorSize: sectorSize, ProtectiveMBR: true, GUID: disk,
		Partitions: []*gpt.Partition{{
			Index: 1, Start: gap / sectorSize, End: uint64(size-gap)/sectorSize - 1, Type: gpt.LinuxRootX86_64, Name: "root", GUID: root,
		}},
	}
	if err := t.Write(w, size); err != nil {
		return fmt.Errorf("image: partition table: %w", err)
	}
	return nil
}

// mounted tells whether somebody has used the ext4 file system at an offset since it was
// made.
func mounted(r io.ReaderAt, offset int64) (bool, error) {
	var last [4]byte
	if _, err := r.ReadAt(last[:], offset+mountedOffset); err != nil {
		return false, fmt.Errorf("image: %w", err)
	}
	return binary.LittleEndian.Uint32(last[:]) != 0, nil
}
