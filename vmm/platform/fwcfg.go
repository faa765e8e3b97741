package platform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Ports of fw_cfg.
const (
	PortFwCfg     = 0x510 // selector, a word; the data port is its second byte
	FwCfgPorts    = 2
	PortFwCfgDMA  = 0x514 // address of a DMA request, big-endian, the high half first
	FwCfgDMAPorts = 8
)

// Keys of fw_cfg's items.
const (
	FwCfgSignature   = 0x00
	FwCfgID          = 0x01
	FwCfgUUID        = 0x02
	FwCfgRAMSize     = 0x03
	FwCfgNoGraphic   = 0x04
	FwCfgCPUs        = 0x05
	FwCfgKernelAddr  = 0x07
	FwCfgKernelSize  = 0x08
	FwCfgInitrdAddr  = 0x0a
	FwCfgInitrdSize  = 0x0b
	FwCfgBootMenu    = 0x0e
	FwCfgMaxCPUs     = 0x0f
	FwCfgKernelEntry = 0x10
	FwCfgKernelData  = 0x11
	FwCfgInitrdData  = 0x12
	FwCfgCmdlineAddr = 0x13
	FwCfgCmdlineSize = 0x14
	FwCfgCmdlineData = 0x15
	FwCfgFileDir     = 0x19
	FwCfgFileFirst   = 0x20
)

const (
	fwCfgSignature = "QEMU"
	fwCfgPlain     = 1 << 0 // the ID's features
	fwCfgDMA       = 1 << 1
	fwCfgLastFile  = 0x3fff // higher bits of a key say other things
	fwCfgName      = 56     // bytes of a file's name, with its NUL
	fwCfgEntry     = 64     // bytes of a directory entry
	fwCfgMostBytes = 1<<32 - 1
)

// ErrFwCfg is a file that fw_cfg cannot offer.
var ErrFwCfg = errors.New("platform: fw_cfg")

// Memory is guest-physical memory as a device copies to and from it. It fails where the
// range is not RAM.
type Memory interface {
	ReadAt(p []byte, addr uint64) error
	WriteAt(p []byte, addr uint64) error
}

// Blob is an item's data with the address at which it is, or is wanted, in memory.
type Blob struct {
	Addr uint32
	Data []byte
}

// FwCfgConfig is what fw_cfg tells a guest.
type FwCfgConfig struct {
	CPUs, MaxCPUs int // MaxCPUs 0: CPUs
	RAM           uint64
	UUID          [16]byte
	Kernel        *Blob // nil: no such items
	KernelEntry   uint32
	Initrd        *Blob
	Command       *Blob  // without its NUL
	Memory        Memory // for the DMA interface; nil: there is none
}

// FwCfg is the firmware configuration device (QEMU, "Firmware Configuration (fw_cfg)
// Device"): items that a guest reads by key, and files by name. All items are read only.
// Its methods may be called from any goroutine.
type FwCfg struct {
	memory Memory

	mu       sync.Mutex
	items    map[uint16][]byte
	files    uint16
	selected []byte
	offset   uint64
	dmaHigh  uint32
	dma      [dmaBytes]byte // a request as it is read and answered
}

// NewFwCfg returns the device. It keeps, and does not change, the data it is given.
func NewFwCfg(c FwCfgConfig) *FwCfg {
	f := &FwCfg{memory: c.Memory, items: map[uint16][]byte{}}
	features := uint32(fwCfgPlain)
	if c.Memory != nil {
		features |= fwCfgDMA
	}
	le := binary.LittleEndian
	word := func(key uint16, v int) { f.Set(key, le.AppendUint16(nil, uint16(v))) }
	long := func(key uint16, v uint32) { f.Set(key, le.AppendUint32(nil, v)) }
	f.Set(FwCfgSignature, []byte(fwCfgSignature))
	long(FwCfgID, features)
	f.Set(FwCfgUUID, c.UUID[:])
	f.Set(FwCfgRAMSize, le.AppendUint64(nil, c.RAM))
	word(FwCfgNoGraphic, 1)
	word(FwCfgCPUs, c.CPUs)
	word(FwCfgMaxCPUs, max(c.CPUs, c.MaxCPUs))
	word(FwCfgBootMenu, 0)
	f.Set(FwCfgFileDir, make([]byte, 4))
	if b := c.Kernel; b != nil {
		long(FwCfgKernelAddr, b.Addr)
		long(FwCfgKernelSize, uint32(len(b.Data)))
		long(FwCfgKernelEntry, c.KernelEntry)
		f.Set(FwCfgKernelData, b.Data)
	}
	if b := c.Initrd; b != nil {
		long(FwCfgInitrdAddr, b.Addr)
		long(FwCfgInitrdSize, uint32(len(b.Data)))
		f.Set(FwCfgInitrdData, b.Data)
	}
	if b := c.Command; b != nil {
		data := append(append([]byte{}, b.Data...), 0)
		long(FwCfgCmdlineAddr, b.Addr)
		long(FwCfgCmdlineSize, uint32(len(data)))
		f.Set(FwCfgCmdlineData, data)
	}
	f.selected = f.items[FwCfgSignature]
	return f
}

// Set makes data the item with a key.
func (f *FwCfg) Set(key uint16, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items[key] = data
}

// AddFile makes data a file of the directory and returns its key. It fails with
// ErrFwCfg where the name, the data or the number of files is more than there is room for.
func (f *FwCfg) AddFile(name string, data []byte) (uint16, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case name == "" || len(name) >= fwCfgName || strings.ContainsRune(name, 0):
		return 0, fmt.Errorf("%w: file name %q; give 1 to %d bytes without NUL", ErrFwCfg, name, fwCfgName-1)
	case uint64(len(data)) > fwCfgMostBytes:
		return 0, fmt.Errorf("%w: file %s has %d bytes; %d are the most", ErrFwCfg, name, len(data), uint64(fwCfgMostBytes))
	case f.files > fwCfgLastFile-FwCfgFileFirst:
		return 0, fmt.Errorf("%w: no key is left for file %s", ErrFwCfg, name)
	}
	key := FwCfgFileFirst + f.files
	f.files++
	be := binary.BigEndian
	entry := be.AppendUint32(nil, uint32(len(data)))
	entry = be.AppendUint16(entry, key)
	entry = append(append(entry, 0, 0), name...)
	entry = append(entry, make([]byte, fwCfgEntry-len(entry))...)
	// A new directory: a guest may be reading the old one.
	old := f.items[FwCfgFileDir]
	dir := append(be.AppendUint32(make([]byte, 0, len(old)+fwCfgEntry), uint32(f.files)), old[4:]...)
	f.items[FwCfgFileDir] = append(dir, entry...)
	f.items[key] = data
	return key, nil
}

// Read answers ports 510H, 511H and 514H-51BH. The data port gives the selected item's
// next bytes, as many as are asked for, and zeros past its end; the DMA register a signature.
func (f *FwCfg) Read(port uint16, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ones(b)
	switch {
	case port == PortFwCfg+1:
		f.next(b)
	case f.memory != nil && port >= PortFwCfgDMA && port < PortFwCfgDMA+FwCfgDMAPorts:
		copy(b, dmaSignature[port-PortFwCfgDMA:])
	}
}

// Write answers ports 510H and 514H-51BH.
func (f *FwCfg) Write(port uint16, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case port == PortFwCfg && len(b) == 2:
		f.selectItem(binary.LittleEndian.Uint16(b))
	case f.memory == nil || len(b) != 4:
	case port == PortFwCfgDMA:
		f.dmaHigh = binary.BigEndian.Uint32(b)
	case port == PortFwCfgDMA+4:
		addr := uint64(f.dmaHigh)<<32 | uint64(binary.BigEndian.Uint32(b))
		f.dmaHigh = 0
		f.request(addr)
	}
}

func (f *FwCfg) selectItem(key uint16) { f.selected, f.offset = f.items[key], 0 }

// rest is what is left of the selected item.
func (f *FwCfg) rest() []byte {
	return f.selected[min(f.offset, uint64(len(f.selected))):]
}

// next fills b with the item's next bytes.
func (f *FwCfg) next(b []byte) {
	n := copy(b, f.rest())
	clear(b[n:])
	f.skip(uint64(len(b)))
}

// skip moves on; past the end there is only the end.
func (f *FwCfg) skip(n uint64) {
	f.offset = min(f.offset+n, uint64(len(f.selected)))
}
