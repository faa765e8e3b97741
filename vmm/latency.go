package vmm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/HdrHistogram/hdrhistogram-go"

	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
)

// stampEntries is how many of a queue's last completions are kept, a power of two.
const stampEntries = 1 << 18

// stamps is a queue's ring of engine.now: the moment at which a completion was
// about to be published. The queue writes, the report reads after it stopped.
type stamps struct {
	next uint64
	tsc  []uint64
}

func (s *stamps) add(now uint64) {
	s.tsc[s.next%stampEntries] = now
	s.next++
}

// latencyLog is a guest's struct gvmm_latency_log (guests/lib/abi.h): where the
// guest stamps the completions that it handles.
type latencyLog struct {
	requester pci.RequesterID
	queue     int
	entries   uint64
	stamps    uint64 // guest-physical
	addr      uint64 // of the log itself
}

const latencyLogBytes = 48

var errLatencyLog = errors.New("vmm: latency log")

func readLatencyLog(mem *memory.Memory, addr uint64) (latencyLog, error) {
	var b [latencyLogBytes]byte
	if err := mem.ReadAt(b[:], addr); err != nil {
		return latencyLog{}, fmt.Errorf("%w at %#x: %w", errLatencyLog, addr, err)
	}
	le := binary.LittleEndian
	l := latencyLog{
		requester: pci.RequesterID(le.Uint32(b[0:])),
		queue:     int(le.Uint32(b[4:])),
		entries:   le.Uint64(b[8:]),
		stamps:    le.Uint64(b[16:]),
		addr:      addr,
	}
	if l.entries == 0 || l.entries > 1<<24 || l.entries&(l.entries-1) != 0 {
		return latencyLog{}, fmt.Errorf("%w of %d entries", errLatencyLog, l.entries)
	}
	if _, err := mem.View(l.stamps, l.entries*8); err != nil {
		return latencyLog{}, fmt.Errorf("%w: stamps: %w", errLatencyLog, err)
	}
	return l, nil
}

// counts reads what the guest counted: completions handled, handlers entered.
func (l latencyLog) counts(mem *memory.Memory) (handled, interrupts uint64) {
	handled, _ = mem.Load64(l.addr + 24)
	interrupts, _ = mem.Load64(l.addr + 32)
	return handled, interrupts
}

// join measures the completions of which both sides still have the stamp, in
// nanoseconds. offset is the guest's TSC minus the host's. early counts stamps
// that the guest made before the host's, which cannot be.
func (l latencyLog) join(mem *memory.Memory, host *stamps, offset uint64, khz uint32) (h *hdrhistogram.Histogram, early uint64, err error) {
	view, err := mem.View(l.stamps, l.entries*8)
	if err != nil {
		return nil, 0, err
	}
	handled, _ := l.counts(mem)
	n := min(handled, host.next)
	first := n - min(n, l.entries, stampEntries)
	h = hdrhistogram.New(1, int64(10e9), 3)
	for i := first; i < n; i++ {
		guest := binary.LittleEndian.Uint64(view[i%l.entries*8:])
		ticks := int64(guest - offset - host.tsc[i%stampEntries])
		if ticks < 0 {
			early++
			continue
		}
		_ = h.RecordValue(max(1, min(int64(10e9), int64(float64(ticks)*1e6/float64(khz)))))
	}
	return h, early, nil
}

// registerLatency takes a log from the guest, one for each device queue.
func (m *Machine) registerLatency(addr uint64) error {
	l, err := readLatencyLog(m.memory, addr)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.deviceLocked(l.requester)
	if d == nil || l.queue >= len(d.stamps) || len(m.logs) >= maxLogs {
		return fmt.Errorf("%w: %v has no queue %d", errLatencyLog, l.requester, l.queue)
	}
	if d.stamps[l.queue].Load() == nil {
		d.stamps[l.queue].Store(&stamps{tsc: make([]uint64, stampEntries)})
	}
	m.logs = append(m.logs, l)
	if m.begin == nil {
		m.begin = m.count()
	}
	return nil
}

// maxLogs bounds what a guest can make the report hold.
const maxLogs = 64

// stamp is the hook of a device's queues.
func (d *device) stamp(queue int, _ uint16) {
	if s := d.stamps[queue].Load(); s != nil {
		s.add(d.now())
	}
}

// stampRing is nil until a guest asks to be measured.
type stampRing = atomic.Pointer[stamps]
