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

// ErrRefused is returned for a message that reached nobody; the fault that it was recorded as says why.
var ErrRefused = errors.New("iommu: interrupt refused")

// Config is what a unit is made of. Memory and Deliver are required.
type Config struct {
	// Memory holds the tables and the descriptors.
	Memory *memory.Memory
	// Deliver is the local APICs. Messages are in the x2APIC format: address bits 63:40 are bits 31:8 of the destination (`iommu.md §1.7`).
	Deliver pci.MSISender
	// X2APIC offers 32-bit destinations (ECAP.EIM).
	X2APIC bool
	// Posted offers posted entries (CAP.PI) and the vendor page with user-posted ones.
	Posted bool
	// Domain is the DID of a requester, asked at every user post; nil is 0 for all.
	Domain func(pci.RequesterID) uint16
	// Storm bounds each requester's user notifications.
	Storm Storm
}

// Unit is one remapping unit. Its methods may be called from any goroutine.
type Unit struct {
	cfg   Config
	start time.Time
	live  atomic.Pointer[tables]

	mu         sync.Mutex // everything below, and changes of live
	regs       registers
	faults     faultLog
	requesters map[pci.RequesterID]*requester
}

// tables is what a message's path needs of the registers. It is replaced, never changed.
type tables struct {
	enabled bool // IRES
	compat  bool // CFIS
	irta    spec.IRTA

	userPosted bool // UPM_EN
	wake       uint8
	pools      []spec.Pool // ascending and disjoint
}

// New returns a unit in its reset state: messages pass unremapped.
func New(cfg Config) *Unit {
	if cfg.Domain == nil {
		cfg.Domain = func(pci.RequesterID) uint16 { return 0 }
	}
	u := &Unit{cfg: cfg, start: time.Now(), requesters: make(map[pci.RequesterID]*requester)}
	u.Reset()
	return u
}

// Reset returns the registers to their reset state, as a reset of the machine does. Statistics and the fault log stay.
func (u *Unit) Reset() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.regs = registers{fectl: spec.EventIM}
	u.live.Store(new(tables))
}

// Close stops the unit's timers and waits for those under way. Functions must have stopped sending before.
func (u *Unit) Close() {
	for _, r := range u.all() {
		if r.storm != nil {
			r.storm.stop()
		}
	}
}

// Sender returns the sender of requester rid. It is the same one for every call with that rid.
func (u *Unit) Sender(rid pci.RequesterID) pci.MSISender {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.requesters[rid]
	if r == nil {
		r = newRequester(u, rid)
		u.requesters[rid] = r
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
