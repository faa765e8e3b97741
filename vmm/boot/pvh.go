package boot

import (
	"encoding/binary"
	"fmt"
)

// Where the start information lies, guest-physical.
const (
	startInfo   = 0x6000
	memoryMap   = 0x6100
	commandLine = 0x7000

	// MaxCommandLine is the longest command line, without its NUL.
	MaxCommandLine = 0xfff
)

// The PVH start information (struct hvm_start_info, version 1).
const (
	pvhMagic   = 0x336ec578
	pvhVersion = 1
	mapEntry   = 24 // bytes of struct hvm_memmap_table_entry
	typeRAM    = 1
)

// Region is a range of guest-physical RAM.
type Region struct{ Base, Size uint64 }

// StartInfo writes the PVH start information for a kernel and returns its
// address, which the kernel finds in EBX.
func StartInfo(m Memory, command string, ram []Region) (uint32, error) {
	if len(command) > MaxCommandLine {
		return 0, fmt.Errorf("boot: command line of %d bytes; %d is the longest", len(command), MaxCommandLine)
	}
	if len(ram) > (commandLine-memoryMap)/mapEntry {
		return 0, fmt.Errorf("boot: %d ranges of RAM do not fit the memory map", len(ram))
	}
	page, err := m.View(startInfo, commandLine+MaxCommandLine+1-startInfo)
	if err != nil {
		return 0, fmt.Errorf("boot: start information: %w", err)
	}
	clear(page)
	le := binary.LittleEndian
	le.PutUint32(page[0:], pvhMagic)
	le.PutUint32(page[4:], pvhVersion)
	le.PutUint64(page[24:], commandLine)
	le.PutUint64(page[40:], memoryMap)
	le.PutUint32(page[48:], uint32(len(ram)))
	entries := page[memoryMap-startInfo:]
	for i, r := range ram {
		le.PutUint64(entries[mapEntry*i:], r.Base)
		le.PutUint64(entries[mapEntry*i+8:], r.Size)
		le.PutUint32(entries[mapEntry*i+16:], typeRAM)
	}
	copy(page[commandLine-startInfo:], command)
	return startInfo, nil
}
