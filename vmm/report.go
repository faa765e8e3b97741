package vmm

import (
	"fmt"
	"maps"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"gvmm/iommu"
	"gvmm/vcpu"
	"gvmm/vcpu/hw"
)

// Report is what a run counted. Exits, completions and the rest are of the time
// from the guest's registration of a latency log to the end of the run, or of the
// whole run if it registers none; after a reset, of the time since the last one.
type Report struct {
	Engine string `json:"engine"`
	Way    string `json:"way"`
	Image  string `json:"image"`

	Completions    uint64 `json:"completions"`
	UserInterrupts uint64 `json:"user_interrupts"` // handlers entered, as the guest counts them

	// Exits by cause: "user.*" to the VMM, "kvm.*" the kernel's own counters of what left guest execution.
	Exits              map[string]uint64 `json:"exits"`
	ExitsPerCompletion float64           `json:"exits_per_completion"`
	Latency            Latency           `json:"latency_ns"`

	Control *Report `json:"control"`
	Saved   float64 `json:"saved_exits_per_completion"`

	Status        int               `json:"status"`   // the guest's
	Measured      bool              `json:"measured"` // the guest registered a latency log
	Resets        int               `json:"resets,omitempty"`
	WroteDisk     bool              `json:"wrote_disk"`
	Posted        bool              `json:"posted"`
	Devices       map[string]uint64 `json:"device_exits"` // user-space exits by device
	Coalesced     uint64            `json:"coalesced"`    // posts that needed no notification
	Notifications uint64            `json:"notifications"`
	Refused       []Refused         `json:"refused,omitempty"` // by the remapping unit, of the whole run
	Faults        []Fault           `json:"faults,omitempty"`  // the last of them
	GuestErrors   []string          `json:"guest_errors,omitempty"`
	Networks      []NetworkReport   `json:"networks,omitempty"` // of the whole run
	Probe         *hw.Probe         `json:"probe,omitempty"`

	// KickRatio is the median latency as a ratio to the probe's kick that rewrites registers, of the same run.
	KickRatio float64 `json:"p50_ratio_to_kick,omitempty"`

	Seconds float64 `json:"seconds"`

	JIT *JITReport `json:"jit,omitempty"` // the software CPU's
}

// Latency is the time from the moment at which the device publishes a completion
// to the program's handler, in nanoseconds.
type Latency struct {
	P50     int64  `json:"p50"`
	P99     int64  `json:"p99"`
	P999    int64  `json:"p999"`
	Samples int64  `json:"samples"`
	Why     string `json:"why,omitempty"` // if there are none
}

// Fault is a request that the remapping unit refused.
type Fault struct {
	Requester string `json:"requester"`
	Index     uint16 `json:"index"`             // of an interrupt
	Address   string `json:"address,omitempty"` // of DMA
	Write     bool   `json:"write,omitempty"`
	Reason    string `json:"reason"`
}

// Refused counts the requests of one requester that the remapping unit refused for one reason.
type Refused struct {
	Requester string `json:"requester"`
	Device    string `json:"device,omitempty"` // what has that id
	Domain    uint16 `json:"domain"`           // that the requester belonged to last: its tenant
	Reason    string `json:"reason"`
	Count     uint64 `json:"count"`
}

// What says what was refused: an interrupt's index, or DMA and its address.
func (f Fault) What() string {
	switch {
	case f.Address == "":
		return fmt.Sprintf("index %d", f.Index)
	case f.Write:
		return "DMA write at " + f.Address
	default:
		return "DMA read at " + f.Address
	}
}

// counts is everything countable at one moment.
type counts struct {
	user        vcpu.Exits
	engine      map[string]uint64 // its own counters, of all processors
	completions uint64
	devices     map[string]uint64
	iommu       iommu.RequesterStats
	tsc         uint64
}

func (m *Machine) count() *counts {
	c := &counts{engine: make(map[string]uint64), devices: make(map[string]uint64), tsc: m.engine.now()}
	for _, cpu := range m.cpus {
		cpu.Exits(&c.user)
		stats, _ := cpu.Statistics()
		for name, n := range stats {
			c.engine[name] += n
		}
	}
	for _, d := range m.devices {
		for q := range d.transport.Queues() {
			c.completions += d.transport.Counters(q).Completions.Load()
		}
		if base, _, decoded := d.transport.Function().BAR(0); decoded {
			c.devices[d.name] = m.space.accesses(base)
		}
	}
	c.devices["iommu"] = m.space.accesses(iommuBase)
	c.devices["doorbell"] = m.space.accesses(doorbellBase)
	m.ports.counts(c.devices)
	for _, s := range m.iommu.Stats() {
		c.iommu.UserPosted += s.UserPosted
		c.iommu.Notified += s.Notified
		c.iommu.Coalesced += s.Coalesced + s.Suppressed
		c.iommu.Remapped += s.Remapped
	}
	return c
}

// Report gives what Run counted. Call it after Run, before Close.
func (m *Machine) Report() *Report {
	for _, d := range m.devices {
		d.transport.Close() // no completion after the count
	}
	end := m.count()
	m.mu.Lock()
	defer m.mu.Unlock()
	begin := m.begin
	if begin == nil {
		begin = &counts{}
	}
	r := &Report{
		Engine: m.config.Accel.String(), Way: m.Way().String(), Image: m.config.Image, Status: m.status, Measured: m.begin != nil, Resets: m.resets, WroteDisk: m.wrote || m.diskWritten(), Posted: m.config.Posted,
		Completions:   end.completions - begin.completions,
		Exits:         m.engine.exits(begin, end),
		Devices:       difference(end.devices, begin.devices),
		Coalesced:     end.iommu.Coalesced - begin.iommu.Coalesced,
		Notifications: end.iommu.Notified - begin.iommu.Notified,
		GuestErrors:   m.guestErrors.list(),
		Networks:      m.networks(),
		Probe:         m.probe,
	}
	if e, ok := m.engine.(*softEngine); ok {
		r.JIT = e.translations(end)
	}
	for _, l := range m.logs {
		_, n := l.counts(m.memory)
		r.UserInterrupts += n
	}
	if r.Completions > 0 {
		r.ExitsPerCompletion = float64(r.total()) / float64(r.Completions)
	}
	r.Refused, r.Faults = m.refused(), m.faults()
	r.Latency = m.latency()
	if m.probe != nil && m.probe.Kick.P50 > 0 {
		r.KickRatio = float64(r.Latency.P50) / float64(m.probe.Kick.P50)
	}
	if khz := m.engine.tsc().khz; khz > 0 && begin.tsc > 0 {
		r.Seconds = float64(end.tsc-begin.tsc) / float64(khz) / 1e3
	}
	return r
}

// total is the exits that a completion is charged with: what left for the kernel,
// which includes what went on to user space, and each instruction of the guest's
// that the kernel interpreted in its place. Of the software CPU: what left its run loop,
// and without posted interrupts what a processor would have left for.
func (r *Report) total() uint64 {
	if r.Engine == vcpu.AccelSoft.String() {
		return r.ExitSum("soft.") + r.ExitSum("modelled.")
	}
	return r.Exits["kvm.exits"] + r.Exits["kvm.insn_emulation"]
}

// ExitSum adds the exits whose name begins with prefix.
func (r *Report) ExitSum(prefix string) uint64 {
	var n uint64
	for name, count := range r.Exits {
		if strings.HasPrefix(name, prefix) {
			n += count
		}
	}
	return n
}

// diskWritten tells whether the guest wrote to a disk since the last reset.
func (m *Machine) diskWritten() bool {
	for _, d := range m.devices {
		if d.disk == nil {
			continue
		}
		for q := range d.transport.Queues() {
			s := d.disk.Stats(q)
			if s.Writes.Load()+s.Discards.Load()+s.Zeroes.Load() > 0 {
				return true
			}
		}
	}
	return false
}

// difference is a-b, without zeros.
func difference(a, b map[string]uint64) map[string]uint64 {
	d := maps.Clone(a)
	maps.DeleteFunc(d, func(k string, v uint64) bool { d[k] = v - b[k]; return v == b[k] })
	return d
}

// latency joins what guest and devices stamped.
func (m *Machine) latency() Latency {
	tsc := m.engine.tsc()
	if !tsc.known {
		return Latency{Why: "this host does not tell how the guest's TSC relates to its own"}
	}
	all := hdrhistogram.New(1, int64(10e9), 3)
	var impossible uint64
	for _, l := range m.logs {
		d := m.deviceLocked(l.requester)
		host := d.stamps[l.queue].Load()
		h, early, err := l.join(m.memory, host, tsc.offset, tsc.khz)
		if err != nil {
			return Latency{Why: err.Error()}
		}
		impossible += early
		all.Merge(h)
	}
	if all.TotalCount() == 0 {
		return Latency{Why: "the guest stamped no completion"}
	}
	l := Latency{
		P50: all.ValueAtQuantile(50), P99: all.ValueAtQuantile(99), P999: all.ValueAtQuantile(99.9),
		Samples: all.TotalCount(),
	}
	if impossible > 0 {
		l.Why = fmt.Sprintf("%d stamps of the guest's lie before the device's and were left out", impossible)
	}
	return l
}

// SetControl puts the report of the control run beside r.
func (r *Report) SetControl(control *Report) {
	r.Control = control
	r.Saved = control.ExitsPerCompletion - r.ExitsPerCompletion
}
