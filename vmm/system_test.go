package vmm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
	"gvmm/kvm"
	"gvmm/vcpu"
)

// absentOn are the tests of the images that find nothing to test, by the number of
// processors, on the software CPU. It has all else.
var absentOn = map[int]func(why string) bool{
	1: func(why string) bool { return strings.Contains(why, "more than one CPU") },
	4: func(string) bool { return false },
}

// systemOutcome is what a test kernel said of its tests.
type systemOutcome struct {
	ok, failed, skipped []string
	absent              map[string]string
}

// runSystem runs a test kernel and reads what it says.
func runSystem(t *testing.T, c Config) systemOutcome {
	t.Helper()
	var out bytes.Buffer
	c.Serial = &out
	m := newMachine(t, c)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	status, err := m.Run(ctx)
	require.NoError(t, err, out.String())
	o := systemOutcome{absent: map[string]string{}}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	for _, line := range lines[:len(lines)-1] {
		what, name, _ := strings.Cut(line, " ")
		switch what {
		case "ok":
			o.ok = append(o.ok, name)
		case "FAILED":
			o.failed = append(o.failed, name)
		case "skipped":
			o.skipped = append(o.skipped, name)
		case "absent":
			name, why, _ := strings.Cut(name, ": ")
			o.absent[name] = why
		default:
			require.Fail(t, "a line that says nothing of a test", line)
		}
	}
	require.Equal(t, fmt.Sprintf("%d failed", len(o.failed)), lines[len(lines)-1], out.String())
	require.Equal(t, len(o.failed) != 0, status != 0, out.String())
	return o
}

// systemImage builds a test kernel, or skips where it cannot be built.
func systemImage(t *testing.T, name string) string {
	t.Helper()
	path, err := guests.Build(images, name)
	if errors.Is(err, guests.ErrToolchain) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return path
}

func TestTheSoftwareCPUBehavesAsAMachineDoes(t *testing.T) {
	for _, image := range []string{guests.System, guests.Legacy} {
		for _, cpus := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s %d", image, cpus), func(t *testing.T) {
				o := runSystem(t, Config{Image: systemImage(t, image), CPUs: cpus, UINTR: true, Accel: vcpu.AccelSoft, Command: "text=as given"})
				require.Empty(t, o.failed)
				require.NotEmpty(t, o.ok)
				for name, why := range o.absent {
					require.True(t, absentOn[cpus](why), "%s: %s", name, why)
				}
			})
		}
	}
}

// interpretedCannot are the tests that a KVM cannot pass which interprets CPL 0
// (kvm_pvm), under what it does not do.
var interpretedCannot = []struct {
	why   string
	tests []string
}{
	{"INT n and INT3 at CPL 0 are not interpreted", []string{
		"debug_single_step_over_INT_is_seen_behind_it", "exception_breakpoint_returns_behind_itself", "exception_gates_that_are_not_there",
		"exception_icebp", "exception_int_n_reaches_every_vector", "exception_interrupt_and_trap_gates",
		"exception_resume_flag_in_the_image", "exception_stacks", "code_patched_with_a_breakpoint_while_others_run_it",
	}},
	{"INT n at CPL 3 is #UD, and so is a far call through a gate", []string{
		"code_of_the_user_that_the_kernel_changes", "exception_gates_judge_the_privilege_of_INT", "transfer_compatibility_mode",
		"transfer_syscall_from_compatibility_mode", "transfer_call_gate",
	}},
	{"SYSCALL stays at CPL 3", []string{
		"transfer_syscall_and_sysret",
	}},
	{"x87, SSE and XSAVE at CPL 0 are not interpreted, or not judged", []string{
		"exception_no_device", "exception_simd", "exception_wait_with_TS", "exception_x87_is_raised_by_the_next_instruction",
		"features_that_CPUID_does_not_show_are_undefined", "features_that_CPUID_shows_execute", "state_fxsave", "state_fxsave_refuses",
		"state_is_each_processors_own", "state_switched_when_it_is_used", "state_xcr0", "state_xrstor_refuses", "state_xsave_in_its_forms",
	}},
	{"CMPXCHG16B at CPL 0 is not interpreted", []string{
		"atomic_cmpxchg16b_stack",
	}},
	{"STAC and CLAC at CPL 0 are not interpreted", []string{
		"paging_smap",
	}},
	{"a far return to another privilege level is not interpreted", []string{
		"transfer_far_return_to_the_user",
	}},
	{"a locked access over two pages is done in halves", []string{
		"atomic_over_two_pages", "atomic_over_two_pages_16", "atomic_cmpxchg_64_over_two_pages",
		"paging_an_access_over_two_pages_is_done_whole_or_not_at_all",
	}},
	{"data breakpoints, the shadow of MOV SS and each iteration's step are not interpreted", []string{
		"debug_breakpoint_on_data", "debug_breakpoint_on_data_is_a_trap", "debug_breakpoint_on_data_waits_for_what_MOV_SS_covers",
		"debug_breakpoint_on_what_MOV_SS_covers_is_suppressed", "debug_single_step_leaves_out_what_MOV_SS_covers",
		"debug_single_step_shows_each_iteration", "debug_sti_and_mov_ss_hold_interrupts_for_one_instruction",
	}},
	{"CR0, CR4.TSD, IOPL and RFLAGS of the program are the host's, and refusals are missing", []string{
		"exception_alignment", "exception_io_permission", "exception_time_stamp_disable", "paging_control_registers_refuse",
		"transfer_iret_keeps_what_is_not_the_users", "transfer_iret_refuses", "transfer_bases", "features_MSRs_refuse",
		"time_stamp_of_one_CPU_never_goes_back",
	}},
	{"1 GiB pages are reserved", []string{
		"paging_accessed_and_dirty", "paging_three_sizes_show_one_memory",
	}},
	{"a page fault that makes a double fault leaves CR2", []string{
		"exception_double_fault",
	}},
	{"an interrupt that becomes deliverable while CPL 0 is interpreted comes late", []string{
		"debug_popf_and_cr8_let_interrupts_in_at_once", "apic_a_vector_is_kept_once", "apic_nesting_follows_priorities", "apic_self_in_all_ways", "apic_software_disabled",
		"apic_task_priority_holds_interrupts_back", "apic_without_EOI_nothing_of_that_class_comes", "apic_destinations",
	}},
	{"KVM's local APIC has no ESR and judges its registers less", []string{
		"apic_errors", "apic_x2apic", "apic_timer",
	}},
}

func TestKVMBehavesAsAMachineDoes(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing here that the race detector sees")
	}
	system, err := kvm.Open(kvm.DefaultPath)
	if err != nil {
		t.Skipf("needs KVM: %v", err)
	}
	require.NoError(t, system.Close())
	var skip []string
	if kvm.DescribeHost(os.DirFS("/")).Kind == kvm.HostPVM {
		for _, c := range interpretedCannot {
			t.Logf("%s: %v", c.why, c.tests)
			skip = append(skip, c.tests...)
		}
	}
	command := ""
	if len(skip) > 0 {
		command = "skip=" + strings.Join(skip, ",")
	}
	for cpus, command := range map[int]string{1: command, 4: command + " several=1"} {
		t.Run(fmt.Sprint(cpus), func(t *testing.T) {
			if cpus > 1 && !long {
				t.Skip("takes half a minute where CPL 0 is interpreted: GVMM_LONG=1 runs it")
			}
			o := runSystem(t, Config{Image: systemImage(t, guests.System), CPUs: cpus, Accel: vcpu.AccelKVM, Command: command})
			require.Empty(t, o.failed)
			require.NotEmpty(t, o.ok)
			if cpus == 1 {
				require.ElementsMatch(t, skip, o.skipped)
			}
			for name, why := range o.absent {
				t.Logf("%s: %s", name, why)
			}
		})
	}
}
