package jit

import "unsafe"

// Offsets of Control's fields.
const (
	controlStack  = int32(unsafe.Offsetof(Control{}.stack))
	controlFrame  = int32(unsafe.Offsetof(Control{}.frame))
	controlTarget = int32(unsafe.Offsetof(Control{}.target))
	controlVia    = int32(unsafe.Offsetof(Control{}.via))
	controlFlags  = int32(unsafe.Offsetof(Control{}.Flags))
	controlBudget = int32(unsafe.Offsetof(Control{}.Budget))
	controlAttend = int32(unsafe.Offsetof(Control{}.Attend))
	controlEpoch  = int32(unsafe.Offsetof(Control{}.Epoch))
	controlSalt   = int32(unsafe.Offsetof(Control{}.Salt))
	controlLinear = int32(unsafe.Offsetof(Control{}.Linear))
	controlTemp   = int32(unsafe.Offsetof(Control{}.temp))
	controlTemp2  = int32(unsafe.Offsetof(Control{}.temp2))
	controlExit   = int32(unsafe.Offsetof(Control{}.exit))
	controlLoaded = int32(unsafe.Offsetof(Control{}.loaded))
	controlMXCSR  = int32(unsafe.Offsetof(Control{}.mxcsr))
	controlSlot   = int32(unsafe.Offsetof(Control{}.slotMask))
	controlMasks  = int32(unsafe.Offsetof(Control{}.masks))
	controlBit6   = int32(unsafe.Offsetof(Control{}.bit6Mask))
	controlBit5   = int32(unsafe.Offsetof(Control{}.bit5Mask))
)
