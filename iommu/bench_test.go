package iommu

import (
	"testing"
	"time"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

func benchmark(b *testing.B, e spec.IRTE, before func(*rig), drain func(*rig), edit ...func(*Config)) {
	r := newRemappingRig(b, append(edit, func(c *Config) { c.Deliver = discard{} })...)
	r.setEntry(0, e)
	before(r)
	s := r.Sender(ridA)
	q := spec.NewRequest(0, false, 0)
	m := pci.Message{Address: q.Address, Data: q.Data}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.SendMSI(m); err != nil {
			b.Fatal(err)
		}
		drain(r)
	}
}

func nothing(*rig) {}

func BenchmarkRemapped(b *testing.B) {
	benchmark(b, spec.NewRemapped(0x30, spec.Fixed, 1, spec.OnlyFrom(uint16(ridA))), nothing, nothing)
}

func BenchmarkPostedPIDCoalesced(b *testing.B) {
	benchmark(b, spec.NewPosted(0x30, pidBase, false, spec.OnlyFrom(uint16(ridA))), nothing, nothing)
}

func BenchmarkPostedUPIDCoalesced(b *testing.B) {
	benchmark(b, spec.NewUserPosted(5, poolA, false, uint16(ridA)), func(r *rig) { r.upid(poolA) }, nothing)
}

// BenchmarkPostedUPIDNotified includes the receiver's drain.
func BenchmarkPostedUPIDNotified(b *testing.B) {
	benchmark(b, spec.NewUserPosted(5, poolA, false, uint16(ridA)), func(r *rig) { r.upid(poolA) }, drainUPID)
}

func BenchmarkPostedUPIDNotifiedBounded(b *testing.B) {
	bound := func(c *Config) { c.Storm = Storm{Interval: time.Nanosecond, Burst: 1 << 30} }
	benchmark(b, spec.NewUserPosted(5, poolA, false, uint16(ridA)), func(r *rig) { r.upid(poolA) }, drainUPID, bound)
}

func drainUPID(r *rig) {
	_, _ = r.mem.Swap64(poolA, uint64(uinv)<<16|3<<32)
	_, _ = r.mem.Swap64(poolA+8, 0)
}

// BenchmarkPostedUPIDTenants has each processor post for a requester of its own.
func BenchmarkPostedUPIDTenants(b *testing.B) {
	r := newRemappingRig(b, func(c *Config) { c.Deliver, c.Domain = discard{}, func(pci.RequesterID) uint16 { return 1 } })
	next := make(chan uint16, 16)
	for i := range uint16(16) {
		r.setEntry(i, spec.NewUserPosted(1, poolA+uint64(i)*64, false, i))
		r.upid(poolA + uint64(i)*64)
		next <- i
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		i := <-next
		s, q := r.Sender(pci.RequesterID(i)), spec.NewRequest(i, false, 0)
		for pb.Next() {
			if err := s.SendMSI(pci.Message{Address: q.Address, Data: q.Data}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
