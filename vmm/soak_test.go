package vmm

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/arch/x86/x86asm"

	"gvmm/guests"
	"gvmm/irqchip"
	"gvmm/uintr/spec"
	"gvmm/vcpu"
	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
)

// TestNotificationsAtFullRateChangeNothingElse posts as fast as the program takes it, so that notifications come in
// every state of the microcode. The program finds its registers, flags and red zone as they were, and each request is
// delivered once.
func TestNotificationsAtFullRateChangeNothingElse(t *testing.T) {
	duration := 2 * time.Second
	if testing.Short() {
		duration = 300 * time.Millisecond
	}
	forEachWay(t, func(t *testing.T, way vcpu.Way) {
		for _, c := range []struct {
			name, command string
			raw           bool
		}{
			{name: "UIRET", command: "soak=1"},
			{name: "without a trap", command: "soak=1 fast=1"},
			{name: "with messages past the UPID", command: "soak=1 fast=1", raw: true},
		} {
			if c.raw && way == vcpu.WayDirect {
				continue // ARCHITECTURE.md: it rests on senders that keep to ON
			}
			t.Run(c.name, func(t *testing.T) {
				s := newSoak(t, way, c.command)
				s.raw = c.raw
				s.start(t)
				for end := time.Now().Add(duration); time.Now().Before(end) && len(s.ended) == 0; {
					s.postAll(t)
				}
				s.finish(t)
			})
		}
	})
}

// soak is a guest that counts its user interrupts by vector.
type soak struct {
	*caseGuest
	upid   spec.UPID
	counts []byte
	posted [spec.Vectors]uint64
	passes int
	sent   int
	raw    bool // send the vector again after each notification, whatever ON says
	ended  chan error
}

func newSoak(t *testing.T, way vcpu.Way, command string) *soak {
	g := newCaseGuest(t, way, command)
	return &soak{
		caseGuest: g,
		upid:      spec.UPID(g.view(t, "upids", spec.UPIDSize)),
		counts:    g.view(t, "soak_counts", 8*spec.Vectors),
		ended:     make(chan error, 1),
	}
}

// start runs the machine and waits until the program takes interrupts.
func (s *soak) start(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	go func() {
		defer cancel()
		status, err := s.Run(ctx)
		if status != 0 {
			err = fmt.Errorf("the program ended with status %d", status)
		}
		s.ended <- err
	}()
	rounds := s.view(t, "soak_rounds", 8)
	require.Eventually(t, func() bool { return memory.Load64(rounds) > 0 }, 20*time.Second, time.Millisecond)
}

// postAll requests every vector whose last request was handled: none may coalesce, so that all can be counted. Some
// passes go slowly, so that notifications do not only come while the program is busy with others, and some
// notifications come with an exit to user space.
func (s *soak) postAll(t *testing.T) {
	s.passes++
	for v := range s.posted {
		if memory.Load64(s.counts[8*v:]) != s.posted[v] {
			continue
		}
		notify, nv, ndst, err := s.upid.Post(uint8(v))
		require.NoError(t, err)
		s.posted[v]++
		if !notify {
			continue
		}
		require.NoError(t, s.engine.sender().SendMSI(pci.Message{Address: irqchip.Address(ndst >> 8), Data: uint32(nv)}))
		for i := 0; s.raw && i < 4; i++ { // at moments that wander over the microcode's instructions
			spin(time.Duration(rand.IntN(50_000)))
			require.NoError(t, s.engine.sender().SendMSI(pci.Message{Address: irqchip.Address(ndst >> 8), Data: uint32(nv)}))
		}
		if s.sent++; s.sent%16 == 0 {
			s.cpus[0].Kick()
		}
		if s.passes%2 == 0 {
			spin(20 * time.Microsecond)
		}
	}
}

// spin waits without sleeping: a sleep is far coarser than what is aimed at.
func spin(d time.Duration) {
	for begun := time.Now(); time.Since(begun) < d; {
	}
}

// finish lets the program settle and counts.
func (s *soak) finish(t *testing.T) {
	memory.Store32(s.view(t, "soak_stop", 4), 1)
	require.NoError(t, <-s.ended, "serial:\n%s", &s.serial)
	var delivered uint64
	for v := range s.posted {
		count := binary.LittleEndian.Uint64(s.counts[8*v:])
		require.Equal(t, s.posted[v], count, "user vector %d: posted, delivered", v)
		require.NotZero(t, count, "user vector %d", v)
		delivered += count
	}
	t.Logf("%d notifications, %d user interrupts, %d looks at the registers",
		s.sent, delivered, binary.LittleEndian.Uint64(s.view(t, "soak_rounds", 8)))
}

// TestANotificationInsideTheEntryOfTheProgramLosesNothing has a second notification come at each instruction of
// uintr_enter at which the first is not yet delivered, which the soak meets by chance only.
func TestANotificationInsideTheEntryOfTheProgramLosesNothing(t *testing.T) {
	forEachWay(t, func(t *testing.T, way vcpu.Way) {
		if way != vcpu.WayResident {
			t.Skip("only the resident way enters the program before it delivers")
		}
		notifyInsideTheEntry(t, newCaseGuest(t, way, "nested=1"))
	})
}

func notifyInsideTheEntry(t *testing.T, g *caseGuest) {
	at := func(name string) uint64 { return g.symbols[name].Value }
	f, err := elf.Open(guestImage(t, guests.Cases))
	require.NoError(t, err)
	defer f.Close()
	section := f.Section(".microcode.user")
	text, err := section.Data()
	require.NoError(t, err)

	points, n := g.view(t, "nested_points", 64*16), 0
	pushed := []uint64{^uint64(0), ^uint64(0), 0, 8, 16, 24} // at uintr_enter and its next five instructions
	for rip := at("uintr_enter"); rip < at("uintr_enter_end"); {
		if rip < at("uintr_enter_deliver") || rip >= at("uintr_enter_resume") {
			binary.LittleEndian.PutUint64(points[16*n:], rip)
			binary.LittleEndian.PutUint64(points[16*n+8:], pushed[min(n, len(pushed)-1)])
			n++
		}
		in, err := x86asm.Decode(text[rip-section.Addr:], 64)
		require.NoError(t, err)
		rip += uint64(in.Len)
	}
	require.Equal(t, at("uintr_enter_again"), binary.LittleEndian.Uint64(points[16*(len(pushed)-1):]))
	require.Greater(t, n, 20)
	memory.Store64(g.view(t, "nested_count", 8), uint64(n))
	status := run(t, g.Machine)
	done := memory.Load64(g.view(t, "nested_done", 8))
	require.Zero(t, status, "point %d of %d: %s", done, n, &g.serial)
	require.EqualValues(t, n, done)
}

// TestHotPathsOfTheResidentMicrocode counts the instructions that microcode.S says a notification and a UIRET take at
// CPL 0: both run straight to their IRETQ.
func TestHotPathsOfTheResidentMicrocode(t *testing.T) {
	f, err := elf.Open(guestImage(t, guests.Cases))
	require.NoError(t, err)
	defer f.Close()
	symbols, err := f.Symbols()
	require.NoError(t, err)
	want := map[string]int{"uintr_notify_resident": 16, "uintr_ud_resident": 28}
	found := 0
	for _, s := range symbols {
		n, ok := want[s.Name]
		if !ok {
			continue
		}
		found++
		section := f.Sections[s.Section]
		text, err := section.Data()
		require.NoError(t, err)
		require.Equal(t, n, lengthToIRETQ(t, text[s.Value-section.Addr:]), s.Name)
	}
	require.Len(t, want, found)
}

// lengthToIRETQ is how many instructions there are up to and with the first IRETQ.
func lengthToIRETQ(t *testing.T, text []byte) (n int) {
	for {
		in, err := x86asm.Decode(text, 64)
		require.NoError(t, err)
		n++
		if in.Op == x86asm.IRETQ {
			return n
		}
		text = text[in.Len:]
	}
}
