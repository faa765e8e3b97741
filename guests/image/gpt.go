package image

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

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

// wasMounted tells whether somebody has used the image's file system since it was built.
func wasMounted(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var mounted [4]byte
	if _, err := f.ReadAt(mounted[:], gap+mountedOffset); err != nil && err != io.EOF {
		return false, err
	}
	return binary.LittleEndian.Uint32(mounted[:]) != 0, nil
}
