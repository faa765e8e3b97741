package hw

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/kvm"
)

func requireKVM(t *testing.T) {
	t.Helper()
	s, err := kvm.Open(kvm.DefaultPath)
	if err != nil {
		t.Skipf("needs KVM: %v", err)
	}
	require.NoError(t, s.Close())
}

func TestProbeFindsAWorkingWayAndMeasuresIt(t *testing.T) {
	requireKVM(t)
	p, err := RunProbe(kvm.DefaultPath)
	require.NoError(t, err)
	t.Logf("%+v", *p)
	require.True(t, p.Direct.Works || p.Resident.Works, "%+v", *p)
	require.True(t, p.Kick.Works, p.Kick.Why)
}
