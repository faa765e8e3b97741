package network

import (
	"sync/atomic"

	"gvmm/virtio/vnet"
)

// Size of a port's table: a guest of several stations, such as one that
// bridges, has so many remembered. One that invents more loses only its own.
const (
	stationSets = 32
	stationWays = 4
)

// station is an address, in its low 48 bits with bit 63 set, and when it was
// last heard. The two are apart: what comes of that is at worst a frame flooded.
type station struct{ address, heard atomic.Int64 }

const stationKnown = -1 << 63

// stations are those behind a port: a set-associative table without locks.
type stations [stationSets][stationWays]station

func pack(m vnet.MAC) int64 {
	var v int64
	for _, b := range m {
		v = v<<8 | int64(b)
	}
	return v | stationKnown
}

// set is where an address may stand.
func (t *stations) set(v int64) *[stationWays]station {
	h := uint64(v) * 0x9E37_79B9_7F4A_7C15
	return &t[h>>59&(stationSets-1)]
}

func fresh(s *station, now int64) bool {
	return now-s.heard.Load() <= int64(MaxAge.Seconds())
}

func (t *stations) has(m vnet.MAC, now int64) bool {
	v := pack(m)
	set := t.set(v)
	for i := range set {
		if set[i].address.Load() == v && fresh(&set[i], now) {
			return true
		}
	}
	return false
}

// learn notes that a station was heard, in place of the one that was heard the
// longest ago, and tells whether it is new.
func (t *stations) learn(m vnet.MAC, now int64) (new bool) {
	v := pack(m)
	set := t.set(v)
	oldest := &set[0]
	for i := range set {
		s := &set[i]
		if s.address.Load() == v {
			new = !fresh(s, now)
			if s.heard.Load() != now { // the line stays shared among readers
				s.heard.Store(now)
			}
			return new
		}
		if age(s) < age(oldest) {
			oldest = s
		}
	}
	oldest.heard.Store(now)
	oldest.address.Store(v)
	return true
}

// age orders entries: free ones before all others.
func age(s *station) int64 {
	if s.address.Load() == 0 {
		return stationKnown
	}
	return s.heard.Load()
}

func (t *stations) forget(m vnet.MAC) {
	v := pack(m)
	set := t.set(v)
	for i := range set {
		set[i].address.CompareAndSwap(v, 0)
	}
}
