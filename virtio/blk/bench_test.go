package blk_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/virtio/blk"
	"gvmm/virtio/virtiotest"
)

// hot reads 4 KiB pieces of a file in the page cache, depth at a time.
type hot struct {
	*rig
	depth, size, next int
}

func newHot(t testing.TB, b blk.Backend, workers, depth int) *hot {
	r, _ := start(t, b, setup{options: blk.Options{Workers: workers}})
	return &hot{r, depth, int(b.Size()) / 4096, 0}
}

// batch offers depth reads and takes their completions, without allocating:
// the driver writes its descriptors by hand.
func (h *hot) batch() {
	d := h.queues[0]
	for n := range h.depth {
		h.header(h.headerAt(0, n), in, uint64(h.next%h.size)*8)
		h.next++
		at := uint16(3 * n)
		d.PutDesc(d.Desc, at, virtiotest.Desc{Addr: h.headerAt(0, n), Len: 16, Flags: virtiotest.Next, Next: at + 1})
		d.PutDesc(d.Desc, at+1, virtiotest.Desc{Addr: h.data(0, n), Len: 4096, Flags: virtiotest.Next | virtiotest.Write, Next: at + 2})
		d.PutDesc(d.Desc, at+2, virtiotest.Desc{Addr: h.statusAt(0, n), Len: 1, Flags: virtiotest.Write})
		d.Offer(at)
	}
	h.kick(0)
	for left := h.depth; left > 0; {
		if _, _, ok := d.Poll(); ok {
			left--
			continue
		}
		d.SetUsedEvent(d.Seen() + uint16(left) - 1)
		if d.UsedIndex() == d.Seen() {
			<-h.irq[0]
		}
	}
}

func TestReadsDoNotAllocate(t *testing.T) {
	path, _ := disk(t, 1<<20)
	f := open(t, path, true)
	for _, b := range []blk.Backend{f, slow{f}} {
		for _, depth := range []int{1, 32} {
			h := newHot(t, b, 2, depth)
			for range 10 {
				h.batch() // slices and requests come to their size
			}
			require.Less(t, testing.AllocsPerRun(200, h.batch), 1.0, "depth %d", depth)
		}
	}
}

func BenchmarkRead4K(b *testing.B) {
	path, _ := disk(b, 8<<20)
	f := open(b, path, true)
	for _, how := range []struct {
		name    string
		backend blk.Backend
		workers int
	}{{"prompt", f, 4}, {"inline", slow{f}, -1}, {"workers", cold{f, blk.ErrWouldBlock}, 2}} {
		for _, depth := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/depth=%d", how.name, depth), func(b *testing.B) {
				h := newHot(b, how.backend, how.workers, depth)
				h.batch()
				b.ReportAllocs()
				b.SetBytes(int64(4096 * depth))
				for b.Loop() {
					h.batch()
				}
			})
		}
	}
}
