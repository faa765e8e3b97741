package bench

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
)

func TestAttacksAreRefusedAndHarmNobody(t *testing.T) {
	told := 0
	r, err := Attack(context.Background(), AttackOptions{Window: 5 * time.Millisecond, Rounds: 2, Progress: func(done, total int) {
		told++
		require.Equal(t, told, done)
		require.Equal(t, len(attacks), total)
	}})
	require.NoError(t, err)
	require.Equal(t, len(attacks), told)
	want := map[string]spec.Reason{
		"the victim's interrupt index": spec.SourceRefused, "the victim's UPID by its own entry": spec.PoolDenied,
		"messages in the compatibility format": spec.CompatBlocked, "DMA to memory that is not its own": spec.WriteDenied,
		"DMA to the interrupt table": spec.ProtectedMemory, "DMA to UPIDs": spec.ProtectedMemory,
	}
	for _, row := range r.Rows {
		require.NotZero(t, row.Attempts, row.Attack)
		require.NotZero(t, row.Completed, row.Attack)
		require.Positive(t, row.Quiet.P50, row.Attack)
		require.Positive(t, row.RatioP50, row.Attack)
		if reason, ok := want[row.Attack]; ok {
			require.Equal(t, map[string]int{reason.String(): int(row.Attempts)}, row.Reasons, row.Attack)
			delete(want, row.Attack)
		}
	}
	require.Empty(t, want)
}

func TestAnAttackThatIsNotRefusedIsAnError(t *testing.T) {
	harmless := attack{"nothing", true, func(t *tenants, _ uint64) { t.raise(attacker, attacker) }}
	_, err := harmless.measure(context.Background(), AttackOptions{Window: 20 * time.Millisecond, Rounds: 2})
	require.ErrorIs(t, err, errRefused)

	harmful := attack{"its requests", false, func(t *tenants, _ uint64) { _, _ = t.mem.Or64(tenantUPID(victim)+8, 1<<attacker) }}
	_, err = harmful.measure(context.Background(), AttackOptions{Window: 20 * time.Millisecond, Rounds: 2})
	require.ErrorIs(t, err, errHarmed)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Attack(ctx, AttackOptions{Window: time.Millisecond, Rounds: 1})
	require.ErrorIs(t, err, context.Canceled)
}
