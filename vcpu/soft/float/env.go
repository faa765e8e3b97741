package float

// Flags are floating-point exceptions, in the bit order of MXCSR and of the x87
// status and control words.
type Flags uint8

// The exceptions. Invalid, Denormal and DivZero are detected before the operation,
// the others with its result.
const (
	Invalid Flags = 1 << iota
	Denormal
	DivZero
	Overflow
	Underflow
	Inexact

	Before   = Invalid | Denormal | DivZero
	After    = Overflow | Underflow | Inexact
	AllFlags = Before | After
)

// Rounding is a rounding mode, encoded as RC.
type Rounding uint8

// The rounding modes.
const (
	Nearest Rounding = iota // ties to even
	Down
	Up
	Zero
)

// Env is what governs arithmetic and what it reports.
type Env struct {
	Flags     Flags // raised; operations only add to them
	Rounding  Rounding
	Masks     Flags // masked exceptions
	Precision uint8 // significand bits of x87 add, subtract, multiply, divide and square root: 24, 53 or 64
	FTZ       bool  // SSE: tiny results become zero while Underflow is masked
	DAZ       bool  // SSE: denormal operands count as zero
	C1        bool  // the last x87 operation rounded away from zero
}

// The fields of MXCSR (SDM 1 §10.2.3).
const (
	mxcsrDAZ  = 1 << 6
	mxcsrMask = 7
	mxcsrRC   = 13
	mxcsrFTZ  = 1 << 15
)

// FromMXCSR gives the Env that an MXCSR describes.
func FromMXCSR(v uint32) (e Env) {
	e.SetMXCSR(v)
	return e
}

// SetMXCSR makes e what an MXCSR describes. Field by field: a whole Env would be copied by wider words than it was
// stored by, and wait for those stores.
func (e *Env) SetMXCSR(v uint32) {
	e.Flags = Flags(v) & AllFlags
	e.Rounding = Rounding(v >> mxcsrRC & 3)
	e.Masks = Flags(v>>mxcsrMask) & AllFlags
	e.Precision = 64
	e.FTZ = v&mxcsrFTZ != 0
	e.DAZ = v&mxcsrDAZ != 0
	e.C1 = false
}

// MXCSR encodes e as MXCSR.
func (e *Env) MXCSR() uint32 {
	v := uint32(e.Flags) | uint32(e.Masks)<<mxcsrMask | uint32(e.Rounding)<<mxcsrRC
	if e.DAZ {
		v |= mxcsrDAZ
	}
	if e.FTZ {
		v |= mxcsrFTZ
	}
	return v
}

// FromControl gives the Env that an x87 control word describes, without flags. The
// reserved precision 01B counts as 64 bits.
func FromControl(cw uint16) Env {
	return Env{
		Rounding:  Rounding(cw >> 10 & 3),
		Masks:     Flags(cw) & AllFlags,
		Precision: [4]uint8{24, 64, 53, 64}[cw>>8&3],
	}
}

// Raised gives the exceptions among Flags that are not masked.
func (e *Env) Raised() Flags { return e.Flags &^ e.Masks }

// raise adds f to the flags and reports whether it is unmasked.
func (e *Env) raise(f Flags) bool {
	e.Flags |= f
	return f&^e.Masks != 0
}

// denormal raises Denormal if it is due, and reports whether the operation ends
// there.
func (e *Env) denormal(due bool) bool {
	return due && e.raise(Denormal)
}

// Order is what a comparison finds.
type Order uint8

// The outcomes of a comparison.
const (
	Less Order = iota
	Equal
	Greater
	Unordered
)
