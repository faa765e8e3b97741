package main

import (
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGoNames(t *testing.T) {
	for c, want := range map[string]string{
		"SPLIT_IRQCHIP": "SplitIRQChip", "X86_USER_SPACE_MSR": "X86UserSpaceMSR", "SYNC_REGS": "SyncRegs",
		"GET_TSC_KHZ": "GetTSCKHz", "X2APIC_API": "X2APICAPI", "READONLY_MEM": "ReadOnlyMem", "MAX_VCPU_ID": "MaxVCPUID",
	} {
		require.Equal(t, want, goName(c))
	}
}

func TestParseRefusesWhatIsNoNumber(t *testing.T) {
	_, err := parse([]byte("KVM_RUN forty-four\n"))
	require.ErrorContains(t, err, "KVM_RUN")
}

func TestRenderRefusesAMissingValue(t *testing.T) {
	_, err := render(map[string]uint64{"KVM_RUN": 1})
	require.ErrorContains(t, err, "gave no value")
}

// The header at hand may be another release's, but a number that once was ABI
// stays.
func TestCommittedConstantsMatchTheHeader(t *testing.T) {
	if _, err := exec.LookPath(compiler()); err != nil {
		t.Skip("no C compiler to compare with")
	}
	if _, err := os.Stat("/usr/include/linux/kvm.h"); err != nil {
		t.Skip("no <linux/kvm.h> to compare with")
	}
	values, err := headerValues(compiler(), allNames())
	require.NoError(t, err)
	want, err := render(values)
	require.NoError(t, err)
	got, err := os.ReadFile("../../zconstants_amd64.go")
	require.NoError(t, err)

	assignment := regexp.MustCompile(`(?m)^.* = .* // KVM_\w+$`)
	require.Equal(t, assignment.FindAllString(string(want), -1), assignment.FindAllString(string(got), -1),
		"run go generate ./kvm")
}

func TestHeaderValuesReportsTheCompilersMessage(t *testing.T) {
	if _, err := exec.LookPath(compiler()); err != nil {
		t.Skip("no C compiler")
	}
	_, err := headerValues(compiler(), []string{"KVM_NO_SUCH_NAME"})
	require.ErrorContains(t, err, "KVM_NO_SUCH_NAME")
}
