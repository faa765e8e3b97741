package bench

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
	"gvmm/guests/guesttest"
	"gvmm/vcpu"
	"gvmm/vmm"
)

// setUp gives an image and a disk, or skips.
func setUp(t *testing.T) (image, disk string) {
	t.Helper()
	dir := t.TempDir()
	image = guesttest.Image(t, dir, guests.Main)
	disk = filepath.Join(dir, "disk.img")
	require.NoError(t, os.WriteFile(disk, make([]byte, 64<<10), 0o600))
	return image, disk
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestExitsMeasuresEveryVariantAtEveryDepth(t *testing.T) {
	image, disk := setUp(t)
	guesttest.RequireKVM(t)
	for _, way := range []vcpu.Way{vcpu.WayDirect, vcpu.WayResident} {
		calls := 0
		o := ExitsOptions{
			Image: image, Disk: disk, Way: way, Requests: 100, Depths: []int{1, 8}, Rounds: 1,
			Progress: func(done, total int) { calls++; require.Equal(t, 10, total); require.Equal(t, calls, done) },
		}
		r, err := Exits(testContext(t), o)
		require.NoError(t, err)
		require.Equal(t, way.String(), r.Way)
		require.Equal(t, 10, calls)
		require.Len(t, r.Rows, 10)
		for i := range 2 {
			rows := r.Rows[5*i : 5*i+5]
			polled, posted, signal, doorbells, kick := rows[0], rows[1], rows[2], rows[3], rows[4]
			for _, row := range rows {
				require.Equal(t, o.Depths[i], row.Depth)
				require.EqualValues(t, 100, row.Completions, row.Variant)
			}
			require.Zero(t, polled.Interrupts)
			require.NotZero(t, posted.Interrupts)
			if o.Depths[i] == 1 { // deeper, how many completions share an interrupt differs from run to run
				require.Less(t, posted.ExitsPerCompletion, signal.ExitsPerCompletion/2, "posting must halve what a completion costs")
			}
			require.Greater(t, doorbells.UserExits, signal.UserExits, "doorbells must leave to user space")
			require.InDelta(t, 1, signal.ExitsRatio, 1e-9)
			require.NotZero(t, kick.Interrupts)
			if o.Depths[i] == 1 {
				require.Greater(t, kick.UserExits, posted.UserExits+0.9, "a kick leaves to user space every time")
			}
		}
	}
}

func TestExitsWithoutKVMLeavesTheKickOut(t *testing.T) {
	image, disk := setUp(t)
	r, err := Exits(testContext(t), ExitsOptions{Image: image, Disk: disk, Way: vcpu.WayNative, Requests: 50, Depths: []int{1}, Rounds: 1})
	require.NoError(t, err)
	require.Equal(t, vcpu.WayNative.String(), r.Way)
	require.Len(t, r.Rows, 4)
	for _, row := range r.Rows {
		require.NotEqual(t, Kick, row.Variant)
		require.EqualValues(t, 50, row.Completions)
	}
	posted, signal := r.Rows[1], r.Rows[2]
	require.Less(t, posted.ExitsPerCompletion, signal.ExitsPerCompletion)
	require.NotZero(t, posted.Interrupts)
}

func TestControlStandsBesideTheRun(t *testing.T) {
	image, disk := setUp(t)
	c := vmm.Config{
		Image: image, Disks: []vmm.Disk{{Path: disk, ReadOnly: true}}, UINTR: true, Posted: true,
		Command: "depth=1 requests=50 hash=0",
	}
	r, err := Run(testContext(t), c)
	require.NoError(t, err)
	require.NoError(t, Control(testContext(t), c, r))
	require.True(t, r.Posted)
	require.False(t, r.Control.Posted)
	require.Equal(t, r.Way, r.Control.Way)
	require.Equal(t, r.Completions, r.Control.Completions)
	require.InDelta(t, r.Control.ExitsPerCompletion-r.ExitsPerCompletion, r.Saved, 1e-9)
	require.Zero(t, r.Control.Notifications, "the control run must not post")
}

func TestRunSaysWhenNothingHasRun(t *testing.T) {
	_, err := Run(t.Context(), vmm.Config{Image: filepath.Join(t.TempDir(), "absent")})
	var setup *SetupError
	require.ErrorAs(t, err, &setup)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestGuestThatFailsEndsTheExperiment(t *testing.T) {
	image, disk := setUp(t)
	_, err := Exits(testContext(t), ExitsOptions{Image: image, Disk: disk, Requests: 1, Depths: []int{65}, Rounds: 1})
	require.ErrorContains(t, err, "the guest failed with status 1: program: depth= wants numbers from 1 to 64")
}
