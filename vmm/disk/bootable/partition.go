package bootable

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	sector = 512

	maxPartitions = 256
	maxGPTBytes   = 1 << 20 // of entries

	mbrEntries   = 446
	mbrEntrySize = 16
	mbrGPT       = 0xee
)

// partition is a part of a disk, in bytes; number 0 is all of it.
type partition struct {
	number int
	off, n int64
}

// partitions reads a disk's partition table. A disk without one is a partition.
func partitions(m *meter) ([]partition, error) {
	whole := []partition{{0, 0, m.size}}
	if m.size < 2*sector {
		return whole, nil
	}
	for _, size := range []int64{sector, 4096} {
		for _, at := range []int64{size, m.size - size} {
			parts, err := readGPT(m, at, size)
			if err != nil || parts != nil {
				return parts, err
			}
		}
	}
	// A FAT boot sector ends like a partition table, and begins like none.
	if kind, err := identify(section{m, 0, m.size}); err != nil || kind == "FAT" {
		return whole, err
	}
	parts, err := readMBR(m)
	if err != nil || parts != nil {
		return parts, err
	}
	return whole, nil
}

// readGPT reads the table whose header is at a byte (UEFI 2.10 §5.3.2). nil means
// that there is none, or that its checksums say so.
func readGPT(m *meter, at, sectorSize int64) ([]partition, error) {
	if at < 0 || at+sectorSize > m.size {
		return nil, nil
	}
	b := make([]byte, sectorSize)
	if _, err := m.ReadAt(b, at); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	length, sum := le.Uint32(b[12:]), le.Uint32(b[16:])
	if !bytes.HasPrefix(b, []byte("EFI PART")) || length < 92 || int64(length) > sectorSize {
		return nil, nil
	}
	clear(b[16:20])
	if crc32.ChecksumIEEE(b[:length]) != sum {
		return nil, nil
	}
	first, count, each := le.Uint64(b[72:]), uint64(le.Uint32(b[80:])), uint64(le.Uint32(b[84:]))
	if each < 128 || each%8 != 0 || count*each > maxGPTBytes || first > uint64(m.size/sectorSize) {
		return nil, nil
	}
	table := make([]byte, count*each)
	if _, err := m.ReadAt(table, int64(first)*sectorSize); err != nil {
		return nil, nil //nolint:nilerr // the other header may know better
	}
	if crc32.ChecksumIEEE(table) != le.Uint32(b[88:]) {
		return nil, nil
	}
	parts := []partition{}
	for i := range int(count) {
		e := table[uint64(i)*each:][:128]
		if bytes.Equal(e[:16], make([]byte, 16)) {
			continue
		}
		parts = add(parts, m, i+1, le.Uint64(e[32:]), le.Uint64(e[40:]), sectorSize)
	}
	return parts, nil
}

// add adds the partition of sectors first to last, if the disk has them.
func add(parts []partition, m *meter, number int, first, last uint64, sectorSize int64) []partition {
	if first == 0 || last < first || last >= uint64(m.size/sectorSize) || len(parts) == maxPartitions {
		return parts
	}
	return append(parts, partition{number, int64(first) * sectorSize, int64(last-first+1) * sectorSize})
}

// readMBR reads the table in the first sector and, for logical partitions, in
// those that it leads to. nil means that there is none.
func readMBR(m *meter) ([]partition, error) {
	b := make([]byte, sector)
	if _, err := m.ReadAt(b, 0); err != nil {
		return nil, err
	}
	entries, ok := mbrTable(b)
	if !ok {
		return nil, nil
	}
	parts := []partition{}
	for i, e := range entries {
		switch {
		case e.kind == 0 || e.kind == mbrGPT || e.n == 0:
		case e.extended():
			var err error
			if parts, err = logical(m, parts, e.first); err != nil {
				return nil, err
			}
		default:
			parts = add(parts, m, i+1, e.first, e.first+e.n-1, sector)
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	return parts, nil
}

// logical follows the chain of tables of an extended partition: each has a
// partition relative to itself, and the next table relative to the first.
func logical(m *meter, parts []partition, extended uint64) ([]partition, error) {
	b, at := make([]byte, sector), extended
	for number := 5; number < 5+maxPartitions; number++ {
		if at >= uint64(m.size/sector) {
			return nil, fmt.Errorf("%w: a partition table at sector %d, which the disk does not have", ErrDisk, at)
		}
		if _, err := m.ReadAt(b, int64(at)*sector); err != nil {
			return nil, err
		}
		entries, ok := mbrTable(b)
		if !ok {
			break
		}
		if e := entries[0]; e.kind != 0 && e.n != 0 {
			parts = add(parts, m, number, at+e.first, at+e.first+e.n-1, sector)
		}
		if entries[1].kind == 0 || entries[1].first == 0 {
			break
		}
		at = extended + entries[1].first
	}
	return parts, nil
}

type mbrEntry struct {
	kind     byte
	first, n uint64 // sectors
}

func (e mbrEntry) extended() bool { return e.kind == 0x05 || e.kind == 0x0f || e.kind == 0x85 }

// mbrTable takes a sector for a partition table if nothing in it speaks against it.
func mbrTable(b []byte) (entries [4]mbrEntry, ok bool) {
	if b[510] != 0x55 || b[511] != 0xaa {
		return entries, false
	}
	for i := range entries {
		e := b[mbrEntries+i*mbrEntrySize:][:mbrEntrySize]
		if e[0]&0x7f != 0 { // active or not, and nothing else
			return entries, false
		}
		entries[i] = mbrEntry{e[4], uint64(binary.LittleEndian.Uint32(e[8:])), uint64(binary.LittleEndian.Uint32(e[12:]))}
	}
	return entries, true
}
