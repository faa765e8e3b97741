package pci

import "fmt"

// RequesterID names a function on the bus: bus<<8 | device<<3 | function.
type RequesterID uint16

// NewRequesterID packs bus, device (0..31) and function (0..7).
func NewRequesterID(bus, device, function uint8) RequesterID {
	return RequesterID(bus)<<8 | RequesterID(device&31)<<3 | RequesterID(function&7)
}

// Bus is the bus number.
func (r RequesterID) Bus() uint8 { return uint8(r >> 8) }

// Device is the device number, 0..31.
func (r RequesterID) Device() uint8 { return uint8(r>>3) & 31 }

// Function is the function number, 0..7.
func (r RequesterID) Function() uint8 { return uint8(r) & 7 }

// String is the usual bb:dd.f.
func (r RequesterID) String() string {
	return fmt.Sprintf("%02x:%02x.%d", r.Bus(), r.Device(), r.Function())
}

// Message is a message-signalled interrupt as it leaves a function.
type Message struct {
	Address uint64
	Data    uint32
}

// MSISender carries messages on behalf of one requester id, which whoever
// made it has bound. SendMSI must not wait for anything that a guest does.
// An error means the message was refused; who refused it has recorded why.
type MSISender interface {
	SendMSI(Message) error
}

// Region answers memory accesses inside a BAR. off is relative to its start,
// len(p) is 1, 2, 4 or 8. Any value of off and any content is a guest's right:
// neither method panics, and ReadMMIO sets every byte of p.
type Region interface {
	ReadMMIO(off uint64, p []byte)
	WriteMMIO(off uint64, p []byte)
}

// AddressSpace is where decoded BARs appear. Both methods are called with the
// function's configuration lock held and must not call back into it.
type AddressSpace interface {
	// Map places r at [base, base+size), or returns an error if that range is
	// taken or no place for a BAR; the BAR then stays undecoded.
	Map(base, size uint64, r Region) error
	// Unmap removes what Map placed at base.
	Unmap(base uint64)
}

// Window is a Region at an offset of a larger one.
type Window struct {
	Offset, Size uint64
	Region       Region
}

// Windows is a Region made of smaller ones that do not overlap. An access
// that is not wholly inside one of them reads zero or writes nothing.
type Windows []Window

var _ Region = Windows(nil)

// ReadMMIO implements [Region].
func (w Windows) ReadMMIO(off uint64, p []byte) {
	if r, rel := w.find(off, len(p)); r != nil {
		r.ReadMMIO(rel, p)
		return
	}
	clear(p)
}

// WriteMMIO implements [Region].
func (w Windows) WriteMMIO(off uint64, p []byte) {
	if r, rel := w.find(off, len(p)); r != nil {
		r.WriteMMIO(rel, p)
	}
}

func (w Windows) find(off uint64, n int) (Region, uint64) {
	for i := range w {
		rel := off - w[i].Offset
		if off >= w[i].Offset && rel < w[i].Size && uint64(n) <= w[i].Size-rel {
			return w[i].Region, rel
		}
	}
	return nil, 0
}
