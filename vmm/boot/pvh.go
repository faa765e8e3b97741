package boot

import (
	"encoding/binary"
	"fmt"
)

// Where the start information lies, guest-physical.
const (
	infoBase    = 0x6000
	memoryMap   = 0x6100
	commandLine = 0x7000

	// MaxCommandLine is the longest command line, without its NUL.
	MaxCommandLine = 0xfff
)

// The PVH start information (struct hvm_start_info, version 1), and behind it the one
// struct hvm_modlist_entry.
const (
	pvhMagic    = 0x336ec578
	pvhVersion  = 1
	pvhModules  = 12 // how many
	pvhModList  = 16
	pvhCommand  = 24
	pvhRSDP     = 32
	pvhMap      = 40
	pvhMapCount = 48
	pvhModule   = 64 // base, size, command line
	mapEntry    = 24 // bytes of struct hvm_memmap_table_entry
)

// Info is what a kernel is told, whatever its protocol.
type Info struct {
	Command string
	Map     []Region
	Initrd  Region // Size 0: none
	RSDP    uint64 // address of ACPI's root pointer, 0: none; multiboot kernels search it
}

// startInfo writes the PVH start information for a kernel and returns its
// address, which the kernel finds in EBX.
func startInfo(m Memory, in Info) (uint32, error) {
	if len(in.Command) > MaxCommandLine {
		return 0, fmt.Errorf("boot: command line of %d bytes; %d is the longest", len(in.Command), MaxCommandLine)
	}
	if len(in.Map) > (commandLine-memoryMap)/mapEntry {
		return 0, fmt.Errorf("boot: %d ranges do not fit the memory map", len(in.Map))
	}
	page, err := m.View(infoBase, commandLine+MaxCommandLine+1-infoBase)
	if err != nil {
		return 0, fmt.Errorf("boot: start information: %w", err)
	}
	clear(page)
	le := binary.LittleEndian
	le.PutUint32(page[0:], pvhMagic)
	le.PutUint32(page[4:], pvhVersion)
	le.PutUint64(page[pvhCommand:], commandLine)
	le.PutUint64(page[pvhRSDP:], in.RSDP)
	le.PutUint64(page[pvhMap:], memoryMap)
	le.PutUint32(page[pvhMapCount:], uint32(len(in.Map)))
	if in.Initrd.Size != 0 {
		le.PutUint32(page[pvhModules:], 1)
		le.PutUint64(page[pvhModList:], infoBase+pvhModule)
		le.PutUint64(page[pvhModule:], in.Initrd.Base)
		le.PutUint64(page[pvhModule+8:], in.Initrd.Size)
	}
	entries := page[memoryMap-infoBase:]
	for i, r := range in.Map {
		le.PutUint64(entries[mapEntry*i:], r.Base)
		le.PutUint64(entries[mapEntry*i+8:], r.Size)
		le.PutUint32(entries[mapEntry*i+16:], uint32(r.Type))
	}
	copy(page[commandLine-infoBase:], in.Command)
	return infoBase, nil
}
