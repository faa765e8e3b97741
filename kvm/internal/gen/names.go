package main

import (
	"slices"
	"strings"
)

// A group is a set of header names that become constants of one Go type.
type group struct {
	doc      string // comment above the const block
	typ      string // Go type; empty for untyped constants
	goPrefix string // of every Go name
	cPrefix  string // of every header name; dropped from the Go name
	stringer bool   // whether typ gets a String method with the header's names
	hex      bool   // whether values are written in hexadecimal
	names    string // header names without cPrefix, separated by space
}

var groups = []group{
	{
		doc: "Requests of ioctl(2).", typ: "request", goPrefix: "req", cPrefix: "KVM_", stringer: true, hex: true,
		names: `GET_API_VERSION CREATE_VM CHECK_EXTENSION GET_VCPU_MMAP_SIZE GET_SUPPORTED_CPUID GET_MSR_INDEX_LIST
			CREATE_VCPU SET_USER_MEMORY_REGION GET_DIRTY_LOG SET_TSS_ADDR SET_IDENTITY_MAP_ADDR CREATE_IRQCHIP IRQ_LINE
			CREATE_PIT2 SET_GSI_ROUTING IRQFD IOEVENTFD SIGNAL_MSI GET_CLOCK ENABLE_CAP X86_SET_MSR_FILTER
			RUN GET_REGS SET_REGS GET_SREGS SET_SREGS GET_MSRS SET_MSRS GET_CPUID2 SET_CPUID2 GET_FPU SET_FPU
			GET_XSAVE GET_XSAVE2 SET_XSAVE GET_XCRS SET_XCRS GET_DEBUGREGS SET_DEBUGREGS GET_VCPU_EVENTS SET_VCPU_EVENTS
			GET_MP_STATE SET_MP_STATE GET_LAPIC SET_LAPIC INTERRUPT NMI TRANSLATE SET_GUEST_DEBUG SET_TSC_KHZ GET_TSC_KHZ
			SET_DEVICE_ATTR GET_DEVICE_ATTR HAS_DEVICE_ATTR GET_STATS_FD`,
	},
	{
		doc: "Capabilities.", typ: "Cap", goPrefix: "Cap", cPrefix: "KVM_CAP_", stringer: true,
		names: `IRQCHIP HLT USER_MEMORY SET_TSS_ADDR EXT_CPUID NR_VCPUS NR_MEMSLOTS PIT MP_STATE COALESCED_MMIO SYNC_MMU
			USER_NMI SET_GUEST_DEBUG REINJECT_CONTROL IRQ_ROUTING IRQFD PIT2 IOEVENTFD SET_IDENTITY_MAP_ADDR ADJUST_CLOCK
			INTERNAL_ERROR_DATA VCPU_EVENTS INTR_SHADOW DEBUGREGS X86_ROBUST_SINGLESTEP ENABLE_CAP XSAVE XCRS TSC_CONTROL
			GET_TSC_KHZ MAX_VCPUS TSC_DEADLINE_TIMER SYNC_REGS SIGNAL_MSI READONLY_MEM IRQFD_RESAMPLE DEVICE_CTRL
			ENABLE_CAP_VM IOEVENTFD_NO_LENGTH CHECK_EXTENSION_VM DISABLE_QUIRKS GUEST_DEBUG_HW_BPS GUEST_DEBUG_HW_WPS
			SPLIT_IRQCHIP IOEVENTFD_ANY_LENGTH VCPU_ATTRIBUTES MAX_VCPU_ID X2APIC_API IMMEDIATE_EXIT X86_DISABLE_EXITS
			COALESCED_PIO EXCEPTION_PAYLOAD MANUAL_DIRTY_LOG_PROTECT2 HALT_POLL X86_USER_SPACE_MSR X86_MSR_FILTER
			ENFORCE_PV_FEATURE_CPUID DIRTY_LOG_RING X86_BUS_LOCK_EXIT SET_GUEST_DEBUG2 SREGS2 EXIT_HYPERCALL BINARY_STATS_FD
			EXIT_ON_EMULATION_FAILURE VM_GPA_BITS XSAVE2 PMU_CAPABILITY DISABLE_QUIRKS2 VM_TSC_CONTROL SYSTEM_EVENT_DATA
			X86_TRIPLE_FAULT_EVENT X86_NOTIFY_VMEXIT VM_DISABLE_NX_HUGE_PAGES`,
	},
	{
		doc: "Exit reasons.", typ: "ExitReason", goPrefix: "Exit", cPrefix: "KVM_EXIT_", stringer: true,
		names: `UNKNOWN EXCEPTION IO HYPERCALL DEBUG HLT MMIO IRQ_WINDOW_OPEN SHUTDOWN FAIL_ENTRY INTR SET_TPR TPR_ACCESS
			NMI INTERNAL_ERROR WATCHDOG SYSTEM_EVENT IOAPIC_EOI HYPERV X86_RDMSR X86_WRMSR DIRTY_RING_FULL AP_RESET_HOLD
			X86_BUS_LOCK XEN NOTIFY`,
	},
	{
		doc: "States of a vCPU for [VCPU.SetMPState].", typ: "MPState", goPrefix: "MPState", cPrefix: "KVM_MP_STATE_", stringer: true,
		names: "RUNNABLE UNINITIALIZED INIT_RECEIVED HALTED SIPI_RECEIVED",
	},
	{
		doc: "Causes of [ExitInternalError].", typ: "InternalErrorCause", goPrefix: "InternalError", cPrefix: "KVM_INTERNAL_ERROR_", stringer: true,
		names: "EMULATION SIMUL_EX DELIVERY_EV UNEXPECTED_EXIT_REASON",
	},
	{
		doc: "Kinds of [ExitSystemEvent].", typ: "SystemEventType", goPrefix: "SystemEvent", cPrefix: "KVM_SYSTEM_EVENT_", stringer: true,
		names: "SHUTDOWN RESET CRASH WAKEUP SUSPEND SEV_TERM",
	},
	{
		doc: "Why an MSR access left to user space: bits of [MSRExit] and of the argument of [CapX86UserSpaceMSR].", typ: "MSRExitReason",
		goPrefix: "MSRExitReason", cPrefix: "KVM_MSR_EXIT_REASON_", hex: true, names: "INVAL UNKNOWN FILTER",
	},
	{
		doc: "Bits of [MSRFilterRange].", typ: "uint32", goPrefix: "MSRFilter", cPrefix: "KVM_MSR_FILTER_", hex: true, names: "READ WRITE",
	},
	{
		doc: "Limits of [VM.SetMSRFilter].", goPrefix: "msrFilter", cPrefix: "KVM_MSR_FILTER_",
		names: "MAX_RANGES MAX_BITMAP_SIZE DEFAULT_DENY",
	},
	{
		doc: "Flags of [MemoryRegion].", typ: "uint32", goPrefix: "Mem", cPrefix: "KVM_MEM_", hex: true, names: "LOG_DIRTY_PAGES READONLY",
	},
	{
		doc: "Flags of [CPUIDEntry].", typ: "uint32", goPrefix: "CPUIDFlag", cPrefix: "KVM_CPUID_FLAG_", hex: true,
		names: "SIGNIFCANT_INDEX STATEFUL_FUNC STATE_READ_NEXT",
	},
	{
		doc: "Register classes of [Run.SetValidRegs] and [Run.SetDirtyRegs].", typ: "uint64", goPrefix: "Sync", cPrefix: "KVM_SYNC_X86_", hex: true,
		names: "REGS SREGS EVENTS",
	},
	{
		doc: "Bits of [Run.Flags].", typ: "uint16", goPrefix: "RunX86", cPrefix: "KVM_RUN_X86_", hex: true, names: "SMM BUS_LOCK",
	},
	{
		doc: "Direction of a port access.", typ: "uint8", goPrefix: "IO", cPrefix: "KVM_EXIT_IO_", names: "IN OUT",
	},
	{
		doc: "Flags of the emulation failure.", goPrefix: "emulationFlag", cPrefix: "KVM_INTERNAL_ERROR_EMULATION_FLAG_", hex: true,
		names: "INSTRUCTION_BYTES",
	},
	{
		doc: "Which parts of [VCPUEvents] count in [VCPU.SetVCPUEvents].", typ: "uint32", goPrefix: "Event", cPrefix: "KVM_VCPUEVENT_", hex: true,
		names: "VALID_NMI_PENDING VALID_SIPI_VECTOR VALID_SHADOW VALID_SMM VALID_PAYLOAD VALID_TRIPLE_FAULT",
	},
	{
		doc: "Bits of the interrupt shadow in [VCPUEvents].", typ: "uint8", goPrefix: "Shadow", cPrefix: "KVM_X86_SHADOW_", hex: true,
		names: "INT_MOV_SS INT_STI",
	},
	{
		doc: "Control bits of [GuestDebug].", typ: "uint32", goPrefix: "GuestDebug", cPrefix: "KVM_GUESTDBG_", hex: true,
		names: "ENABLE SINGLESTEP USE_SW_BP USE_HW_BP INJECT_DB INJECT_BP BLOCKIRQ",
	},
	{
		doc: "In-kernel interrupt controllers of [IRQChipRoute].", typ: "uint32", goPrefix: "IRQChip", cPrefix: "KVM_IRQCHIP_",
		names: "PIC_MASTER PIC_SLAVE IOAPIC",
	},
	{
		doc: "Types of [IRQRoute].", typ: "uint32", goPrefix: "IRQRouting", cPrefix: "KVM_IRQ_ROUTING_", names: "IRQCHIP MSI",
	},
	{
		doc: "Flags of KVM_IRQFD.", goPrefix: "irqfdFlag", cPrefix: "KVM_IRQFD_FLAG_", hex: true, names: "DEASSIGN RESAMPLE",
	},
	{
		doc: "Flags of KVM_IOEVENTFD.", goPrefix: "ioeventfdFlag", cPrefix: "KVM_IOEVENTFD_FLAG_", hex: true, names: "DATAMATCH PIO DEASSIGN",
	},
	{
		doc: "Arguments of [CapX2APICAPI].", typ: "uint64", goPrefix: "X2APICAPI", cPrefix: "KVM_X2APIC_API_", hex: true,
		names: "USE_32BIT_IDS DISABLE_BROADCAST_QUIRK",
	},
	{
		doc: "Arguments of [CapX86DisableExits].", typ: "uint64", goPrefix: "DisableExits", cPrefix: "KVM_X86_DISABLE_EXITS_", hex: true,
		names: "MWAIT HLT PAUSE CSTATE",
	},
	{
		doc: "Arguments of [CapDisableQuirks2].", typ: "uint64", goPrefix: "Quirk", cPrefix: "KVM_X86_QUIRK_", hex: true,
		names: `LINT0_REENABLED CD_NW_CLEARED LAPIC_MMIO_HOLE OUT_7E_INC_RIP MISC_ENABLE_NO_MWAIT FIX_HYPERCALL_INSN
			MWAIT_NEVER_UD_FAULTS`,
	},
	{
		doc: "Flags of [Clock].", typ: "uint32", goPrefix: "Clock", cPrefix: "KVM_CLOCK_", hex: true, names: "TSC_STABLE REALTIME HOST_TSC",
	},
	{
		doc: "Attribute of a vCPU that holds its TSC offset.", goPrefix: "attr", cPrefix: "KVM_VCPU_", names: "TSC_CTRL TSC_OFFSET",
	},
	{
		doc: "Fields of a statistics descriptor's flags.", goPrefix: "stats", cPrefix: "KVM_STATS_", hex: true,
		names: `TYPE_SHIFT TYPE_MASK TYPE_CUMULATIVE TYPE_INSTANT TYPE_PEAK TYPE_LINEAR_HIST TYPE_LOG_HIST
			UNIT_SHIFT UNIT_MASK UNIT_NONE UNIT_BYTES UNIT_SECONDS UNIT_CYCLES UNIT_BOOLEAN BASE_SHIFT BASE_MASK BASE_POW10 BASE_POW2`,
	},
	{
		doc: "Interface version and sizes.", cPrefix: "KVM_", goPrefix: "kvm", hex: true,
		names: "API_VERSION APIC_REG_SIZE MAX_XCRS NR_INTERRUPTS",
	},
}

// allNames lists every header name the groups use.
func allNames() []string {
	var all []string
	for _, g := range groups {
		for name := range strings.FieldsSeq(g.names) {
			all = append(all, g.cPrefix+name)
		}
	}
	return all
}

// spelling holds the words that are not simply capitalised.
var spelling = map[string]string{
	"SIGNIFCANT": "Significant", // the header's own slip
	"IRQCHIP":    "IRQChip", "IOEVENTFD": "IOEventFD", "READONLY": "ReadOnly",
	"SINGLESTEP": "SingleStep", "BLOCKIRQ": "BlockIRQ", "VMEXIT": "VMExit",
	"VCPUS": "VCPUs", "MEMSLOTS": "MemSlots", "32BIT": "32Bit", "IDS": "IDs", "BPS": "BPs", "WPS": "WPs",
	"DEBUGREGS": "DebugRegs", "MSRS": "MSRs", "SREGS": "SRegs", "SREGS2": "SRegs2", "DATAMATCH": "DataMatch",
	"HYPERV": "HyperV", "CSTATE": "CState", "INVAL": "Inval", "KHZ": "KHz",
}

// initialisms stay in capitals.
var initialisms = strings.Fields(`7E API APIC BP CD CPUID CPUID2 CR DB EOI FD FPU GPA GSI HLT HW ID IO IOAPIC IRQ IRQFD
	LAPIC LINT0 MMIO MMU MP MSI MSR MWAIT NMI NR NW NX PIC PIO PIT PIT2 PMU PV RDMSR RIP SEV SIPI SMM SS STI SW TPR TSC TSS UD
	VCPU VM WRMSR X2APIC X86 XCRS XSAVE XSAVE2`)

// goName turns a header name such as SPLIT_IRQCHIP into SplitIRQChip.
func goName(name string) string {
	var b strings.Builder
	for w := range strings.SplitSeq(name, "_") {
		b.WriteString(goWord(w))
	}
	return b.String()
}

func goWord(w string) string {
	if s, ok := spelling[w]; ok {
		return s
	}
	if slices.Contains(initialisms, w) {
		return w
	}
	return w[:1] + strings.ToLower(w[1:])
}
