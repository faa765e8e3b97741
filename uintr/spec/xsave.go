package spec

import "encoding/binary"

// Offsets in the 48-byte image of state component 14, `uintr.md §1.4`. The order is not that of the MSRs.
const (
	XSaveHandler     = 0
	XSaveStackAdjust = 8
	XSaveMisc        = 16
	XSaveUPIDAddr    = 24
	XSaveUIRR        = 32
	XSaveUITTAddr    = 40
	XSaveSize        = 48

	XSaveUIF          = uint64(1 << 63) // of the MISC word
	XSaveMiscReserved = MiscReserved &^ XSaveUIF
)

// XSaveImage is an image of state component 14, XSaveSize bytes. It is the private copy of one processor: plain access.
type XSaveImage []byte

func (x XSaveImage) Handler() uint64     { return binary.LittleEndian.Uint64(x[XSaveHandler:]) }
func (x XSaveImage) StackAdjust() uint64 { return binary.LittleEndian.Uint64(x[XSaveStackAdjust:]) }
func (x XSaveImage) Misc() uint64        { return binary.LittleEndian.Uint64(x[XSaveMisc:]) }
func (x XSaveImage) UPIDAddr() uint64    { return binary.LittleEndian.Uint64(x[XSaveUPIDAddr:]) }
func (x XSaveImage) UIRR() uint64        { return binary.LittleEndian.Uint64(x[XSaveUIRR:]) }
func (x XSaveImage) UITTAddr() uint64    { return binary.LittleEndian.Uint64(x[XSaveUITTAddr:]) }

func (x XSaveImage) SetHandler(v uint64)     { binary.LittleEndian.PutUint64(x[XSaveHandler:], v) }
func (x XSaveImage) SetStackAdjust(v uint64) { binary.LittleEndian.PutUint64(x[XSaveStackAdjust:], v) }
func (x XSaveImage) SetMisc(v uint64)        { binary.LittleEndian.PutUint64(x[XSaveMisc:], v) }
func (x XSaveImage) SetUPIDAddr(v uint64)    { binary.LittleEndian.PutUint64(x[XSaveUPIDAddr:], v) }
func (x XSaveImage) SetUIRR(v uint64)        { binary.LittleEndian.PutUint64(x[XSaveUIRR:], v) }
func (x XSaveImage) SetUITTAddr(v uint64)    { binary.LittleEndian.PutUint64(x[XSaveUITTAddr:], v) }
