package iommu

import (
	"fmt"
	"testing"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

// mapped is a rig in which ridA has n pages mapped from 0x100_0000 on, contiguous in memory in runs of so many pages.
func mapped(b *testing.B, n, run int, level int) *dmaRig {
	r := newTranslatingRig(b, func(c *Config) { c.Deliver = discard{} })
	size := spec.LevelBytes(level)
	for i := range uint64(n) {
		at := i
		if run == 1 {
			at = i ^ 1 // neighbours change places
		}
		r.mapPage(ridA, 0x1_0000_0000+i*size, buffers+at*size%(16<<20), level, readWrite)
	}
	return r
}

func benchmarkView(b *testing.B, v DMA, iova uint64) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.View(iova, 16, true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkViewDirect(b *testing.B) {
	r := mapped(b, 1, 8, 1)
	benchmarkView(b, r.mem.DMA(), buffers)
}

func BenchmarkViewTranslationOff(b *testing.B) {
	r := newDMARig(b)
	benchmarkView(b, r.view(ridA), buffers)
}

func BenchmarkViewHit(b *testing.B) {
	r := mapped(b, 1, 8, 1)
	benchmarkView(b, r.view(ridA), 0x1_0000_0000)
}

func BenchmarkViewHit2M(b *testing.B) {
	r := mapped(b, 1, 8, 2)
	benchmarkView(b, r.view(ridA), 0x1_0000_1000)
}

func BenchmarkViewPassThrough(b *testing.B) {
	r := newTranslatingRig(b)
	r.attach(ridA, spec.NewContextEntry(spec.PassThrough, 0, 4, domA))
	benchmarkView(b, r.view(ridA), buffers)
}

// BenchmarkViewMiss walks four levels each time.
func BenchmarkViewMiss(b *testing.B) {
	r := mapped(b, 1, 8, 1)
	v := r.view(ridA)
	b.ReportAllocs()
	for b.Loop() {
		r.iotlb.invalidateAll()
		if _, err := v.View(0x1_0000_0000, 16, true); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSegments is the translation of a request's buffer, with the hold that a wait looks at.
func BenchmarkSegments(b *testing.B) {
	for _, kib := range []int{4, 64} {
		for name, run := range map[string]int{"scattered": 1, "contiguous": 8} {
			b.Run(fmt.Sprintf("%dKiB %s", kib, name), func(b *testing.B) {
				r := mapped(b, 16, run, 1)
				c := r.view(ridA).Client(32)
				defer c.Close()
				var segments [][]byte
				b.ReportAllocs()
				for b.Loop() {
					request, _ := c.Begin()
					var err error
					if segments, err = c.Segments(segments[:0], 0x1_0000_0000, uint32(kib)<<10, true); err != nil {
						b.Fatal(err)
					}
					c.End(request)
				}
			})
		}
		b.Run(fmt.Sprintf("%dKiB direct", kib), func(b *testing.B) {
			r := mapped(b, 16, 8, 1)
			v := r.mem.DMA()
			var segments [][]byte
			b.ReportAllocs()
			for b.Loop() {
				segments, _ = v.Segments(segments[:0], buffers, uint32(kib)<<10, true)
			}
		})
	}
}

// BenchmarkViewTenants has each processor read through a view of its own.
func BenchmarkViewTenants(b *testing.B) {
	r := newTranslatingRig(b)
	next := make(chan pci.RequesterID, 16)
	for i := range pci.RequesterID(16) {
		r.attach(i, spec.NewContextEntry(spec.Translated, r.table(), 4, uint16(i)+10))
		r.mapPage(i, 0x5000, buffers+uint64(i)*4096, 1, readWrite)
		next <- i
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		v := r.view(<-next)
		for pb.Next() {
			if _, err := v.View(0x5000, 16, false); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkRemappedCached(b *testing.B) {
	r := newTranslatingRig(b, func(c *Config) { c.Deliver = discard{} })
	r.setEntry(0, spec.NewRemapped(0x30, spec.Fixed, 1, spec.OnlyFrom(uint16(ridA))))
	s, q := r.Sender(ridA), spec.NewRequest(0, false, 0)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.SendMSI(pci.Message{Address: q.Address, Data: q.Data}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPostedUPIDCached(b *testing.B) {
	r := newTranslatingRig(b, func(c *Config) { c.Deliver = discard{} })
	r.loadPools(spec.Pool{Base: poolA, Count: 16, Domain: domA})
	r.upid(poolA)
	r.setEntry(0, spec.NewUserPosted(5, poolA, false, uint16(ridA)))
	s, q := r.Sender(ridA), spec.NewRequest(0, false, 0)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.SendMSI(pci.Message{Address: q.Address, Data: q.Data}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkInvalidatePage is a store to the tail for one page and a wait, with nobody to wait for.
func BenchmarkInvalidatePage(b *testing.B) {
	r := mapped(b, 1, 8, 1)
	c := r.view(ridA).Client(32)
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		w := spec.NewWaitDescriptor(spec.Wait{Write: true, Address: statusAt, Data: 1})
		r.submit(invalidatePage(domA, 0x1_0000_0000, 0), w)
	}
}
