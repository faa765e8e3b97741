package boot

import (
	"encoding/binary"
	"fmt"
)

// What Linux's 64-bit protocol has ready for the kernel beside its parameters: a GDT with its code and data
// segments, and page tables that map the first 4 GiB to themselves.
const (
	LinuxGDT      = 0x8000
	LinuxGDTBytes = 4 * 8
	LinuxCR3      = 0x9000

	gdtCode    = 0x00af9b000000ffff // selector 10H: 64-bit code
	gdtData    = 0x00cf93000000ffff // selector 18H: data
	tableWords = 512
	mappedGiB  = 4
	pagePW     = 0x03 // present, writable
	pageLarge  = 0x83 // of 2 MiB
	largePage  = 2 << 20
)

// struct boot_params (Linux Documentation/arch/x86/zero-page.rst), at infoBase. The setup header lies where it
// does in the image.
const (
	paramsBytes    = 4096
	paramsRSDP     = 0x70
	paramsInitrdHi = 0xc0 // upper halves of address and size
	paramsCmdHi    = 0xc8
	paramsAltMem   = 0x1e0 // KiB from 1 MiB on
	paramsE820     = 0x1e8 // byte: how many
	paramsMap      = 0x2d0
	e820Entry      = 20
	mostE820       = 128
	loaderUnknown  = 0xff
)

// E820 is a memory map as firmware gives it: base, size and type of each range, little-endian.
func E820(regions []Region) []byte {
	b := make([]byte, 0, e820Entry*len(regions))
	for _, r := range regions {
		b = binary.LittleEndian.AppendUint64(b, r.Base)
		b = binary.LittleEndian.AppendUint64(b, r.Size)
		b = binary.LittleEndian.AppendUint32(b, uint32(r.Type))
	}
	return b
}

// bareSetup is the header of a vmlinux, which has none: what kernels of the protocol that it names take.
func bareSetup() setup {
	h := make(setup, setupBytes)
	le := binary.LittleEndian
	le.PutUint16(h[bootFlag:], bootFlagValue)
	h[setupJump] = setupBytes - setupMagic
	le.PutUint32(h[setupMagic:], setupHdrS)
	le.PutUint16(h[setupVersion:], 0x20f)
	h[setupLoadFlags] = 1 // loaded high
	le.PutUint32(h[setupInitrdMax:], initrdLimit-1)
	le.PutUint32(h[setupAlign:], largePage)
	le.PutUint16(h[setupXLoad:], xloadKernel64|xloadAbove4G)
	le.PutUint32(h[setupLongest:], 2047)
	return h
}

// bootParams writes the parameters of Linux's 64-bit protocol, the page tables and the GDT, and returns the
// parameters' address, which the kernel finds in RSI. kaslr says that the kernel was randomised.
func bootParams(m Memory, h setup, kaslr bool, in Info) (uint32, error) {
	if h == nil {
		h = bareSetup()
	}
	longest := min(h.u32(setupLongest), MaxCommandLine)
	if uint64(len(in.Command)) > uint64(longest) {
		return 0, fmt.Errorf("boot: command line of %d bytes; this kernel takes %d at the most", len(in.Command), longest)
	}
	if len(in.Map) > mostE820 {
		return 0, fmt.Errorf("boot: %d ranges do not fit the memory map", len(in.Map))
	}
	low, err := m.View(infoBase, LinuxCR3+(2+mappedGiB)*pageSize-infoBase)
	if err != nil {
		return 0, fmt.Errorf("boot: boot parameters: %w", err)
	}
	clear(low)
	at := func(address uint64) []byte { return low[address-infoBase:] }
	p := low[:paramsBytes]
	le := binary.LittleEndian
	end := min(setupMagic+int(h[setupJump]), len(h))
	copy(p[setupSectors:end], h[setupSectors:end])
	p[setupLoader] = loaderUnknown
	p[setupLoadFlags] &^= flagKASLR
	if kaslr {
		p[setupLoadFlags] |= flagKASLR
	}
	le.PutUint64(p[paramsRSDP:], in.RSDP)
	le.PutUint32(p[setupCommand:], commandLine)
	copy(at(commandLine), in.Command)
	if d := in.Initrd; d.Size != 0 {
		le.PutUint32(p[setupInitrd:], uint32(d.Base))
		le.PutUint32(p[setupInitrd+4:], uint32(d.Size))
		le.PutUint32(p[paramsInitrdHi:], uint32(d.Base>>32))
		le.PutUint32(p[paramsInitrdHi+4:], uint32(d.Size>>32))
	}
	le.PutUint32(p[paramsAltMem:], kibibytes(in.Map, upperBase, 1<<32))
	p[paramsE820] = byte(len(in.Map))
	copy(p[paramsMap:], E820(in.Map))
	le.PutUint64(at(LinuxGDT)[0x10:], gdtCode)
	le.PutUint64(at(LinuxGDT)[0x18:], gdtData)
	identity(at(LinuxCR3))
	return infoBase, nil
}

// identity writes page tables that lie at LinuxCR3: one of each upper level, then a directory for each GiB.
func identity(b []byte) {
	le := binary.LittleEndian
	entry := func(table, i int, v uint64) { le.PutUint64(b[table*pageSize+8*i:], v) }
	entry(0, 0, LinuxCR3+pageSize|pagePW)
	for g := range mappedGiB {
		entry(1, g, LinuxCR3+uint64(2+g)*pageSize|pagePW)
		for i := range tableWords {
			entry(2+g, i, uint64(g*tableWords+i)*largePage|pageLarge)
		}
	}
}
