package uintrtest

import "slices"

// Cases is the table. Names are unique.
func Cases() []Case {
	return slices.Concat(sendCases(), flagCases(), deliveryCases(), returnCases(), notifyCases())
}

// What the cases start from. NV differs from descriptor to descriptor, and the receiver's from nothing else.
const (
	uinv      = 0xEC
	ownNV     = 0xEC
	otherNV   = 0xED
	ownNDST   = 0 // the CPU itself, for FlagLoopback
	otherNDST = 2

	on = 1 << 0
	sn = 1 << 1

	flagCF  = 1 << 0
	flagPF  = 1 << 2
	flagAF  = 1 << 4
	flagZF  = 1 << 6
	flagSF  = 1 << 7
	flagTF  = 1 << 8
	flagDF  = 1 << 10
	flagOF  = 1 << 11
	flagNT  = 1 << 14
	flagRF  = 1 << 16
	flagAC  = 1 << 18
	flagID  = 1 << 21
	status  = flagCF | flagPF | flagAF | flagZF | flagSF | flagOF
	allUser = status | flagDF | flagNT | flagAC | flagID // that a program can keep set and still run as before

	vectorUD = 6
	vectorSS = 12
	vectorGP = 13

	pfPresent = 1
	pfWrite   = 2
	pfUser    = 4

	startOffset = -256 // of RSP from the stack's top
	redZone     = 128  // UISTACKADJUST
)

// control is a UPID's control word.
func control(nv uint8, ndst uint32, bits uint64) uint64 {
	return uint64(ndst)<<32 | uint64(nv)<<16 | bits
}

// target is a valid target-table entry's low word.
func target(vector uint64) uint64 { return vector<<8 | 1 }

// newCase makes a case: given changes the common start, then want changes the assumption that the operation did nothing
// but end.
func newCase(name string, op Op, given, want func(*Case)) Case {
	c := Case{
		Name: name,
		Op:   op,
		Before: State{
			Handler:     KindHandler.At(0),
			StackAdjust: Literal(redZone),
			UPIDAddr:    KindUPIDArray.At(0),
			UITTAddr:    KindUITTArray.At(1),
			UINV:        uinv,
			UITTSize:    3,
		},
		UPID: [2]UPID{{Low: control(ownNV, ownNDST, 0)}, {Low: control(otherNV, otherNDST, 0)}},
		UITT: [4]UITTEntry{
			{target(5), KindUPIDArray.At(64)},
			{target(9), KindUPIDArray.At(0)},
			{target(63), KindUPIDArray.At(64)},
			{target(0), KindUPIDArray.At(64)},
		},
		RSP: KindStackTop.At(startOffset),
	}
	if given != nil {
		given(&c)
	}
	c.Want = Want{
		After:  c.Before,
		UPID:   c.UPID,
		RIP:    KindAfter.At(0),
		RSP:    c.RSP,
		RFLAGS: c.RFLAGS | RFLAGSFixed,
	}
	if want != nil {
		want(&c)
	}
	return c
}

// faults wants an exception of the operation itself, which did nothing else.
func faults(vector, code uint32) func(*Case) {
	return func(c *Case) {
		c.Want.Fault = Fault{Vector: vector, ErrorCode: code}
		c.Want.RIP = KindOp.At(0)
	}
}

// pageFaults wants a #PF of the operation itself.
func pageFaults(code uint32, at Addr) func(*Case) {
	return func(c *Case) {
		faults(vectorPF, code)(c)
		c.Want.Fault.Address = at
	}
}

// delivers wants the handler entered with a vector: the stack lowered by the red zone, what is wanted so far of RIP, RSP
// and RFLAGS in the frame.
func delivers(vector uint64) func(*Case) {
	return func(c *Case) {
		deliversAt(vector, KindStackTop.At(startOffset-redZone-32))(c)
	}
}

// deliversAt is delivers with RSP at the handler.
func deliversAt(vector uint64, rsp Addr) func(*Case) {
	return func(c *Case) {
		w := &c.Want
		w.Delivered = true
		w.Frame = DeliveredFrame{Vector: vector, RIP: w.RIP, RFLAGS: w.RFLAGS, RSP: w.RSP}
		w.RIP, w.RSP = c.Before.Handler, rsp
		w.RFLAGS &^= flagTF | flagRF
		w.After.UIRR &^= 1 << vector
		w.After.UIF = false
	}
}
