package boot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// errRelocations is a table that only the kernel's own code can read.
var errRelocations = errors.New("the kernel's relocations are not known here; --boot bzimage has its own code apply them")

// relocations are where a vmlinux holds linear addresses of its own, as the low halves of their linear addresses,
// little-endian. Linux's build puts them behind the ELF file, in the order of these fields,
// a zero before each list.
type relocations struct {
	quads   []byte // to which the offset is added
	inverse []byte // doublewords from which it is subtracted; kernels from 6.15 on have no such list
	longs   []byte // doublewords to which it is added
}

const (
	relocationBytes = 4
	kernelMapSize   = 1 << 30 // what a randomised kernel may lie in, from kernelMap on
)

// findRelocations finds the table behind a vmlinux. It is nil where the kernel was not built to be moved.
func findRelocations(kernel []byte) (*relocations, error) {
	end := elfEnd(kernel)
	if end == uint64(len(kernel)) {
		return nil, nil
	}
	if end > uint64(len(kernel)) || (uint64(len(kernel))-end)%relocationBytes != 0 {
		return nil, errRelocations
	}
	var lists [][]byte
	table := kernel[end:]
	if !bytes.HasPrefix(table, make([]byte, relocationBytes)) {
		return nil, errRelocations
	}
	from := relocationBytes
	for at := from; at < len(table); at += relocationBytes {
		if binary.LittleEndian.Uint32(table[at:]) == 0 {
			lists = append(lists, table[from:at])
			from = at + relocationBytes
		}
	}
	lists = append(lists, table[from:])
	switch len(lists) {
	case 2:
		return &relocations{quads: lists[0], longs: lists[1]}, nil
	case 3:
		return &relocations{lists[0], lists[1], lists[2]}, nil
	}
	return nil, errRelocations
}

// elfEnd is where an ELF file of 64 bits ends by its own tables.
func elfEnd(b []byte) uint64 {
	le := binary.LittleEndian
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil || len(b) < 64 {
		return uint64(len(b))
	}
	sections := le.Uint64(b[0x28:]) + uint64(le.Uint16(b[0x3a:]))*uint64(le.Uint16(b[0x3c:]))
	programs := le.Uint64(b[0x20:]) + uint64(le.Uint16(b[0x36:]))*uint64(le.Uint16(b[0x38:]))
	end := max(64, sections, programs)
	for _, p := range f.Progs {
		end = max(end, p.Off+p.Filesz)
	}
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS {
			end = max(end, s.Offset+s.FileSize)
		}
	}
	return end
}

// apply adds offset to the addresses in image, which is linked at the linear address base.
func (r *relocations) apply(image []byte, base, offset uint64) error {
	le := binary.LittleEndian
	each := func(list []byte, width uint64, change func(b []byte)) error {
		for ; len(list) > 0; list = list[relocationBytes:] {
			at := uint64(int64(int32(le.Uint32(list)))) - base
			if at >= uint64(len(image)) || uint64(len(image))-at < width {
				return fmt.Errorf("a relocation at %#x is not in the kernel: %w", at+base, errRelocations)
			}
			change(image[at:])
		}
		return nil
	}
	if err := each(r.longs, 4, func(b []byte) { le.PutUint32(b, le.Uint32(b)+uint32(offset)) }); err != nil {
		return err
	}
	if err := each(r.inverse, 4, func(b []byte) { le.PutUint32(b, le.Uint32(b)-uint32(offset)) }); err != nil {
		return err
	}
	return each(r.quads, 8, func(b []byte) { le.PutUint64(b, le.Uint64(b)+offset) })
}
