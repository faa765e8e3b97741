package virtio_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/virtio"
	"gvmm/virtio/virtiotest"
)

func TestChainsPushedTogetherAppearTogether(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		var stamped []uint16
		var r *rig
		r = newRig(t, 8, func(c *virtio.QueueConfig) {
			c.Packed = packed
			c.OnUsed = func(index uint16) {
				stamped = append(stamped, index)
				_, _, ok := r.Poll()
				require.False(t, ok, "nothing is to be seen before all is")
			}
		})
		var used []virtio.Used
		for i := range 3 {
			r.Add(writable(100))
			r.Publish()
			r.pop(t)
			used = append(used, virtio.Used{Head: r.chain.Head, Written: uint32(10 + i)})
		}
		require.NoError(t, r.queue.PushAll(used))
		require.Equal(t, []uint16{0, 1, 2}, stamped)
		for _, u := range used {
			head, written, ok := r.Poll()
			require.True(t, ok)
			require.Equal(t, u, virtio.Used{Head: head, Written: written})
		}
		require.Equal(t, uint64(3), r.queue.Counters.Completions.Load())
		raised, err := r.queue.Notify()
		require.NoError(t, err)
		require.True(t, raised)
		require.Equal(t, 1, r.fired)
	})
}

func TestMoreChainsThanTheQueueHasCannotBePushed(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		r := newRig(t, 4, format(packed))
		require.ErrorIs(t, r.queue.PushAll(make([]virtio.Used, 5)), virtio.ErrOverrun)
		require.ErrorIs(t, r.queue.Err(), virtio.ErrOverrun)
	})
}

func TestUnpoppedChainsAreFoundAgainInOrder(t *testing.T) {
	onBoth(t, func(outer *testing.T, packed bool) {
		rapid.Check(outer, func(t *rapid.T) {
			r := newRig(outer, 16, format(packed))
			var want []uint16
			var out []virtio.Chain // popped and not pushed, in order
			for range rapid.IntRange(1, 60).Draw(t, "steps") {
				switch rapid.IntRange(0, 3).Draw(t, "step") {
				case 0:
					if head, ok := r.Add(slices.Repeat([]virtiotest.Desc{writable(8)}, rapid.IntRange(1, 3).Draw(t, "descriptors"))...); ok {
						want = append(want, head)
						r.Publish()
					}
				case 1:
					var c virtio.Chain
					ok, err := r.queue.Pop(&c)
					require.NoError(t, err)
					require.Equal(t, len(want) > 0, ok)
					if ok {
						require.Equal(t, want[0], c.Head)
						want, out = want[1:], append(out, c)
					}
				case 2:
					if n := len(out); n > 0 {
						r.queue.Unpop(&out[n-1])
						want, out = append([]uint16{out[n-1].Head}, want...), out[:n-1]
					}
				case 3:
					var used []virtio.Used
					for _, c := range out {
						used = append(used, virtio.Used{Head: c.Head})
					}
					require.NoError(t, r.queue.PushAll(used))
					out = nil
					for _, _, ok := r.Poll(); ok; _, _, ok = r.Poll() {
					}
				}
				c := r.queue.Counters
				require.Equal(t, uint64(len(out)), c.Chains.Load()-c.Completions.Load())
			}
		})
	})
}

func TestUnpopGivesTheRequestBack(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		r, m := newRevocable(t, packed)
		r.Add(writable(8))
		r.Publish()
		r.pop(t)
		require.Len(t, m.requests, 1)
		r.queue.Unpop(&r.chain)
		require.Empty(t, m.requests)
		r.pop(t)
		r.complete(t, r.chain.Head, 0)
		require.Empty(t, m.requests)
		require.Zero(t, m.sections)
	})
}

func TestKickIsAskedForPastWhatWasPutBack(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		for _, eventIdx := range []bool{true, false} {
			r := newRig(t, 8, func(c *virtio.QueueConfig) { c.EventIdx, c.Packed = eventIdx, packed })
			require.NoError(t, r.queue.DisableKicks())
			r.Add(writable(8))
			r.Publish()
			r.pop(t)
			r.queue.Unpop(&r.chain)
			more, err := r.queue.AwaitMore()
			require.NoError(t, err)
			require.False(t, more, "what was put back is not more")
			r.Add(writable(8))
			require.True(t, r.Publish(), "the driver kicks for the next")
			more, err = r.queue.AwaitMore()
			require.NoError(t, err)
			require.True(t, more)
		}
	})
}
