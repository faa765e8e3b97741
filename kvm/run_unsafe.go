package kvm

import (
	"sync/atomic"
	"unsafe"
)

// runPage is struct kvm_run. Its first two bytes are one atomic word with the
// padding behind them: Go has no atomic byte.
type runPage struct {
	request                    uint32 // request_interrupt_window | immediate_exit<<8
	_                          uint32
	exitReason                 ExitReason
	readyForInterruptInjection uint8
	ifFlag                     uint8
	flags                      uint16
	cr8                        uint64
	apicBase                   uint64
	exit                       [256]byte // union of the exits' particulars
	validRegs                  uint64
	dirtyRegs                  uint64
	sync                       syncRegs
}

const (
	requestInterruptWindow = 1 << 0
	requestImmediateExit   = 1 << 8
	runPageSize            = int(unsafe.Sizeof(runPage{}))
)

// syncRegs is struct kvm_sync_regs, padded to 2048 bytes.
type syncRegs struct {
	regs   Regs
	sregs  SRegs
	events VCPUEvents
	_      [2048 - unsafe.Sizeof(Regs{}) - unsafe.Sizeof(SRegs{}) - unsafe.Sizeof(VCPUEvents{})]byte
}

// Members of the union in struct kvm_run.
type (
	rawIO struct {
		direction  uint8
		size       uint8
		port       uint16
		count      uint32
		dataOffset uint64
	}
	rawMMIO struct {
		physAddr uint64
		data     [8]byte
		len      uint32
		isWrite  uint8
	}
	rawMSR struct {
		error  uint8
		_      [7]uint8
		reason MSRExitReason
		index  uint32
		data   uint64
	}
	rawInternal struct {
		suberror InternalErrorCause
		ndata    uint32
		data     [16]uint64
	}
	rawEmulationFailure struct {
		suberror  InternalErrorCause
		ndata     uint32
		flags     uint64
		insnSize  uint8
		insnBytes [15]byte
	}
	rawSystemEvent struct {
		kind  SystemEventType
		ndata uint32
		data  [16]uint64
	}
	rawFailEntry struct {
		reason uint64
		cpu    uint32
	}
	rawDebug struct {
		exception uint32
		_         uint32
		pc        uint64
		dr6       uint64
		dr7       uint64
	}
	rawEOI struct {
		vector uint8
	}
	rawUnknown struct {
		reason uint64
	}
)

func newRun(mem []byte) *Run {
	return &Run{page: (*runPage)(unsafe.Pointer(&mem[0])), mem: mem}
}

// union views the exit's particulars as one of its members.
func union[T any](r *Run) *T { return (*T)(unsafe.Pointer(&r.page.exit)) }

func (r *Run) setRequest(bit uint32, on bool) {
	if on {
		atomic.OrUint32(&r.page.request, bit)
	} else {
		atomic.AndUint32(&r.page.request, ^bit)
	}
}
