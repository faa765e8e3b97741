package bench

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
	"gvmm/guests/guesttest"
)

func TestUIPIMeasuresTheSoftwareCPUWithoutKVM(t *testing.T) {
	var calls []int
	r, err := UIPI(testContext(t), UIPIOptions{
		Image: guesttest.Image(t, t.TempDir(), guests.UIPI), Samples: 200, Rounds: 2, KVM: "/dev/null",
		Progress: func(done, total int) { require.Equal(t, 2, total); calls = append(calls, done) },
	})
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, calls)
	require.Len(t, r.Rows, min(2, runtime.NumCPU()))
	require.Contains(t, r.Absent[0], "kvm: ")
	for i, row := range r.Rows {
		require.Equal(t, []string{"self", "across"}[i], row.To)
		require.Equal(t, "soft", row.Engine)
		require.Equal(t, "native", row.Way)
		require.Positive(t, row.P50)
		require.LessOrEqual(t, row.Minimum, row.P50)
		require.LessOrEqual(t, row.P50, row.P99)
		require.Positive(t, row.PerSecond)
		require.InDelta(t, 1, row.ToSoft, 1e-9)
	}
	require.Zero(t, r.Rows[0].Coalesced, "to itself each is delivered at the next boundary")
}

func TestUIPIMeasuresKVMWhereItWorks(t *testing.T) {
	guesttest.RequireKVM(t)
	r, err := UIPI(testContext(t), UIPIOptions{
		Image: guesttest.Image(t, t.TempDir(), guests.UIPI), Samples: 20, Rounds: 1, KVM: "/dev/kvm",
	})
	require.NoError(t, err)
	engines := make(map[string]bool)
	for _, row := range r.Rows {
		engines[row.Engine+" "+row.Way] = true
		require.Positive(t, row.P50)
	}
	require.True(t, engines["kvm direct"] || engines["kvm resident"] || len(r.Absent) >= 2, "%v", r.Absent)
}

func TestUIPIReadsWhatTheImagePrints(t *testing.T) {
	times, err := parseUIPI([]byte("noise\nuipi self: samples 7 ticks: minimum 1 p50 2 p99 3 waited 4 unwaited 5 coalesced 6\r\n"))
	require.NoError(t, err)
	require.Equal(t, map[string]uipiTimes{"self": {7, 1, 2, 3, 4, 5, 6}}, times)
	_, err = parseUIPI([]byte("begin\nloop ALU: ..."))
	require.ErrorContains(t, err, "not that of the uipi image: begin")
	_, err = parseUIPI([]byte("uipi self: samples 99999999999999999999 ticks: minimum 1 p50 2 p99 3 waited 4 unwaited 5 coalesced 6"))
	require.Error(t, err)
}
