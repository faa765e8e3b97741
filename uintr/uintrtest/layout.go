package uintrtest

// Offsets in the records, in bytes. uintrtest.h has the same.
const (
	stateUIRR        = 0
	stateUIF         = 8
	stateHandler     = 16
	stateStackAdjust = 24
	stateUPIDAddr    = 32
	stateUITTAddr    = 40
	stateUINV        = 48
	stateUITTSize    = 52
	stateSize        = 56

	caseOp      = 0
	caseVector  = 4
	caseFlags   = 8
	caseOperand = 16
	caseBefore  = 24
	caseUPID    = 80
	caseUITT    = 112
	caseRFLAGS  = 176
	caseRSP     = 184
	caseFrame   = 192

	resultDone         = 0
	resultDelivered    = 4
	resultAfter        = 8
	resultUPID         = 64
	resultFaultVector  = 96
	resultFaultError   = 100
	resultFaultAddress = 104
	resultIPISent      = 112
	resultIPIVector    = 116
	resultIPINDST      = 120
	resultIdentified   = 124
	resultFrame        = 128
	resultRIP          = 160
	resultRSP          = 168
	resultRFLAGS       = 176

	basesUPIDArray = 0
	basesUITTArray = 8
	basesHandler   = 16
	basesStackTop  = 24
	basesUnmapped  = 32
	basesOp        = 48
	basesAfter     = 96
)

// Sizes of the records, in bytes.
const (
	CaseSize   = 256
	ResultSize = 192
	BasesSize  = 160
)

// member is a member of a C struct. Bytes between members are reserved and 0.
type member struct {
	ctype, name, dims string
	offset, size      int
	comment           string
}

type cstruct struct {
	name    string
	size    int
	members []member
}

var layout = []cstruct{
	{"ut_state", stateSize, []member{
		{"uint64_t", "uirr", "", stateUIRR, 8, ""},
		{"uint64_t", "uif", "", stateUIF, 8, "0 or 1"},
		{"uint64_t", "handler", "", stateHandler, 8, ""},
		{"uint64_t", "stackadjust", "", stateStackAdjust, 8, "bit 0: load mode"},
		{"uint64_t", "upidaddr", "", stateUPIDAddr, 8, ""},
		{"uint64_t", "uittaddr", "", stateUITTAddr, 8, "bit 0: SENDUIPI enable"},
		{"uint32_t", "uinv", "", stateUINV, 4, ""},
		{"uint32_t", "uittsize", "", stateUITTSize, 4, "highest valid index"},
	}},
	{"ut_case", CaseSize, []member{
		{"uint32_t", "op", "", caseOp, 4, "UT_OP_*"},
		{"uint32_t", "vector", "", caseVector, 4, "NOTIFY"},
		{"uint32_t", "flags", "", caseFlags, 4, "UT_FLAG_*"},
		{"uint64_t", "operand", "", caseOperand, 8, "SENDUIPI"},
		{"struct ut_state", "before", "", caseBefore, stateSize, ""},
		{"uint64_t", "upid", "[2][2]", caseUPID, 32, "{control, PIR}, 64 bytes apart in memory"},
		{"uint64_t", "uitt", "[4][2]", caseUITT, 64, ""},
		{"uint64_t", "rflags", "", caseRFLAGS, 8, "at the operation"},
		{"uint64_t", "rsp", "", caseRSP, 8, "at the operation"},
		{"uint64_t", "frame", "[3]", caseFrame, 24, "RIP, RFLAGS, RSP for UT_FLAG_PLACE_FRAME"},
	}},
	{"ut_result", ResultSize, []member{
		{"uint32_t", "done", "", resultDone, 4, "1: the record is complete"},
		{"uint32_t", "delivered", "", resultDelivered, 4, ""},
		{"struct ut_state", "after", "", resultAfter, stateSize, ""},
		{"uint64_t", "upid", "[2][2]", resultUPID, 32, ""},
		{"uint32_t", "fault_vector", "", resultFaultVector, 4, "0: none"},
		{"uint32_t", "fault_error", "", resultFaultError, 4, ""},
		{"uint64_t", "fault_address", "", resultFaultAddress, 8, "CR2 of a #PF"},
		{"uint32_t", "ipi_sent", "", resultIPISent, 4, ""},
		{"uint32_t", "ipi_vector", "", resultIPIVector, 4, ""},
		{"uint32_t", "ipi_ndst", "", resultIPINDST, 4, "as stored in the UPID"},
		{"uint32_t", "identified", "", resultIdentified, 4, "a vector was taken as a notification"},
		{"uint64_t", "frame", "[4]", resultFrame, 32, "delivered: the quadwords at rsp"},
		{"uint64_t", "rip", "", resultRIP, 8, "handler, faulting instruction, or after the operation"},
		{"uint64_t", "rsp", "", resultRSP, 8, "there"},
		{"uint64_t", "rflags", "", resultRFLAGS, 8, "there"},
	}},
	{"ut_bases", BasesSize, []member{
		{"uint64_t", "upid_array", "", basesUPIDArray, 8, "64-byte aligned; supervisor, writable"},
		{"uint64_t", "uitt_array", "", basesUITTArray, 8, "16-byte aligned; supervisor, writable"},
		{"uint64_t", "handler", "", basesHandler, 8, "user code"},
		{"uint64_t", "stack_top", "", basesStackTop, 8, "page aligned; two user pages below it, none around them"},
		{"uint64_t", "unmapped", "", basesUnmapped, 8, "page aligned; this page and the next not present"},
		{"uint64_t", "op", "[UT_OPS]", basesOp, 8 * Ops, "the instruction of each operation"},
		{"uint64_t", "after", "[UT_OPS]", basesAfter, 8 * Ops, "what follows it"},
	}},
}
