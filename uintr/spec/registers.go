package spec

// Model-specific registers, `uintr.md §1.3`.
const (
	MSRRR          = 0x985 // IA32_UINTR_RR: UIRR
	MSRHandler     = 0x986 // IA32_UINTR_HANDLER: UIHANDLER
	MSRStackAdjust = 0x987 // IA32_UINTR_STACKADJUST: UISTACKADJUST
	MSRMisc        = 0x988 // IA32_UINTR_MISC: UITTSZ, UINV
	MSRPD          = 0x989 // IA32_UINTR_PD: UPIDADDR
	MSRTT          = 0x98A // IA32_UINTR_TT: UITTADDR and the SENDUIPI enable
	MSRXSS         = 0xDA0 // IA32_XSS
)

// Fields of the MSRs.
const (
	MiscUITTSizeMask = uint64(0x0000_0000_FFFF_FFFF)
	MiscUINVShift    = 32
	MiscReserved     = uint64(0xFFFF_FF00_0000_0000)
	PDReserved       = uint64(0x3F)
	TTEnable         = uint64(1) // SENDUIPI is #UD while clear
	TTReserved       = uint64(0xE)
	TTAddressMask    = ^uint64(0xF)
	StackAdjustLoad  = uint64(1) // RSP is loaded with UISTACKADJUST instead of lowered by it
)

// Enumeration and enabling, `uintr.md §1.1`.
const (
	CPUIDLeaf         = 7              // subleaf 0
	CPUIDBit          = uint32(1 << 5) // EDX
	CR4UINTR          = uint64(1 << 25)
	XSaveComponent    = 14
	XSSUINTR          = uint64(1 << XSaveComponent)
	CPUIDXSaveLeaf    = 0xD                         // subleaf 1: ECX lists the bits of IA32_XSS; subleaf 14: the component
	CPUIDXSaveECX     = uint32(1 << 0)              // of subleaf 14: supervisor state, no 64-byte alignment
	CPUIDXSSSupported = uint32(1 << XSaveComponent) // of subleaf 1, ECX
)

// The bits of RFLAGS that the architecture names.
const (
	FlagCF = uint64(1 << 0)
	FlagPF = uint64(1 << 2)
	FlagAF = uint64(1 << 4)
	FlagZF = uint64(1 << 6)
	FlagSF = uint64(1 << 7)
	FlagTF = uint64(1 << 8)
	FlagIF = uint64(1 << 9)
	FlagOF = uint64(1 << 11)
	FlagRF = uint64(1 << 16)

	// FlagsUIRET are the bits that UIRET takes from the popped image: CF PF AF ZF SF TF DF OF NT RF AC ID (`uintr.md §1.9`).
	FlagsUIRET = uint64(0x25_4DD5)
)

// The frame that delivery pushes, offsets from RSP at the handler (`uintr.md §1.8`). UIRET's frame is the same without
// its vector.
const (
	FrameVector = 0
	FrameRIP    = 8
	FrameRFLAGS = 16
	FrameRSP    = 24
	FrameSize   = 32

	ReturnRIP    = 0
	ReturnRFLAGS = 8
	ReturnRSP    = 16
	ReturnSize   = 24
)

// Vectors is the number of user-interrupt vectors of one receiver.
const Vectors = 64
