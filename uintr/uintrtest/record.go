package uintrtest

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrRecord is a record of the wrong length.
var ErrRecord = errors.New("uintrtest: record of the wrong length")

var le = binary.LittleEndian

// Encode makes the record of a case, CaseSize bytes, with its addresses resolved. What must be seen is not in it.
func Encode(c Case, bases Bases) []byte {
	p := make([]byte, CaseSize)
	flags := c.Flags
	if c.NoHardware != "" {
		flags |= FlagNoGuest
	}
	le.PutUint32(p[caseOp:], uint32(c.Op))
	le.PutUint32(p[caseVector:], uint32(c.Vector))
	le.PutUint32(p[caseFlags:], uint32(flags))
	le.PutUint64(p[caseOperand:], c.Operand)
	putState(p[caseBefore:], bases.Values(c.Before, c.Op))
	putUPIDs(p[caseUPID:], c.UPID)
	for i, e := range c.UITT {
		le.PutUint64(p[caseUITT+16*i:], e.Low)
		le.PutUint64(p[caseUITT+16*i+8:], bases.Resolve(e.High, c.Op))
	}
	le.PutUint64(p[caseRFLAGS:], c.RFLAGS|RFLAGSFixed)
	le.PutUint64(p[caseRSP:], bases.Resolve(c.RSP, c.Op))
	le.PutUint64(p[caseFrame:], bases.Resolve(c.Frame.RIP, c.Op))
	le.PutUint64(p[caseFrame+8:], c.Frame.RFLAGS)
	le.PutUint64(p[caseFrame+16:], bases.Resolve(c.Frame.RSP, c.Op))
	return p
}

// Values is a State with its addresses resolved.
type Values struct {
	UIRR        uint64
	UIF         uint64
	Handler     uint64
	StackAdjust uint64
	UPIDAddr    uint64
	UITTAddr    uint64
	UINV        uint32
	UITTSize    uint32
}

// Result is what was seen at the end of a case, addresses as they were.
type Result struct {
	Done         bool
	Delivered    bool
	After        Values
	UPID         [2]UPID
	FaultVector  uint32
	FaultError   uint32
	FaultAddress uint64
	IPI          IPI
	Identified   bool
	Frame        [4]uint64
	RIP, RSP     uint64
	RFLAGS       uint64
}

// Decode reads the record of a result.
func Decode(p []byte) (Result, error) {
	if len(p) != ResultSize {
		return Result{}, fmt.Errorf("%w: result of %d bytes", ErrRecord, len(p))
	}
	r := Result{
		Done:         le.Uint32(p[resultDone:]) == 1,
		Delivered:    le.Uint32(p[resultDelivered:]) != 0,
		After:        getState(p[resultAfter:]),
		FaultVector:  le.Uint32(p[resultFaultVector:]),
		FaultError:   le.Uint32(p[resultFaultError:]),
		FaultAddress: le.Uint64(p[resultFaultAddress:]),
		IPI: IPI{
			Sent:   le.Uint32(p[resultIPISent:]) != 0,
			Vector: le.Uint32(p[resultIPIVector:]),
			NDST:   le.Uint32(p[resultIPINDST:]),
		},
		Identified: le.Uint32(p[resultIdentified:]) != 0,
		RIP:        le.Uint64(p[resultRIP:]),
		RSP:        le.Uint64(p[resultRSP:]),
		RFLAGS:     le.Uint64(p[resultRFLAGS:]),
	}
	for i := range r.UPID {
		r.UPID[i] = UPID{Low: le.Uint64(p[resultUPID+16*i:]), PIR: le.Uint64(p[resultUPID+16*i+8:])}
	}
	for i := range r.Frame {
		r.Frame[i] = le.Uint64(p[resultFrame+8*i:])
	}
	return r, nil
}

// EncodeResult makes the record of a result, ResultSize bytes.
func EncodeResult(r Result) []byte {
	p := make([]byte, ResultSize)
	putBool(p[resultDone:], r.Done)
	putBool(p[resultDelivered:], r.Delivered)
	putState(p[resultAfter:], r.After)
	putUPIDs(p[resultUPID:], r.UPID)
	le.PutUint32(p[resultFaultVector:], r.FaultVector)
	le.PutUint32(p[resultFaultError:], r.FaultError)
	le.PutUint64(p[resultFaultAddress:], r.FaultAddress)
	putBool(p[resultIPISent:], r.IPI.Sent)
	le.PutUint32(p[resultIPIVector:], r.IPI.Vector)
	le.PutUint32(p[resultIPINDST:], r.IPI.NDST)
	putBool(p[resultIdentified:], r.Identified)
	for i, v := range r.Frame {
		le.PutUint64(p[resultFrame+8*i:], v)
	}
	le.PutUint64(p[resultRIP:], r.RIP)
	le.PutUint64(p[resultRSP:], r.RSP)
	le.PutUint64(p[resultRFLAGS:], r.RFLAGS)
	return p
}

// DecodeBases reads the record of a guest's bases.
func DecodeBases(p []byte) (Bases, error) {
	if len(p) != BasesSize {
		return Bases{}, fmt.Errorf("%w: bases of %d bytes", ErrRecord, len(p))
	}
	b := Bases{
		UPIDArray: le.Uint64(p[basesUPIDArray:]),
		UITTArray: le.Uint64(p[basesUITTArray:]),
		Handler:   le.Uint64(p[basesHandler:]),
		StackTop:  le.Uint64(p[basesStackTop:]),
		Unmapped:  le.Uint64(p[basesUnmapped:]),
	}
	for op := range b.Op {
		b.Op[op] = le.Uint64(p[basesOp+8*op:])
		b.After[op] = le.Uint64(p[basesAfter+8*op:])
	}
	return b, nil
}

// Values resolves a state for a case of op.
func (b *Bases) Values(s State, op Op) Values {
	v := Values{
		UIRR:        s.UIRR,
		Handler:     b.Resolve(s.Handler, op),
		StackAdjust: b.Resolve(s.StackAdjust, op),
		UPIDAddr:    b.Resolve(s.UPIDAddr, op),
		UITTAddr:    b.Resolve(s.UITTAddr, op),
		UINV:        s.UINV,
		UITTSize:    s.UITTSize,
	}
	if s.UIF {
		v.UIF = 1
	}
	return v
}

func putState(p []byte, v Values) {
	le.PutUint64(p[stateUIRR:], v.UIRR)
	le.PutUint64(p[stateUIF:], v.UIF)
	le.PutUint64(p[stateHandler:], v.Handler)
	le.PutUint64(p[stateStackAdjust:], v.StackAdjust)
	le.PutUint64(p[stateUPIDAddr:], v.UPIDAddr)
	le.PutUint64(p[stateUITTAddr:], v.UITTAddr)
	le.PutUint32(p[stateUINV:], v.UINV)
	le.PutUint32(p[stateUITTSize:], v.UITTSize)
}

func getState(p []byte) Values {
	return Values{
		UIRR:        le.Uint64(p[stateUIRR:]),
		UIF:         le.Uint64(p[stateUIF:]),
		Handler:     le.Uint64(p[stateHandler:]),
		StackAdjust: le.Uint64(p[stateStackAdjust:]),
		UPIDAddr:    le.Uint64(p[stateUPIDAddr:]),
		UITTAddr:    le.Uint64(p[stateUITTAddr:]),
		UINV:        le.Uint32(p[stateUINV:]),
		UITTSize:    le.Uint32(p[stateUITTSize:]),
	}
}

func putUPIDs(p []byte, upids [2]UPID) {
	for i, u := range upids {
		le.PutUint64(p[16*i:], u.Low)
		le.PutUint64(p[16*i+8:], u.PIR)
	}
}

func putBool(p []byte, v bool) {
	if v {
		le.PutUint32(p, 1)
	}
}
