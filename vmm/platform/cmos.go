package platform

import (
	"sync"
	"sync/atomic"
	"time"
)

// PortCMOS is the CMOS's index port; its data port follows.
const (
	PortCMOS  = 0x70
	CMOSPorts = 2
)

const cmosNMI = 1 << 7 // of the index port: NMI is off

// Bytes of the CMOS that firmware and kernels look at, beside the clock's.
const (
	cmosShutdown    = 0x0f
	cmosEquipment   = 0x14
	cmosBase        = 0x15 // KiB below 1 MiB
	cmosExtended    = 0x17 // KiB above 1 MiB, and again at 30H
	cmosSum         = 0x2e // of 10H to 2DH, high byte first
	cmosExtended2   = 0x30
	cmosAbove16M    = 0x34 // 64 KiB blocks from 16 MiB
	cmosAbove4G     = 0x5b // 64 KiB blocks from 4 GiB, three bytes
	cmosCPUs        = 0x5f // beyond the first
	equipmentFPU    = 1 << 1
	baseKiB         = 640
	cmosBytes       = 128
	cmosIndexMask   = cmosBytes - 1
	firstSummed     = 0x10
	lastSummed      = 0x2d
	bytesKiB        = 1 << 10
	bytesBlock      = 64 << 10
	extendedFrom    = 1 << 20
	blocksFrom      = 16 << 20
	fourGiB         = 1 << 32
	mostExtended    = 0xffff
	mostBlocks      = 0xffff
	mostBlocksAbove = 0xffffff
)

// CMOSConfig is what a CMOS stands on.
type CMOSConfig struct {
	Clock
	Wall func() time.Time // the time of day; nil is time.Now
	IRQ  func(high bool)  // the clock's interrupt, ISA IRQ 8
	Low  uint64           // RAM below 4 GiB, bytes
	High uint64           // RAM from 4 GiB on, bytes
	CPUs int
	Zone *time.Location // that the clock is set to; nil is UTC
}

// CMOS is the real-time clock and its battery-backed bytes (MC146818A data sheet). Its
// methods may be called from any goroutine.
//
// The time of day is the wall clock's plus what the guest set; periodic interrupts go by
// the Clock. An update takes no time: the bit that announces it is set for the 244 µs
// before each second.
type CMOS struct {
	clock    Clock
	wall     func() time.Time
	zone     *time.Location
	beats    rate // of the 32,768 Hz oscillator
	deadline atomic.Uint64
	nmiOff   atomic.Bool

	mu    sync.Mutex
	irq   line
	index byte
	ram   [cmosBytes]byte // with the time's bytes while it stands still
	now   uint64          // the latest seen

	ahead  timeOfDay // what the guest's clock is ahead of the wall's
	second int64     // up to which updates were told
	beat   uint64    // periods up to which interrupts were told
}

// NewCMOS returns a CMOS as firmware leaves it.
func NewCMOS(c CMOSConfig) *CMOS {
	d := &CMOS{clock: c.Clock, wall: c.Wall, zone: c.Zone, irq: line{set: c.IRQ}, beats: rate{32768, c.hertz()}}
	if d.wall == nil {
		d.wall = time.Now
	}
	if d.zone == nil {
		d.zone = time.UTC
	}
	d.ram[regA], d.ram[regB], d.ram[regD] = 0x26, b24Hour, dValid
	d.sizes(c)
	d.second = d.time().sec
	d.beat = d.beatsAt(d.clock.Now())
	d.deadline.Store(Never)
	return d
}

// sizes writes how large the machine is.
func (d *CMOS) sizes(c CMOSConfig) {
	put := func(at int, v, most uint64, n int) {
		v = min(v, most)
		for i := range n {
			d.ram[at+i] = byte(v >> (8 * i))
		}
	}
	above := func(size, from uint64) uint64 { return max(size, from) - from }
	put(cmosBase, c.Low/bytesKiB, baseKiB, 2)
	put(cmosExtended, above(c.Low, extendedFrom)/bytesKiB, mostExtended, 2)
	put(cmosExtended2, above(c.Low, extendedFrom)/bytesKiB, mostExtended, 2)
	put(cmosAbove16M, above(min(c.Low, fourGiB), blocksFrom)/bytesBlock, mostBlocks, 2)
	put(cmosAbove4G, c.High/bytesBlock, mostBlocksAbove, 3)
	put(cmosCPUs, uint64(max(c.CPUs, 1)-1), 0xff, 1)
	d.ram[cmosEquipment] = equipmentFPU
	var sum uint16
	for _, v := range d.ram[firstSummed : lastSummed+1] {
		sum += uint16(v)
	}
	d.ram[cmosSum], d.ram[cmosSum+1] = byte(sum>>8), byte(sum)
}

// NMIMasked reports whether port 70H holds NMIs off.
func (d *CMOS) NMIMasked() bool { return d.nmiOff.Load() }

// Shutdown is the shutdown byte: what a guest wants done after the next reset.
func (d *CMOS) Shutdown() byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ram[cmosShutdown]
}

// Deadline is the time of the next interrupt.
func (d *CMOS) Deadline() uint64 { return d.deadline.Load() }

// Tick raises what fell due.
func (d *CMOS) Tick(now uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync(now)
	d.arm()
}

// Read answers ports 70H and 71H; the index is write only.
func (d *CMOS) Read(port uint16, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync(d.clock.Now())
	ones(b)
	for i := range b {
		if port+uint16(i) == PortCMOS+1 {
			b[i] = d.read(d.index)
		}
	}
	d.arm()
}

// Write answers ports 70H and 71H.
func (d *CMOS) Write(port uint16, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync(d.clock.Now())
	for i, v := range b {
		switch port + uint16(i) {
		case PortCMOS:
			d.index = v & cmosIndexMask
			d.nmiOff.Store(v&cmosNMI != 0)
		case PortCMOS + 1:
			d.write(d.index, v)
		}
	}
	d.arm()
}
