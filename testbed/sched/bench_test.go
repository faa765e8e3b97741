package sched

import (
	"testing"
	"time"
)

// An event is a wake-up, a block or a tick: each vCPU runs for 20 us when it is its turn.
func BenchmarkEvent(b *testing.B) {
	for name, policy := range map[string]Policy{"edf": EDF, "rr": RoundRobin} {
		for _, vcpus := range []int{1000, 100_000} {
			b.Run(name+"/"+map[int]string{1000: "1e3", 100_000: "1e5"}[vcpus], func(b *testing.B) {
				const cpus = 16
				cfg := DefaultConfig(cpus)
				cfg.Policy = policy
				s, err := New(cfg)
				if err != nil {
					b.Fatal(err)
				}
				tenant, _ := s.AddTenant(Tenant{UrgentRate: 1000, UrgentBurst: 4})
				ids := make([]ID, vcpus)
				for i := range ids {
					ids[i] = must(b, s, VCPU{Tenant: tenant, Node: -1, Reservation: Reservation{Budget: 30 * time.Microsecond, Period: 10 * time.Second}})
				}
				for i := range ids { // everybody once, so that the heaps have grown
					s.Wake(0, ids[i])
				}
				s.Decisions()
				now, next := Time(0), 0
				event := func(i int) {
					now += 1000
					c := i % cpus
					switch id := s.cpus[c].run; {
					case i%3 == 0 && id != None:
						s.Block(now, id)
					case i%3 == 1:
						s.Interrupt(now, ids[next])
						next = (next + 7919) % vcpus
					default:
						s.Tick(now, c)
					}
					s.Decisions()
				}
				for i := range 3 * vcpus {
					event(i)
				}
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N {
					event(i)
				}
			})
		}
	}
}

func TestSteadyPathAllocatesNothing(t *testing.T) {
	cfg := DefaultConfig(4)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tenant, _ := s.AddTenant(Tenant{UrgentRate: 1e5, UrgentBurst: 8})
	ids := make([]ID, 200)
	for i := range ids {
		v := VCPU{Tenant: tenant, Node: -1}
		if i%2 == 0 {
			v.Reservation = Reservation{Budget: 30 * time.Microsecond, Period: 10 * time.Millisecond}
		}
		ids[i] = must(t, s, v)
	}
	now, i := Time(0), 0
	event := func() {
		now += 3000
		i++
		switch id := ids[i*7%len(ids)]; i % 4 {
		case 0, 1:
			s.Interrupt(now, id)
		case 2:
			s.Tick(now, i%4)
		default:
			if id := s.cpus[i%4].run; id != None {
				s.Block(now, id)
			}
		}
		s.Decisions()
	}
	for range 20000 {
		event()
	}
	if n := testing.AllocsPerRun(5000, event); n != 0 {
		t.Fatalf("%v allocations an event", n)
	}
}
