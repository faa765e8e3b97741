package vmm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
	"gvmm/vmm/boot"
)

func TestTheEngineIsChosenByWhatIsAskedForAndByTheImage(t *testing.T) {
	ours := boot.Entry{Note: boot.NotePresent | boot.NoteLight}
	for name, c := range map[string]struct {
		config Config
		entry  boot.Entry
		want   vcpu.Accel
		why    string
	}{
		"asked for KVM":       {Config{Accel: vcpu.AccelKVM}, ours, vcpu.AccelKVM, ""},
		"asked for soft":      {Config{Accel: vcpu.AccelSoft}, ours, vcpu.AccelSoft, ""},
		"virtual time":        {Config{ICount: 1}, ours, vcpu.AccelSoft, "counts instructions"},
		"the native way":      {Config{Way: vcpu.WayNative}, ours, vcpu.AccelSoft, "itself"},
		"a way of KVM's":      {Config{Way: vcpu.WayResident}, ours, vcpu.AccelKVM, "KVM's"},
		"somebody's kernel":   {Config{}, boot.Entry{}, vcpu.AccelSoft, "IOAPIC"},
		"ours, but no device": {Config{KVM: "/nonexistent/kvm"}, ours, vcpu.AccelSoft, "/nonexistent/kvm"},
	} {
		t.Run(name, func(t *testing.T) {
			accel, why := chooseAccel(&c.config, c.entry)
			require.Equal(t, c.want, accel)
			require.Contains(t, why, c.why)
			require.NotContains(t, why, "\n")
		})
	}
}
