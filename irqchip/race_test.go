package irqchip

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/vmm/pci"
)

// sleeper is a processor that halts when nothing is pending: a signal that does not come leaves it asleep for good.
type sleeper struct {
	l    *Local
	wake chan struct{}
}

// run serves interrupts until done says so, which it asks after each.
func (s *sleeper) run(t *testing.T, serve func(vector uint8), done func() bool) {
	watchdog := time.NewTimer(30 * time.Second)
	defer watchdog.Stop()
	for n := 0; !done(); n++ {
		if n > 10_000_000 {
			t.Errorf("busy without end")
			return
		}
		if s.l.Pending() {
			if v, ok := s.l.Acknowledge(); ok {
				serve(v)
				s.l.EOI()
			}
			continue
		}
		select {
		case <-s.wake:
		case <-watchdog.C:
			t.Errorf("asleep with work to do")
			return
		}
	}
}

func newSleepers(cpus int) (*Soft, []*sleeper) {
	sleepers := make([]*sleeper, cpus)
	for i := range sleepers {
		sleepers[i] = &sleeper{wake: make(chan struct{}, 1)}
	}
	s := NewSoft(SoftConfig{CPUs: cpus, Signal: func(cpu int, _ Signal, _ uint8) {
		select {
		case sleepers[cpu].wake <- struct{}{}:
		default:
		}
	}})
	for i, p := range sleepers {
		p.l = s.Local(i)
		p.l.writeSVR(0x1FF)
	}
	return s, sleepers
}

// TestEveryPostIsAcknowledged: each sender has vectors of its own and counts its posts before it sends. An acknowledgement that comes after the last
// post sees the last count; without it the receiver never ends.
func TestEveryPostIsAcknowledged(t *testing.T) {
	const senders, posts = 4, 30000
	vectors := [senders][]uint8{{0x20, 0x21, 0xF0}, {0x22, 0x81}, {0x40, 0xFF}, {0x30, 0xC7}}
	s, sleepers := newSleepers(1)
	r := sleepers[0]
	var posted, seen [256]atomic.Uint32
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for n := range posts {
				v := vectors[i][n%len(vectors[i])]
				posted[v].Add(1)
				if err := s.SendMSI(pci.Message{Address: Address(0), Data: uint32(v)}); err != nil {
					t.Error(err)
				}
				if n%64 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	total := func() (n uint32) {
		for v := range seen {
			n += seen[v].Load()
		}
		return n
	}
	turn := 0
	r.run(t, func(v uint8) {
		seen[v].Store(posted[v].Load())
		if turn++; turn%3 == 0 { // the race of a sender with a priority that moves
			r.l.SetTPR(0x80)
			r.l.SetTPR(0)
		}
	}, func() bool { return total() == senders*posts })
	wg.Wait()
}

// TestNothingIsHiddenWhenSenderAndOwnerMeet: each round a sender's message and one step of the owner come at the same time, a little earlier or later;
// after both, Pending must show the message, unless the step was to take it.
func TestNothingIsHiddenWhenSenderAndOwnerMeet(t *testing.T) {
	const rounds, first, second = 100_000, 0x41, 0x91
	post := func(s *Soft, v uint32) { _ = s.SendMSI(pci.Message{Address: Address(0), Data: v}) }
	for _, c := range []struct {
		name    string
		prepare func(*Soft, *Local)
		step    func(*Local)
		vector  uint32
	}{
		{"a lower TPR", func(_ *Soft, l *Local) { l.SetTPR(0xF0) }, func(l *Local) { l.SetTPR(0) }, first},
		{"an acknowledgement", func(s *Soft, _ *Local) { post(s, first) }, func(l *Local) { l.Acknowledge() }, second},
		{"an acknowledgement with nothing there", func(_ *Soft, l *Local) { l.pending.Or(pendingVector) }, func(l *Local) {
			if _, ok := l.Acknowledge(); ok {
				l.irr.set(first) // it was there already: back with it
				l.EOI()
			}
		}, first},
		{"an EOI", func(s *Soft, l *Local) { post(s, first); l.Acknowledge() }, (*Local).EOI, first},
		{"a higher TPR", func(s *Soft, _ *Local) { post(s, first) }, func(l *Local) { l.SetTPR(0x50) }, second},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSoft(SoftConfig{})
			l := s.Local(0)
			l.writeSVR(0x1FF)
			var started, ended atomic.Uint32
			var wg sync.WaitGroup
			wg.Go(func() {
				for n := uint32(1); spinUntil(&started, n); n++ {
					linger(n % 67)
					post(s, c.vector)
					ended.Store(n)
				}
			})
			hidden := 0
			enough := time.Now().Add(400 * time.Millisecond) // of a machine that does much else
			for n := uint32(1); n <= rounds && (n%64 != 0 || time.Now().Before(enough)); n++ {
				c.prepare(s, l)
				started.Store(n)
				linger(n % 509)
				c.step(l)
				spinUntil(&ended, n)
				if !l.Pending() && l.isr.highest() != int(c.vector) {
					hidden++
				}
				l.Reset()
				l.writeSVR(0x1FF)
			}
			started.Store(over)
			wg.Wait()
			require.Zero(t, hidden, "rounds that hid the message")
		})
	}
}

// over is the number that ends all rounds.
const over = ^uint32(0)

// spinUntil waits until a is n, on its own core while there is one; false if it is over.
func spinUntil(a *atomic.Uint32, n uint32) bool {
	for i := 1; ; i++ {
		switch a.Load() {
		case n:
			return true
		case over:
			return false
		}
		if i%1024 == 0 {
			runtime.Gosched()
		}
	}
}

var lingered atomic.Uint32

// linger passes a moment: n loads.
func linger(n uint32) {
	for range n {
		lingered.Load()
	}
}

// TestProcessorsPlayBallWithoutLosingIt: each interrupt makes the next one elsewhere, so that one lost wakeup stops the game.
func TestProcessorsPlayBallWithoutLosingIt(t *testing.T) {
	const cpus, rounds, balls = 3, 10000, 2
	_, sleepers := newSleepers(cpus)
	var thrown [balls]atomic.Int32
	var wg sync.WaitGroup
	for i, p := range sleepers {
		wg.Go(func() {
			p.run(t, func(v uint8) {
				if thrown[v-0x50].Add(1) < rounds {
					p.l.Notify(v, uint32((i+1)%cpus))
				}
			}, func() bool {
				for b := range thrown {
					if thrown[b].Load() < rounds {
						return false
					}
				}
				for _, o := range sleepers { // the game is over
					select {
					case o.wake <- struct{}{}:
					default:
					}
				}
				return true
			})
		})
	}
	for b := range uint32(balls) {
		_ = sleepers[b].l.soft.SendMSI(pci.Message{Address: Address(b), Data: 0x50 + b})
	}
	wg.Wait()
}

// TestALevelLineIsServedUntilItFalls: a device asserts for each request and the handler lowers the line; the 8259s have theirs meanwhile.
func TestALevelLineIsServedUntilItFalls(t *testing.T) {
	const requests = 1000
	s, sleepers := newSleepers(1)
	r := sleepers[0]
	r.l.lvt[lvtLINT0].Store(uint32(deliverExtINT) << 8)
	r.l.lint0Changed()
	for _, w := range []struct {
		port uint16
		v    uint8
	}{{0x20, 0x11}, {0x21, 0x30}, {0x21, 4}, {0x21, 3}, {0x21, 0}} {
		s.WritePort(w.port, []byte{w.v})
	}
	e := rte(0x70) | rteLevel
	s.ioapic.WriteMMIO(ioregsel, []byte{ioapicTable + 2*17})
	s.ioapic.WriteMMIO(iowin, []byte{byte(e), byte(e >> 8), 0, 0})

	var device sync.Mutex
	asked, served, clockAsked, clockServed := 0, 0, 0, 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for range requests {
			device.Lock()
			asked++
			s.SetIRQ(17, true)
			device.Unlock()
		}
	})
	wg.Go(func() {
		for range requests {
			device.Lock()
			clockAsked++
			device.Unlock()
			s.SetIRQ(3, true)
			s.SetIRQ(3, false)
		}
	})
	r.run(t, func(v uint8) {
		device.Lock()
		defer device.Unlock()
		switch v {
		case 0x70:
			served = asked
			s.SetIRQ(17, false)
		case 0x33:
			clockServed = clockAsked
		case 0x37: // spurious
		default:
			t.Errorf("vector %x", v)
		}
	}, func() bool {
		device.Lock()
		defer device.Unlock()
		return served == requests && clockServed == requests
	})
	wg.Wait()
}

// TestAllMethodsMayRace has everything at once; the race detector is the judge.
func TestAllMethodsMayRace(t *testing.T) {
	const cpus = 3
	s, sleepers := newSleepers(cpus)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	loop := func(f func(i uint32)) {
		wg.Go(func() {
			for i := uint32(0); ; i++ {
				select {
				case <-stop:
					return
				default:
					f(i)
				}
			}
		})
	}
	for _, p := range sleepers {
		loop(func(i uint32) { // the owner
			l := p.l
			switch i % 16 {
			case 0:
				l.writeXAPIC(regLVTTimer+reg(i/16%6), i*0x9E3779B1)
			case 1:
				l.writeXAPIC(regSVR, 0x1FF)
			case 2:
				l.writeXAPIC(regICRHigh, i<<24)
				l.writeXAPIC(regICR, i*0x9E3779B1)
			case 3:
				l.writeXAPIC(regLDR, i<<24)
			case 4:
				if i%256 == 4 {
					l.Reset()
				}
			case 5:
				l.Notify(uint8(i), i>>4%4)
			case 6:
				l.WriteMSR(msrAPICBase, baseDefault|uint64(i>>4%4)<<10)
			case 7:
				l.SetTPR(uint8(i))
			case 8:
				l.writeXAPIC(regInitial, i)
				l.Tick(uint64(i))
			case 9:
				l.writeXAPIC(regESR, 0)
			default:
				if _, ok := l.Acknowledge(); ok {
					l.EOI()
				}
			}
		})
	}
	loop(func(i uint32) {
		_ = s.SendMSI(pci.Message{Address: Address(i%5) | uint64(i>>2&0xC), Data: i * 0x9E3779B1})
		l := s.Local(int(i % cpus))
		_, _, _ = l.Pending(), l.Deadline(), l.X2APIC()
		_, _ = l.Base()
	})
	loop(func(i uint32) {
		s.SetIRQ(int(i%25), i/25%2 == 0)
		s.ioapic.WriteMMIO(ioregsel, []byte{byte(ioapicTable + i%48)})
		s.ioapic.WriteMMIO(iowin, []byte{byte(i), byte(i >> 3), byte(i >> 11 & 1), 0})
		var p [4]byte
		s.ioapic.ReadMMIO(iowin, p[:])
		s.WritePort([]uint16{0x20, 0x21, 0xA0, 0xA1, 0x4D0}[i%5], []byte{byte(i * 7)})
		s.ReadPort(0x20, p[:])
		if i%64 == 0 {
			s.NMI()
		}
	})
	time.Sleep(300 * time.Millisecond)
	close(stop)
	wg.Wait()
}

func TestTheHotPathsDoNotAllocate(t *testing.T) {
	s, sleepers := newSleepers(2)
	l := sleepers[0].l
	e := rte(0x70) | rteLevel
	s.ioapic.table[17] = e
	for name, f := range map[string]func(){
		"message":   func() { _ = s.SendMSI(pci.Message{Address: Address(0), Data: 0x40}); _, _ = l.Acknowledge(); l.EOI() },
		"broadcast": func() { _ = s.SendMSI(pci.Message{Address: Address(everyone), Data: 0x40}) },
		"line":      func() { s.SetIRQ(17, true); _, _ = l.Acknowledge(); s.SetIRQ(17, false); l.EOI() },
		"ISA line":  func() { s.SetIRQ(3, true); s.SetIRQ(3, false); _ = s.inta() },
		"ICR":       func() { l.writeICR(shorthandSelf | 0x40) },
		"page":      func() { var p [4]byte; l.ReadMMIO(0x80, p[:]); l.WriteMMIO(0x80, p[:]) },
		"port":      func() { var p [1]byte; s.ReadPort(0x21, p[:]); s.WritePort(0x21, p[:]) },
		"IOAPIC":    func() { var p [4]byte; s.ioapic.WriteMMIO(0, p[:]); s.ioapic.ReadMMIO(0x10, p[:]) },
		"timer":     func() { l.writeInitial(100); l.Tick(1000); l.readCurrent() },
	} {
		require.Zero(t, testing.AllocsPerRun(100, f), name)
	}
}
