package vmm

import (
	"sync"
	"sync/atomic"

	"gvmm/virtio"
	"gvmm/vmm/memory"
)

// codeDMA is the devices' view of memory beside software CPUs, which must hear of
// writes to pages that they decoded. A request's segments are written some time
// after they were given out; the used ring, whose view is asked for when that is
// done, is what tells the guest. So what lies in code is remembered, and told
// again whenever a ring is about to be written.
type codeDMA struct {
	memory.Physical
	machine codeOwner

	armed atomic.Bool // ranges is not empty
	mu    sync.Mutex
	// ranges are the last writes to code, a ring: more of them in flight than there are requests in all queues is
	// impossible.
	ranges []dmaRange
	next   int
}

// codeOwner knows where code lies, and hears of writes to it: soft.Machine.
type codeOwner interface {
	Code(addr, n uint64) bool
	Written(addr, n uint64)
}

type dmaRange struct{ addr, n uint64 }

// maxRanges bounds codeDMA.ranges.
const maxRanges = 4096

var _ virtio.DMA = (*codeDMA)(nil)

// View implements virtio.DMA.
func (d *codeDMA) View(addr uint64, n int, write bool) ([]byte, error) {
	if write && d.armed.Load() {
		d.tell()
	}
	view, err := d.Physical.View(addr, n, write)
	if write && err == nil && d.machine.Code(addr, uint64(n)) {
		d.remember(addr, uint64(n))
	}
	return view, err
}

// Segments implements virtio.DMA.
func (d *codeDMA) Segments(dst [][]byte, addr uint64, n uint32, write bool) ([][]byte, error) {
	dst, err := d.Physical.Segments(dst, addr, n, write)
	if write && err == nil && d.machine.Code(addr, uint64(n)) {
		d.remember(addr, uint64(n))
	}
	return dst, err
}

func (d *codeDMA) remember(addr, n uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.ranges) < maxRanges {
		d.ranges = append(d.ranges, dmaRange{addr, n})
	} else {
		d.ranges[d.next%maxRanges] = dmaRange{addr, n}
		d.next++
	}
	d.armed.Store(true)
}

// tell reports every remembered range. One that holds no code any more costs a look.
func (d *codeDMA) tell() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.ranges {
		d.machine.Written(r.addr, r.n)
	}
}

// WriteAt copies p to addr at once, as a device that copies does.
func (d *codeDMA) WriteAt(p []byte, addr uint64) error {
	err := d.Physical.WriteAt(p, addr)
	if err == nil {
		d.machine.Written(addr, uint64(len(p)))
	}
	return err
}
