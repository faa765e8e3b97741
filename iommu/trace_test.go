package iommu

import (
	"encoding"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/iommu/spec"
)

// told keeps what a Tracer is told.
type told struct {
	mu    sync.Mutex
	lines []string
}

func (l *told) trace(e encoding.TextAppender) {
	p, _ := e.AppendText(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
}

// take returns the lines since the last call.
func (l *told) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

func TestATraceTellsWhatTheUnitDoes(t *testing.T) {
	var log told
	r := newTranslatingRig(t, func(c *Config) { c.Trace = log.trace })
	r.loadPools(spec.Pool{Base: poolA, Count: 16, Domain: domA})
	r.upid(poolA)
	r.pid(0x83)
	r.setEntry(1, spec.NewRemapped(0x30, spec.Fixed, 3, spec.OnlyFrom(uint16(ridA))))
	r.setEntry(2, spec.NewUserPosted(5, poolA, false, uint16(ridA)))
	r.mapPage(ridA, 0x5000, buffers, 1, spec.SLRead)
	tests := []struct {
		name string
		do   func()
		want []string
	}{
		{"registers", func() {
			r.write32(spec.RegFECTL, 0)
			r.write64(spec.RegFEADDR, 0xFEE0_0000)
			r.write32(spec.RegIEUADDR, 0)
			r.write32(0x24, 0)
			r.write32(0x200, 1)
		}, []string{
			"write FECTL 038 4 00000000", "write FEADDR 040 8 00000000fee00000", "write IEUADDR 0ac 4 00000000", "write RTADDR_HI 024 4 00000000",
			"write - 200 4 00000001",
		}},
		{"the queue", func() {
			r.submit(invalidatePage(domA, 0x5000, 2), invalidateDomain(domB), spec.NewIECDescriptor(spec.IECInvalidation{Index: 7, IM: 1}),
				spec.NewContextDescriptor(spec.ContextInvalidation{Granularity: spec.PerDevice, DID: domA, SID: uint16(ridA)}),
				spec.NewWaitDescriptor(spec.Wait{Write: true, Address: statusAt, Data: 9}), spec.Descriptor{Lo: 9})
			r.submit()
		}, []string{
			"write IQT 088 4 00000060", "descriptor 0 iotlb page did=1 address=5000 am=2", "descriptor 10 iotlb domain did=2 address=0 am=0",
			"descriptor 20 iec index=7 im=1", "descriptor 30 context device did=1 sid=0108 fm=0", "descriptor 40 wait status=70000 data=9",
			"descriptor 50 type=9 lo=9 hi=0 malformed", "write IQT 088 4 00000060",
		}},
		{"DMA", func() {
			_, _ = r.view(ridA).View(0x5008, 8, false)
			_, _ = r.view(ridA).View(0x5010, 8, false)
			_, _ = r.view(ridA).View(0x9010, 8, false)
			_, _ = r.view(ridA).View(0x5010, 8, true)
		}, []string{
			"miss 01:01.0 5008 page=1000000 size=1000 did=1 rights=r-", "miss 01:01.0 9010 none", "fault 01:01.0 06 read=9010 ; read not permitted",
			"miss 01:01.0 5010 none", "fault 01:01.0 05 write=5010 unrecorded ; write not permitted",
		}},
		{"messages", func() {
			for i := range uint16(3) {
				require.NoError(t, r.raise(ridA, i))
			}
			require.NoError(t, r.raise(ridA, 2))
			_ = r.raise(ridB, 2)
		}, []string{
			"post 01:01.0 index=0 vector=83 descriptor=50000", "notify 01:01.0 vector=f2 destination=4",
			"remap 01:01.0 index=1 vector=30 destination=3",
			"post-user 01:01.0 index=2 vector=5 descriptor=30000", "notify 01:01.0 vector=ec destination=3",
			"post-user 01:01.0 index=2 vector=5 descriptor=30000", "coalesced 01:01.0",
			"fault 02:02.0 26 index=2 ; requester refused by the table entry",
		}},
	}
	for _, c := range tests {
		log.take()
		c.do()
		require.Equal(t, c.want, log.take(), c.name)
	}
}
