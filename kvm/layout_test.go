package kvm

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// layouts pairs each Go structure that the kernel reads or writes with the C
// type it stands for. Fields are "Go=c", or a Go name whose lower case is C's.
var layouts = []struct {
	goType any
	cType  string
	fields string
}{
	{Regs{}, "struct kvm_regs", "RAX RBX RCX RDX RSI RDI RSP RBP R8 R9 R10 R11 R12 R13 R14 R15 RIP RFLAGS"},
	{Segment{}, "struct kvm_segment", "Base Limit Selector Type Present DPL DB S L G AVL Unusable"},
	{DTable{}, "struct kvm_dtable", "Base Limit"},
	{SRegs{}, "struct kvm_sregs", "CS DS ES FS GS SS TR LDT GDT IDT CR0 CR2 CR3 CR4 CR8 EFER APICBase=apic_base InterruptBitmap=interrupt_bitmap"},
	{DebugRegs{}, "struct kvm_debugregs", "DB DR6 DR7 Flags"},
	{FPU{}, "struct kvm_fpu", "FPR FCW FSW FTWX LastOpcode=last_opcode LastIP=last_ip LastDP=last_dp XMM MXCSR"},
	{XCR{}, "struct kvm_xcr", "XCR Value"},
	{XCRS{}, "struct kvm_xcrs", "NrXCRs=nr_xcrs Flags XCRs"},
	{VCPUEvents{}, "struct kvm_vcpu_events", `Exception.Injected=exception.injected Exception.Nr=exception.nr
		Exception.HasErrorCode=exception.has_error_code Exception.Pending=exception.pending Exception.ErrorCode=exception.error_code
		Interrupt.Injected=interrupt.injected Interrupt.Nr=interrupt.nr Interrupt.Soft=interrupt.soft Interrupt.Shadow=interrupt.shadow
		NMI.Injected=nmi.injected NMI.Pending=nmi.pending NMI.Masked=nmi.masked SIPIVector=sipi_vector Flags
		SMI.SMM=smi.smm SMI.Pending=smi.pending SMI.SMMInsideNMI=smi.smm_inside_nmi SMI.LatchedInit=smi.latched_init
		TripleFaultPending=triple_fault.pending ExceptionHasPayload=exception_has_payload ExceptionPayload=exception_payload`},
	{LAPIC{}, "struct kvm_lapic_state", ""},
	{MPState(0), "struct kvm_mp_state", ""},
	{MSREntry{}, "struct kvm_msr_entry", "Index Data"},
	{msrFilterRange{}, "struct kvm_msr_filter_range", "flags nmsrs base bitmap"},
	{msrFilter{}, "struct kvm_msr_filter", "flags ranges"},
	{CPUIDEntry{}, "struct kvm_cpuid_entry2", "Function Index Flags EAX EBX ECX EDX"},
	{Translation{}, "struct kvm_translation", "LinearAddress=linear_address PhysicalAddress=physical_address Valid Writeable UserMode"},
	{GuestDebug{}, "struct kvm_guest_debug", "Control DebugReg=arch.debugreg"},
	{Clock{}, "struct kvm_clock_data", "Clock Flags Realtime HostTSC=host_tsc"},
	{enableCapArgs{}, "struct kvm_enable_cap", "cap args"},
	{deviceAttr{}, "struct kvm_device_attr", "group attr addr"},
	{userMemoryRegion{}, "struct kvm_userspace_memory_region", `slot flags guestPhysAddr=guest_phys_addr memorySize=memory_size
		userspaceAddr=userspace_addr`},
	{dirtyLog{}, "struct kvm_dirty_log", "slot bitmap=dirty_bitmap"},
	{pitConfig{}, "struct kvm_pit_config", ""},
	{irqLevel{}, "struct kvm_irq_level", "gsi=irq level"},
	{msi{}, "struct kvm_msi", "addressLo=address_lo addressHi=address_hi data"},
	{IRQRoute{}, "struct kvm_irq_routing_entry", "GSI Type Flags U"},
	{irqfd{}, "struct kvm_irqfd", "fd gsi flags resampleFD=resamplefd"},
	{ioeventfd{}, "struct kvm_ioeventfd", "datamatch addr len fd flags"},
	{runPage{}, "struct kvm_run", `request=request_interrupt_window exitReason=exit_reason
		readyForInterruptInjection=ready_for_interrupt_injection ifFlag=if_flag flags cr8 apicBase=apic_base exit=io
		validRegs=kvm_valid_regs dirtyRegs=kvm_dirty_regs sync=s`},
	{syncRegs{}, unionMember("s"), "regs=regs.regs sregs=regs.sregs events=regs.events"},
	{rawIO{}, unionMember("io"), "direction size port count dataOffset=data_offset"},
	{rawMMIO{}, unionMember("mmio"), "physAddr=phys_addr data len isWrite=is_write"},
	{rawMSR{}, unionMember("msr"), "error reason index data"},
	{rawInternal{}, unionMember("internal"), "suberror ndata data"},
	{rawEmulationFailure{}, unionMember("emulation_failure"), "suberror ndata flags insnSize=insn_size insnBytes=insn_bytes"},
	{rawSystemEvent{}, unionMember("system_event"), "kind=type ndata data"},
	{rawFailEntry{}, unionMember("fail_entry"), "reason=hardware_entry_failure_reason cpu"},
	{rawDebug{}, unionMember("debug"), "exception=arch.exception pc=arch.pc dr6=arch.dr6 dr7=arch.dr7"},
	{rawEOI{}, unionMember("eoi"), "vector"},
	{rawUnknown{}, unionMember("hw"), "reason=hardware_exit_reason"},
}

// unionMember names the anonymous type of a member of struct kvm_run.
func unionMember(name string) string { return "typeof(((struct kvm_run *)0)->" + name + ")" }

// numbers are offsets and sizes that the code has as plain numbers.
var numbers = []struct {
	value int
	c     string
}{
	{requestImmediateExit, "1 << 8 * offsetof(struct kvm_run, immediate_exit)"},
	{statsHeaderSize, "sizeof(struct kvm_stats_header)"},
	{4, "offsetof(struct kvm_stats_header, name_size)"},
	{8, "offsetof(struct kvm_stats_header, num_desc)"},
	{16, "offsetof(struct kvm_stats_header, desc_offset)"},
	{20, "offsetof(struct kvm_stats_header, data_offset)"},
	{statsDescSize, "offsetof(struct kvm_stats_desc, name)"},
	{4, "offsetof(struct kvm_stats_desc, exponent)"},
	{6, "offsetof(struct kvm_stats_desc, size)"},
	{8, "offsetof(struct kvm_stats_desc, offset)"},
	{12, "offsetof(struct kvm_stats_desc, bucket_size)"},
	{8, "offsetof(struct kvm_cpuid2, entries)"},
	{8, "offsetof(struct kvm_msrs, entries)"},
	{8, "offsetof(struct kvm_irq_routing, entries)"},
	{4, "offsetof(struct kvm_msr_list, indices)"},
	{4, "sizeof(struct kvm_interrupt)"},
	{legacyXSAVESize, "sizeof(struct kvm_xsave)"},
	{0, "offsetof(struct kvm_irq_routing_msi, address_lo)"},
	{4, "offsetof(struct kvm_irq_routing_msi, address_hi)"},
	{8, "offsetof(struct kvm_irq_routing_msi, data)"},
	{4, "offsetof(struct kvm_irq_routing_irqchip, pin)"},
}

func TestLayoutsMatchTheKernelHeader(t *testing.T) {
	var exprs, names []string
	var want []int
	expect := func(name, expr string, value int) {
		names, exprs, want = append(names, name), append(exprs, expr), append(want, value)
	}
	for _, l := range layouts {
		typ := reflect.TypeOf(l.goType)
		expect(typ.String(), "sizeof("+l.cType+")", int(typ.Size()))
		for _, f := range strings.Fields(l.fields) {
			goName, cName, ok := strings.Cut(f, "=")
			if !ok {
				cName = strings.ToLower(goName)
			}
			expect(typ.String()+"."+goName, fmt.Sprintf("offsetof(%s, %s)", l.cType, cName), fieldOffset(t, typ, goName))
		}
	}
	for _, n := range numbers {
		expect(n.c, n.c, n.value)
	}
	for i, got := range evaluateC(t, exprs) {
		require.Equal(t, got, want[i], "%s (%s)", names[i], exprs[i])
	}
}

func fieldOffset(t *testing.T, typ reflect.Type, path string) int {
	t.Helper()
	off := 0
	for name := range strings.SplitSeq(path, ".") {
		f, ok := typ.FieldByName(name)
		require.True(t, ok, "%s has no field %s", typ, name)
		off += int(f.Offset)
		typ = f.Type
	}
	return off
}

// evaluateC returns the values that the C compiler gives the expressions.
func evaluateC(t *testing.T, exprs []string) []int {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc to compare with")
	}
	if _, err := os.Stat("/usr/include/linux/kvm.h"); err != nil {
		t.Skip("no <linux/kvm.h> to compare with")
	}
	var src bytes.Buffer
	src.WriteString("#include <stddef.h>\n#include <stdio.h>\n#include <linux/kvm.h>\nint main(void) {\n")
	for _, e := range exprs {
		fmt.Fprintf(&src, "\tprintf(\"%%zu\\n\", (size_t)(%s));\n", e)
	}
	src.WriteString("}\n")
	file, bin := filepath.Join(t.TempDir(), "layout.c"), filepath.Join(t.TempDir(), "layout")
	require.NoError(t, os.WriteFile(file, src.Bytes(), 0o600))
	msg, err := exec.Command(gcc, "-o", bin, file).CombinedOutput()
	require.NoError(t, err, "%s", msg)
	out, err := exec.Command(bin).Output()
	require.NoError(t, err)

	lines := strings.Fields(string(out))
	require.Len(t, lines, len(exprs))
	values := make([]int, len(lines))
	for i, l := range lines {
		values[i], err = strconv.Atoi(l)
		require.NoError(t, err)
	}
	return values
}
