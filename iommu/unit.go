package iommu

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gvmm/iommu/spec"
	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
)

// What a unit says no with; the fault that it was recorded as says why.
var (
	// ErrRefused is returned for a message that reached nobody.
	ErrRefused = errors.New("iommu: interrupt refused")
	// ErrBlocked is returned for a DMA request that the guest's tables refuse.
	ErrBlocked = errors.New("iommu: DMA blocked")
	// ErrScattered is returned for a view that is not in one piece of memory.
	ErrScattered = errors.New("iommu: view is not contiguous")
)

// Config is what a unit is made of. Memory and Deliver are required.
type Config struct {
	// Memory holds the tables and the descriptors.
	Memory *memory.Memory
	// Deliver is the local APICs. Messages are in the x2APIC format: address bits 63:40 are bits 31:8 of the destination (`iommu.md §1.7`).
	Deliver pci.MSISender
	// X2APIC offers 32-bit destinations (ECAP.EIM).
	X2APIC bool
	// Posted offers posted entries (CAP.PI), and UserPosted with it the vendor page and user-posted ones.
	Posted, UserPosted bool
	// DMA offers DMA remapping and queued invalidation. Without it nothing is cached, and there is nothing to invalidate.
	DMA bool
	// Width is how many bits a DMA address has (CAP.MGAW): 39, 48 or 57 [48].
	Width int
	// Domain is the DID of a requester while DMA is not translated, asked at every user post; nil is 0 for all. While it is, the requester's
	// context entry says.
	Domain func(pci.RequesterID) uint16
	// Written, if set, is told what the unit wrote into memory by itself: status words of waits.
	Written func(addr, n uint64)
	// Trace, if set, is told what the unit does.
	Trace Tracer
	// Storm bounds each requester's user notifications.
	Storm Storm
}

// Unit is one remapping unit. Its methods may be called from any goroutine.
type Unit struct {
	cfg   Config
	start time.Time
	live  atomic.Pointer[tables]

	entries  entryCache
	iotlb    iotlb
	contexts atomic.Uint64 // generation of every requester's cached context entry
	epochs   epochs

	done    chan struct{} // closed by Close
	workers sync.WaitGroup

	mu         sync.Mutex // everything below, and changes of live
	regs       registers
	faults     faultLog
	requesters map[pci.RequesterID]*requester
	clients    []*Client
	counts     queueCounts
	settling   bool // a goroutine sees to regs.waits
	closed     bool
}

// tables is what the paths of messages and of DMA need of the registers. It is replaced, never changed.
type tables struct {
	enabled bool // IRES
	compat  bool // CFIS
	irta    spec.IRTA

	translate bool // TES
	root      spec.RTADDR
	caching   bool // QIES: interrupt entries may be cached, since they can be invalidated

	userPosted bool // UPM_EN
	wake       uint8
	pools      []spec.Pool // ascending and disjoint
}

// New returns a unit in its reset state: messages pass unremapped, DMA untranslated.
func New(cfg Config) *Unit {
	if cfg.Domain == nil {
		cfg.Domain = func(pci.RequesterID) uint16 { return 0 }
	}
	cfg.UserPosted = cfg.UserPosted && cfg.Posted
	cfg.Width = cfg.width()
	u := &Unit{cfg: cfg, start: time.Now(), done: make(chan struct{}), requesters: make(map[pci.RequesterID]*requester)}
	u.epochs.wake = make(chan struct{}, 1)
	u.epochs.sections.Store(new([]*section))
	u.Reset()
	return u
}

// Reset returns the registers to their reset state and empties the caches, as a reset of the machine does. Statistics and the fault log stay.
func (u *Unit) Reset() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.regs = registers{event: eventRegisters{control: spec.EventIM}}
	if u.cfg.DMA {
		u.regs.completion.control = spec.EventIM
	}
	u.live.Store(new(tables))
	u.contexts.Add(1)
	u.iotlb.invalidateAll()
	u.entries.invalidateAll()
}

// Close stops the unit's timers and goroutines and waits for those under way. Functions must have stopped before.
func (u *Unit) Close() {
	for _, r := range u.all() {
		if r.storm != nil {
			r.storm.stop()
		}
	}
	u.mu.Lock()
	if !u.closed {
		u.closed = true
		close(u.done)
	}
	u.mu.Unlock()
	u.workers.Wait()
}

// Sender returns the sender of requester rid. It is the same one for every call with that rid.
func (u *Unit) Sender(rid pci.RequesterID) pci.MSISender { return u.requester(rid) }

func (u *Unit) requester(rid pci.RequesterID) *requester {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.requesters[rid]
	if r == nil {
		r = newRequester(u, rid)
		u.requesters[rid] = r
		u.epochs.add(&r.section)
	}
	return r
}

// all returns the requesters in ascending order.
func (u *Unit) all() []*requester {
	u.mu.Lock()
	defer u.mu.Unlock()
	rs := make([]*requester, 0, len(u.requesters))
	for _, r := range u.requesters {
		rs = append(rs, r)
	}
	slices.SortFunc(rs, func(a, b *requester) int { return int(a.rid) - int(b.rid) })
	return rs
}

// change replaces the tables by an edited copy. The caller holds u.mu.
func (u *Unit) change(edit func(*tables)) {
	next := *u.live.Load()
	edit(&next)
	u.live.Store(&next)
}
