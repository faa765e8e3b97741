package pci

import "encoding/binary"

// ConfigSize is the length of a configuration space in bytes. There is no
// extended space: beyond it every byte reads as ones.
const ConfigSize = 256

// Offsets in a type 0 header (PCI 3.0 §6.1).
const (
	offVendorID        = 0x00
	offDeviceID        = 0x02
	offCommand         = 0x04
	offStatus          = 0x06
	offRevision        = 0x08
	offClass           = 0x09 // three bytes: interface, subclass, base class
	offCacheLine       = 0x0C
	offHeaderType      = 0x0E
	offBAR             = 0x10
	offSubsystemVendor = 0x2C
	offSubsystemID     = 0x2E
	offCapabilities    = 0x34
	offInterruptLine   = 0x3C
	offInterruptPin    = 0x3D
	headerEnd          = 0x40
)

// Bits of the command and status registers (PCI 3.0 §6.2.2, §6.2.3).
const (
	CommandMemory           uint16 = 1 << 1
	CommandBusMaster        uint16 = 1 << 2
	commandParity           uint16 = 1 << 6
	commandSERR             uint16 = 1 << 8
	commandInterruptDisable uint16 = 1 << 10
	commandWritable                = CommandMemory | CommandBusMaster | commandParity | commandSERR | commandInterruptDisable

	statusCapabilities uint16 = 1 << 4
)

const multifunction = 0x80 // header type bit 7

// Config is a function's configuration space, little-endian, ConfigSize bytes.
type Config []byte

// VendorID is the vendor id.
func (c Config) VendorID() uint16 { return c.u16(offVendorID) }

// DeviceID is the device id.
func (c Config) DeviceID() uint16 { return c.u16(offDeviceID) }

// Command is the command register.
func (c Config) Command() uint16 { return c.u16(offCommand) }

// Status is the status register.
func (c Config) Status() uint16 { return c.u16(offStatus) }

// Class is base class<<16 | subclass<<8 | interface.
func (c Config) Class() uint32 { return c.u32(offRevision) >> 8 }

// HeaderType is the header type byte.
func (c Config) HeaderType() uint8 { return c[offHeaderType] }

// BAR is base address register i, 0..5, as it reads.
func (c Config) BAR(i int) uint32 { return c.u32(offBAR + 4*i) }

// Capabilities is the offset of the first capability, 0 if there is none.
func (c Config) Capabilities() uint8 { return c[offCapabilities] }

func (c Config) u16(off int) uint16       { return binary.LittleEndian.Uint16(c[off:]) }
func (c Config) u32(off int) uint32       { return binary.LittleEndian.Uint32(c[off:]) }
func (c Config) putU16(off int, v uint16) { binary.LittleEndian.PutUint16(c[off:], v) }
func (c Config) putU32(off int, v uint32) { binary.LittleEndian.PutUint32(c[off:], v) }

// write changes those bits of [off, off+len(p)) that mask allows.
func (c Config) write(mask Config, off int, p []byte) {
	for i, b := range p {
		m := mask[off+i]
		c[off+i] = c[off+i]&^m | b&m
	}
}
