// Package boottest makes kernel images for tests.
package boottest

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
)

// Section is one of a PE image's.
type Section struct {
	Name string // eight bytes at most
	Data []byte
	Pad  int // zeroes behind Data in the file, which do not count as the section's
}

const (
	peHeader   = 0x80
	fileHeader = 20
	optional   = 240
	header     = 40
	alignment  = 512
)

// PE makes an EFI application for x86-64, in which nothing can be executed. One with a .linux section is a
// unified kernel image.
func PE(sections ...Section) []byte {
	le := binary.LittleEndian
	size := peHeader + 4 + fileHeader + optional + header*len(sections)
	round := func(n int) int { return (n + alignment - 1) &^ (alignment - 1) }
	b := make([]byte, round(size))
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], peHeader)
	copy(b[peHeader:], "PE\x00\x00")
	file := b[peHeader+4:]
	le.PutUint16(file, pe.IMAGE_FILE_MACHINE_AMD64)
	le.PutUint16(file[2:], uint16(len(sections)))
	le.PutUint16(file[16:], optional)
	le.PutUint16(file[18:], pe.IMAGE_FILE_EXECUTABLE_IMAGE)
	var o bytes.Buffer
	_ = binary.Write(&o, le, pe.OptionalHeader64{
		Magic: 0x20b, SectionAlignment: 4096, FileAlignment: alignment, Subsystem: pe.IMAGE_SUBSYSTEM_EFI_APPLICATION, NumberOfRvaAndSizes: 16,
	})
	copy(file[fileHeader:], o.Bytes())
	address := uint32(1 << 20)
	for i, s := range sections {
		h := b[peHeader+4+fileHeader+optional+header*i:]
		raw := round(len(s.Data) + s.Pad)
		copy(h[:8], s.Name)
		le.PutUint32(h[8:], uint32(len(s.Data)))
		le.PutUint32(h[12:], address)
		le.PutUint32(h[16:], uint32(raw))
		le.PutUint32(h[20:], uint32(len(b)))
		address += uint32(raw+4095) &^ 4095
		b = append(b, s.Data...)
		b = append(b, make([]byte, raw-len(s.Data))...)
	}
	return b
}
