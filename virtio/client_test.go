package virtio_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/virtio"
	"gvmm/virtio/virtiotest"
)

// revocable is memory whose addresses can be taken back. Views outside a section and segments outside a request are errors of its test.
type revocable struct {
	*virtiotest.Memory
	t        testing.TB
	sections int
	requests map[int]bool
	next     int
	most     int
	closed   bool
}

func (r *revocable) Client(requests int) virtio.Client {
	r.requests, r.most = map[int]bool{}, requests
	return r
}

func (r *revocable) Enter() uint64 { r.sections++; return uint64(r.sections) }
func (r *revocable) Leave(uint64)  { r.sections-- }
func (r *revocable) End(n int) {
	require.True(r.t, r.requests[n], "ended twice")
	delete(r.requests, n)
}
func (r *revocable) Close() { r.closed = true }

func (r *revocable) Begin() (int, bool) {
	if len(r.requests) == r.most {
		return 0, false
	}
	r.next++
	r.requests[r.next] = true
	return r.next, true
}

func (r *revocable) View(addr uint64, n int, write bool) ([]byte, error) {
	require.Positive(r.t, r.sections, "view of %#x outside a section", addr)
	return r.Memory.View(addr, n, write)
}

func (r *revocable) Segments(dst [][]byte, addr uint64, n uint32, write bool) ([][]byte, error) {
	require.NotEmpty(r.t, r.requests, "segments of %#x outside a request", addr)
	return r.Memory.Segments(dst, addr, n, write)
}

func newRevocable(t testing.TB, packed bool) (*rig, *revocable) {
	m := new(revocable)
	r := newRig(t, 4, func(c *virtio.QueueConfig) {
		m.Memory, m.t = c.DMA.(*virtiotest.Memory), t
		c.DMA, c.Packed = m, packed
	})
	return r, m
}

func TestRequestsLastFromPopToPush(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		r, m := newRevocable(t, packed)
		for round := range 3 {
			var heads []uint16
			for range 4 {
				_, ok := r.Add(writable(8))
				require.True(t, ok)
			}
			r.Publish()
			for n := range 4 {
				r.pop(t)
				heads = append(heads, r.chain.Head)
				require.Len(t, m.requests, n+1, "round %d", round)
			}
			for n, head := range heads {
				require.NoError(t, r.queue.Push(head, 8))
				require.Len(t, m.requests, 3-n)
				_, err := r.queue.Notify()
				require.NoError(t, err)
			}
			require.NoError(t, r.queue.DisableKicks())
			_, err := r.queue.EnableKicks()
			require.NoError(t, err)
			require.False(t, r.queue.More())
			require.Zero(t, m.sections, "every section was left")
			for range 4 {
				_, _, ok := r.Poll()
				require.True(t, ok)
			}
		}
		r.queue.Close()
		require.True(t, m.closed)
	})
}

func TestHeadInFlightIsRefused(t *testing.T) {
	r, m := newRevocable(t, false)
	head, _ := r.Add(writable(8))
	r.Offer(head)
	r.Publish()
	r.pop(t)
	_, err := r.queue.Pop(&r.chain)
	require.ErrorIs(t, err, virtio.ErrInFlight)
	require.Len(t, m.requests, 1, "the first is still held")
	require.NoError(t, r.queue.Push(head, 0))
	require.Empty(t, m.requests)
	require.Zero(t, m.sections)
}

func TestMalformedChainHoldsNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, packed bool) {
		r, m := newRevocable(t, packed)
		r.Add(virtiotest.Desc{Addr: 0x1000, Len: 8})
		r.Publish()
		_, err := r.queue.Pop(&r.chain)
		require.ErrorIs(t, err, virtio.ErrAddress)
		require.Empty(t, m.requests)
		require.Zero(t, m.sections)
	})
}
