package bench

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"gvmm/iommu/spec"
	"gvmm/vmm/pci"
)

// AttackOptions shape the experiment: what a hostile tenant costs its neighbour at the remapping unit.
type AttackOptions struct {
	Window time.Duration // of each measure
	Rounds int           // of all attacks, one after the other

	// Progress, if set, is called when an attack has been measured.
	Progress func(done, total int)
}

// AttackRow is one attack: medians over the rounds. A sample is a completion of the victim's: a translation, and a post to its own UPID. Quiet is the
// same while the attacker keeps its processor as busy with posts of its own.
type AttackRow struct {
	Attack    string         `json:"attack"`
	Attempts  uint64         `json:"attempts"`
	Refused   uint64         `json:"refused"` // attempts that ended in a fault
	Quiet     AttackLatency  `json:"quiet_ns"`
	Attacked  AttackLatency  `json:"attacked_ns"`
	RatioP50  float64        `json:"p50_ratio"` // median of the rounds' ratios
	RatioP99  float64        `json:"p99_ratio"`
	Reasons   map[string]int `json:"reasons,omitempty"` // of the refusals
	Foreign   uint64         `json:"foreign"`           // requests that the victim found and had not posted
	Completed uint64         `json:"completed"`         // of the victim's, under attack
	Lost      uint64         `json:"lost"`              // of those, requests that it did not find
}

// AttackLatency is of the victim's samples.
type AttackLatency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// AttackResult is the experiment's outcome.
type AttackResult struct {
	Window time.Duration `json:"window_ns"`
	Rounds int           `json:"rounds"`
	Rows   []AttackRow   `json:"rows"`
}

const attacker, victim = 0, 1

// attack is something that the attacker does again and again.
type attack struct {
	name string
	// refused: every attempt is to end in a fault.
	refused bool
	// try is one attempt, the i-th.
	try func(t *tenants, i uint64)
}

// What an attack may not end in.
var (
	errRefused = errors.New("bench: what must be refused was not")
	errHarmed  = errors.New("bench: the victim lost requests, or found others than its own")
)

// attacks are what a tenant, its program or its corrupted entries try, and what its kernel does without end on its behalf.
var attacks = []attack{
	{"the victim's interrupt index", true, func(t *tenants, _ uint64) { t.raise(attacker, victim) }},
	{"the victim's UPID by its own entry", true, func(t *tenants, i uint64) {
		if i == 0 {
			t.setEntry(attacker, t.userEntry(attacker, victim))
			t.invalidate(spec.NewIECDescriptor(spec.IECInvalidation{Index: attacker}))
		}
		t.raise(attacker, attacker)
	}},
	{"messages in the compatibility format", true, func(t *tenants, _ uint64) {
		_ = t.senders[attacker].SendMSI(pci.Message{Address: 0xFEE0_1000, Data: 0xEC})
	}},
	{"DMA to memory that is not its own", true, func(t *tenants, i uint64) { t.access(attacker, tenantMemory(victim)+i%256*4096) }},
	{"DMA to the interrupt table", true, func(t *tenants, i uint64) { t.access(attacker, tenantIRT+i%256*16) }},
	{"DMA to UPIDs", true, func(t *tenants, i uint64) { t.access(attacker, tenantUPID(victim)+i%64*64) }},
	{"tables that point to themselves", false, func(t *tenants, i uint64) { t.access(attacker, 1<<30+i%512<<21) }},
	{"an entry flipped while it is read", false, func(t *tenants, i uint64) {
		t.setEntry(attacker, t.userEntry(attacker, int(i%2)))
		t.raise(attacker, attacker)
		if i%17 == 0 { // or the cache keeps the one that it met
			t.invalidate(spec.NewIECDescriptor(spec.IECInvalidation{Index: attacker}))
		}
	}},
	{"its binding revoked and restored", false, func(t *tenants, _ uint64) {
		t.setEntry(attacker, spec.IRTE{})
		t.invalidate(spec.NewIECDescriptor(spec.IECInvalidation{Index: attacker}))
		t.setEntry(attacker, t.userEntry(attacker, attacker))
		t.raise(attacker, attacker)
	}},
	{"a storm of invalidations", false, func(t *tenants, i uint64) {
		var list []spec.Descriptor
		for n := range uint64(64) {
			list = append(list,
				spec.NewIOTLBDescriptor(spec.IOTLBInvalidation{Granularity: spec.PerPage, DID: tenantDomain(attacker), Address: (i + n) << 12, AM: 5}),
				spec.NewIECDescriptor(spec.IECInvalidation{Index: attacker}))
		}
		t.invalidate(append(list, spec.NewIOTLBDescriptor(spec.IOTLBInvalidation{Granularity: spec.PerDomain, DID: tenantDomain(attacker)}))...)
	}},
}

// raise sends the message of an index as the function of tenant n.
func (t *tenants) raise(n, index int) {
	q := spec.NewRequest(uint16(index), false, 0)
	_ = t.senders[n].SendMSI(pci.Message{Address: q.Address, Data: q.Data}) // a refusal is counted by the unit
}

// access is DMA by the function of tenant n.
func (t *tenants) access(n int, addr uint64) {
	_, _ = t.views[n].View(addr, 16, true)
}

// Attack measures every attack beside the same time without it, alternating.
func Attack(ctx context.Context, o AttackOptions) (*AttackResult, error) {
	result := &AttackResult{Window: o.Window, Rounds: o.Rounds}
	for i, a := range attacks {
		row, err := a.measure(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.name, err)
		}
		result.Rows = append(result.Rows, row)
		if o.Progress != nil {
			o.Progress(i+1, len(attacks))
		}
	}
	return result, nil
}

func (a attack) measure(ctx context.Context, o AttackOptions) (row AttackRow, err error) {
	row = AttackRow{Attack: a.name, Reasons: map[string]int{}}
	var quiet, attacked, ratios [2][]float64
	for range o.Rounds {
		if err := ctx.Err(); err != nil {
			return row, err
		}
		var rest AttackRow
		before, err := attack{try: func(t *tenants, _ uint64) { t.raise(attacker, attacker) }}.window(o.Window, &rest)
		if err != nil {
			return row, err
		}
		under, err := a.window(o.Window, &row)
		if err != nil {
			return row, err
		}
		for i := range ratios {
			quiet[i], attacked[i] = append(quiet[i], before[i]), append(attacked[i], under[i])
			ratios[i] = append(ratios[i], under[i]/max(before[i], 1))
		}
	}
	row.Quiet = AttackLatency{median(quiet[0]), median(quiet[1])}
	row.Attacked = AttackLatency{median(attacked[0]), median(attacked[1])}
	row.RatioP50, row.RatioP99 = median(ratios[0]), median(ratios[1])
	if a.refused && row.Refused != row.Attempts {
		return row, fmt.Errorf("%w: %d of %d attempts", errRefused, row.Attempts-row.Refused, row.Attempts)
	}
	if row.Lost+row.Foreign != 0 {
		return row, fmt.Errorf("%w: %d lost, %d foreign", errHarmed, row.Lost, row.Foreign)
	}
	return row, nil
}

// window is one measure: the median and the 99th percentile of the victim's samples, in nanoseconds. What was counted is added to row.
func (a attack) window(d time.Duration, row *AttackRow) (p [2]float64, err error) {
	t, err := newTenants()
	if err != nil {
		return p, err
	}
	var stop atomic.Bool
	var attempts atomic.Uint64
	var g sync.WaitGroup
	g.Go(func() {
		for !stop.Load() {
			a.try(t, attempts.Load())
			attempts.Add(1)
		}
	})
	for attempts.Load() == 0 {
		runtime.Gosched()
	}
	h := t.victim(d, row)
	stop.Store(true)
	g.Wait()
	row.Attempts += attempts.Load()
	for _, s := range t.unit.Stats() {
		for reason, n := range s.Faults {
			row.Refused += n
			row.Reasons[reason.String()] += int(n)
		}
	}
	return [2]float64{float64(h.ValueAtQuantile(50)), float64(h.ValueAtQuantile(99))}, t.close()
}

// victim completes requests for a while and looks each time whether its own request came, and no other. The attacker does not share its memory: what
// it found that it had not posted came through the unit.
func (t *tenants) victim(d time.Duration, row *AttackRow) *hdrhistogram.Histogram {
	const own = 1 << victim
	h := hdrhistogram.New(1, int64(time.Second), 3)
	for end := time.Now().Add(d); ; {
		row.Foreign += uint64(bits.OnesCount64(t.drain(victim)))
		start := time.Now()
		_, err := t.views[victim].View(tenantPage, 16, true)
		t.raise(victim, victim)
		now := time.Now()
		t.keep(err)
		_ = h.RecordValue(min(int64(now.Sub(start)), int64(time.Second)))
		row.Completed++
		if got := t.drain(victim); got&own == 0 {
			row.Lost++
		} else {
			row.Foreign += uint64(bits.OnesCount64(got &^ own))
		}
		if now.After(end) {
			return h
		}
	}
}
