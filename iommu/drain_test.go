package iommu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

// client is a client of ridA's view with one page mapped at 0x5000 and one at 0x9000.
func (r *dmaRig) client(requests int) *Client {
	r.t.Helper()
	r.mapPage(ridA, 0x5000, buffers, 1, readWrite)
	r.mapPage(ridA, 0x9000, buffers+4096, 1, readWrite)
	c := r.view(ridA).Client(requests)
	r.t.Cleanup(c.Close)
	return c
}

// begin starts a request that uses one byte at iova.
func (r *dmaRig) begin(c *Client, iova uint64) int {
	r.t.Helper()
	request, ok := c.Begin()
	require.True(r.t, ok)
	_, err := c.Segments(nil, iova, 1, true)
	require.NoError(r.t, err)
	return request
}

func TestWaitIsOverWhenRequestsThatUseThePageAre(t *testing.T) {
	for name, d := range map[string]spec.Descriptor{
		"page":   invalidatePage(domA, 0x5000, 0),
		"range":  invalidatePage(domA, 0, 3),
		"domain": invalidateDomain(domA),
		"global": spec.NewIOTLBDescriptor(spec.IOTLBInvalidation{Granularity: spec.Global}),
	} {
		t.Run(name, func(t *testing.T) {
			r := newTranslatingRig(t)
			c := r.client(4)
			first, second := r.begin(c, 0x5000), r.begin(c, 0x5000)
			r.unmapPage(ridA, 0x5000, 1)
			w, done := r.wait()
			r.submit(d, w)
			require.Equal(t, uint64(16), r.read64(spec.RegIQH), "the head is on the wait")
			c.End(second)
			require.False(t, done())
			later := r.begin(c, 0x9000) // began after the invalidation: not waited for
			c.End(first)
			r.eventually(done, "both requests have ended")
			require.Equal(t, uint64(32), r.read64(spec.RegIQH))
			require.Equal(t, uint64(1), r.Queue().Parked)
			c.End(later)
		})
	}
}

func TestWaitDoesNotWaitForOthers(t *testing.T) {
	r := newTranslatingRig(t)
	c := r.client(4)
	request := r.begin(c, 0x5000)
	r.invalidate(invalidatePage(domA, 0x9000, 0))
	r.invalidate(invalidatePage(domB, 0x5000, 0))
	r.invalidate(invalidateDomain(domB))
	r.invalidate(spec.NewIECDescriptor(spec.IECInvalidation{All: true}))
	r.invalidate() // nothing was taken back
	require.Zero(t, r.Queue().Parked)
	c.End(request)
}

func TestWaitWithManyInvalidationsWaitsForAll(t *testing.T) {
	r := newTranslatingRig(t)
	c := r.client(4)
	request := r.begin(c, 0x5000)
	var list []spec.Descriptor
	for i := range uint64(maxSpans + 3) {
		list = append(list, invalidatePage(domA, 0x10_0000+i<<12, 0))
	}
	w, done := r.wait()
	r.submit(append(list, w)...)
	require.False(t, done(), "more ranges than are kept apart: all of them")
	c.End(request)
	r.eventually(done, "the request has ended")
}

func TestRequestOfManyRangesHoldsAllOfThem(t *testing.T) {
	r := newTranslatingRig(t)
	c := r.client(1)
	for i := range uint64(20) {
		r.mapPage(ridA, 0x10_0000+i*0x10_0000, buffers, 1, readWrite)
	}
	for i := range uint64(20) {
		request, ok := c.Begin()
		require.True(t, ok)
		for j := range uint64(20) {
			_, err := c.Segments(nil, 0x10_0000+j*0x10_0000, 4096, true)
			require.NoError(t, err)
		}
		w, done := r.wait()
		r.submit(invalidatePage(domA, 0x10_0000+i*0x10_0000, 0), w)
		require.False(t, done(), "range %d", i)
		c.End(request)
		r.eventually(done, "ended")
	}
}

func TestWaitIsOverWhenSectionsAreLeft(t *testing.T) {
	for name, d := range map[string]spec.Descriptor{
		"IOTLB":   invalidatePage(domB, 0x5000, 0),
		"context": spec.NewContextDescriptor(spec.ContextInvalidation{Granularity: spec.Global}),
		"entries": spec.NewIECDescriptor(spec.IECInvalidation{Index: 1}),
	} {
		t.Run(name, func(t *testing.T) {
			r := newTranslatingRig(t)
			c := r.client(1)
			s := c.Enter()
			w, done := r.wait()
			r.submit(d, w)
			require.False(t, done())
			later := c.Enter()
			c.Leave(s)
			r.eventually(done, "who was there has left")
			c.Leave(later)
		})
	}
}

func TestWaitsParkOneAfterTheOther(t *testing.T) {
	r := newTranslatingRig(t)
	c := r.client(2)
	first, second := r.begin(c, 0x5000), r.begin(c, 0x9000)
	w1, done1 := r.wait()
	w2, done2 := r.wait()
	r.submit(invalidatePage(domA, 0x5000, 0), w1, invalidatePage(domA, 0x9000, 0), w2)
	c.End(second)
	require.False(t, done1())
	c.End(first)
	r.eventually(done2, "both")
	require.Equal(t, r.tail, r.read64(spec.RegIQH))
}

func TestQIEOffWaitsForTheWaitUnderWay(t *testing.T) {
	r := newTranslatingRig(t)
	c := r.client(1)
	request := r.begin(c, 0x5000)
	w, done := r.wait()
	r.submit(invalidatePage(domA, 0x5000, 0), w)
	r.write32(spec.RegGCMD, r.read32(spec.RegGSTS)&^spec.GlobalQIE)
	require.NotZero(t, r.read32(spec.RegGSTS)&spec.GlobalQIE)
	c.End(request)
	r.eventually(func() bool { return r.read32(spec.RegGSTS)&spec.GlobalQIE == 0 }, "QIES follows")
	require.True(t, done())
	require.Zero(t, r.read64(spec.RegIQH))
}

func TestRegisterInvalidationStaysSetUntilDone(t *testing.T) {
	r := newTranslatingRig(t)
	r.disableQueue()
	c := r.client(1)
	request := r.begin(c, 0x5000)
	r.write64(spec.RegIOTLB, spec.CommandIVT|2<<60|domA<<32)
	require.NotZero(t, r.read64(spec.RegIOTLB)&spec.CommandIVT)
	c.End(request)
	r.eventually(func() bool { return r.read64(spec.RegIOTLB) == 2<<60|2<<57|domA<<32 }, "IVT clears")

	s := c.Enter()
	r.write64(spec.RegCCMD, spec.CommandICC|1<<61)
	require.NotZero(t, r.read64(spec.RegCCMD)&spec.CommandICC)
	c.Leave(s)
	r.eventually(func() bool { return r.read64(spec.RegCCMD) == 1<<61|1<<59 }, "ICC clears")
}

func TestClosedClientIsNotWaitedFor(t *testing.T) {
	r := newTranslatingRig(t)
	c := r.client(1)
	r.begin(c, 0x5000)
	w, done := r.wait()
	r.submit(invalidateDomain(domA), w)
	require.False(t, done())
	c.Close()
	r.eventually(done, "closed")
}

func TestClientIsFullAtItsRequests(t *testing.T) {
	r := newTranslatingRig(t)
	c := r.client(2)
	a, _ := c.Begin()
	_, ok := c.Begin()
	require.True(t, ok)
	_, ok = c.Begin()
	require.False(t, ok)
	c.End(a)
	c.End(a)
	b, ok := c.Begin()
	require.True(t, ok)
	require.Equal(t, a, b)
}

func TestResetForgetsWhatWaited(t *testing.T) {
	r := newTranslatingRig(t)
	c := r.client(1)
	request := r.begin(c, 0x5000)
	w, _ := r.wait()
	r.submit(invalidateDomain(domA), w)
	r.Reset()
	c.End(request)
	require.Zero(t, r.read32(spec.RegGSTS))
	r.enableQueue(0)
	r.invalidate(invalidateDomain(domA))
	require.Equal(t, uint64(32), r.read64(spec.RegIQH))
}

func TestCloseEndsWhatWaits(t *testing.T) {
	r := newTranslatingRig(t)
	c := r.client(1)
	r.begin(c, 0x5000)
	w, done := r.wait()
	r.submit(invalidateDomain(domA), w)
	r.Close()
	require.False(t, done())
}

// TestUnmappedPageIsNeverWrittenAfterTheWait has devices write to pages while their guest takes one after the other away, gives it to somebody else,
// and looks whether it changes. Each device keeps what Segments gave it for a while, as a request does.
func TestUnmappedPageIsNeverWrittenAfterTheWait(t *testing.T) {
	const (
		iova    = 0x5000
		devices = 3
		rounds  = 400
	)
	r := newTranslatingRig(t)
	r.mapPage(ridA, iova, buffers, 1, readWrite)
	var stop atomic.Bool
	var written atomic.Uint64
	var wg sync.WaitGroup
	for n := range devices {
		c := r.view(ridA).Client(4)
		t.Cleanup(c.Close)
		wg.Go(func() {
			var segments [][]byte
			for !stop.Load() {
				request, ok := c.Begin()
				if !ok {
					t.Error("no room for a request")
					return
				}
				var err error
				segments, err = c.Segments(segments[:0], iova, 64, true)
				for i := 0; err == nil && i < 20; i++ {
					atomicStore(segments[0][8*n:], uint64(i)+1)
				}
				if err == nil {
					written.Add(1)
				}
				c.End(request)

				s := c.Enter()
				if b, err := c.View(iova+32, 8, true); err == nil {
					atomicStore(b, 1)
				}
				c.Leave(s)
				runtime.Gosched()
			}
		})
	}
	for i := range uint64(rounds) {
		page, next := buffers+i%2*4096, buffers+(i+1)%2*4096
		for before := written.Load(); written.Load() == before; {
			runtime.Gosched()
		}
		r.mapPage(ridA, iova, next, 1, readWrite)
		w, done := r.wait()
		kind := invalidatePage(domA, iova, 0)
		if i%3 == 1 {
			kind = invalidateDomain(domA)
		}
		r.submit(kind, w)
		r.eventually(done, "requests end")
		for off := uint64(0); off < 64; off += 8 {
			r.store64(page+off, 0)
		}
		for range 50 {
			for off := uint64(0); off < 64; off += 8 {
				v, err := r.mem.Load64(page + off)
				require.NoError(t, err)
				require.Zero(t, v, "the page was the device's until the wait, not after it")
			}
		}
	}
	stop.Store(true)
	wg.Wait()
}

// TestRevokedBindingIsNeverPostedToAfterTheWait does the same with a UPID: posts are under way when its entry is cleared (`iommu.md §2.5` rule 6).
// Each stands still for a while between finding its entry and setting its bit, where nothing but the wait holds the revocation back.
func TestRevokedBindingIsNeverPostedToAfterTheWait(t *testing.T) {
	const (
		index, rounds = 3, 200
		pause, watch  = 20 * time.Microsecond, 200 * time.Microsecond
	)
	var underWay atomic.Int64
	stall := func(pci.RequesterID) uint16 {
		underWay.Add(1)
		time.Sleep(pause)
		return domA
	}
	r := newDMARig(t, func(c *Config) { c.Deliver, c.Domain = discard{}, stall })
	r.enableQueue(0)
	r.write64(spec.RegIRTA, uint64(spec.NewIRTA(irtBase, irtSize, true)))
	r.command(spec.GlobalSIRTP)
	r.command(spec.GlobalIRE)
	r.loadPools(spec.Pool{Base: poolA, Count: 16, Domain: domA})
	entry := spec.NewUserPosted(5, poolA, false, uint16(ridA))
	r.upid(poolA)
	var stop atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop.Store(true)
	for range 3 {
		wg.Go(func() {
			for !stop.Load() {
				_ = r.raise(ridA, index)
				runtime.Gosched()
			}
		})
	}
	for range rounds {
		_, _, _, err := r.mem.CompareAndSwap128(irtBase+index*16, 0, 0, entry.Lo, entry.Hi)
		require.NoError(t, err)
		before := underWay.Load()
		r.eventually(func() bool { return underWay.Load() > before }, "posts are under way")
		_, _, swapped, err := r.mem.CompareAndSwap128(irtBase+index*16, entry.Lo, entry.Hi, 0, 0)
		require.NoError(t, err)
		require.True(t, swapped)
		w, done := r.wait()
		r.submit(spec.NewIECDescriptor(spec.IECInvalidation{Index: index}), w)
		r.eventually(done, "posts end")
		// The UPID's memory is somebody else's now.
		r.store64(poolA+8, 0)
		for end := time.Now().Add(watch); time.Now().Before(end); runtime.Gosched() {
			v, err := r.mem.Load64(poolA + 8)
			require.NoError(t, err)
			require.Zero(t, v)
		}
	}
}

// blockingAPICs hold every message until they are let go.
type blockingAPICs struct{ entered, release chan struct{} }

func (b blockingAPICs) SendMSI(pci.Message) error {
	b.entered <- struct{}{}
	<-b.release
	return nil
}

func TestInvalidationOfEntriesWaitsForTheMessageUnderWay(t *testing.T) {
	b := blockingAPICs{make(chan struct{}), make(chan struct{})}
	r := newTranslatingRig(t, func(c *Config) { c.Deliver = b })
	r.setEntry(2, spec.NewRemapped(0x40, spec.Fixed, 1, spec.OnlyFrom(uint16(ridA))))
	go func() { _ = r.raise(ridA, 2) }()
	<-b.entered
	w, done := r.wait()
	r.submit(spec.NewIECDescriptor(spec.IECInvalidation{Index: 2}), w)
	require.False(t, done())
	close(b.release)
	r.eventually(done, "delivered")
}

func TestPoolsTakenBackAreReportedUntilPostsHaveGone(t *testing.T) {
	b := blockingAPICs{make(chan struct{}), make(chan struct{})}
	r := newTranslatingRig(t, func(c *Config) { c.Deliver = b })
	r.loadPools(spec.Pool{Base: poolA, Count: 16, Domain: domA})
	r.upid(poolA)
	r.setEntry(2, spec.NewUserPosted(5, poolA, false, uint16(ridA)))
	go func() { _ = r.raise(ridA, 2) }()
	<-b.entered
	r.loadPools()
	status := func() uint32 { return r.read32(spec.RegVendor + 0x0C) }
	require.Equal(t, spec.VendorEnable|spec.VendorLoaded|spec.VendorRevoking, status())
	require.ErrorIs(t, r.raise(ridA, 2), ErrRefused, "not admitted any more")
	close(b.release)
	r.eventually(func() bool { return status() == spec.VendorEnable|spec.VendorLoaded }, "gone")
}
