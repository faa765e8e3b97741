package hw

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/guests/guesttest"
	"gvmm/kvm"
)

func TestProbeFindsAWorkingWayAndMeasuresIt(t *testing.T) {
	guesttest.RequireKVM(t)
	p, err := RunProbe(kvm.DefaultPath)
	require.NoError(t, err)
	t.Logf("%+v", *p)
	require.True(t, p.Direct.Works || p.Resident.Works, "%+v", *p)
	require.True(t, p.Kick.Works, p.Kick.Why)
}
