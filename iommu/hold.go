package iommu

import "sync/atomic"

const (
	holdRanges = 4
	maxSpans   = 16
	anyDomain  = 1 << 16
)

// span is a range of addresses of a domain, the last one included.
type span struct {
	domain      uint32 // anyDomain for all
	first, last uint64
}

// everything is the span that covers all.
var everything = span{domain: anyDomain, last: ^uint64(0)}

// spans is what was taken back, at most maxSpans of them: more become everything.
type spans struct {
	n    int
	list [maxSpans]span
}

func (s *spans) add(r span) {
	if r == everything || s.n == maxSpans {
		s.n, s.list[0] = 1, everything
		return
	}
	if s.n > 0 && s.list[0] == everything {
		return
	}
	s.list[s.n] = r
	s.n++
}

func (s *spans) overlap(domain uint32, first, last uint64) bool {
	for _, r := range s.list[:s.n] {
		if (r.domain == anyDomain || domain == anyDomain || r.domain == domain) && r.first <= last && first <= r.last {
			return true
		}
	}
	return false
}

// hold is a request under way and the addresses that it uses. Its owner writes, a drain reads.
type hold struct {
	state  atomic.Uint64 // odd while the request is under way
	n      atomic.Uint32
	ranges [holdRanges]struct {
		domain      atomic.Uint32
		first, last atomic.Uint64
	}
}

// add publishes that the request uses [first, last] of a domain. A request of more ranges than there is room for uses all between some of them too.
func (h *hold) add(domain uint32, first, last uint64) {
	n := h.n.Load()
	if n > 0 {
		r := &h.ranges[n-1]
		next := r.domain.Load() == domain && r.last.Load()+1 == first
		if next {
			r.last.Store(last)
			return
		}
	}
	if n == holdRanges {
		r := &h.ranges[n-1]
		if r.domain.Load() != domain {
			r.domain.Store(anyDomain)
		}
		r.first.Store(min(r.first.Load(), first))
		r.last.Store(max(r.last.Load(), last))
		return
	}
	r := &h.ranges[n]
	r.domain.Store(domain)
	r.first.Store(first)
	r.last.Store(last)
	h.n.Store(n + 1)
}

func (h *hold) uses(s *spans) bool {
	for i := range h.n.Load() {
		r := &h.ranges[i]
		if s.overlap(r.domain.Load(), r.first.Load(), r.last.Load()) {
			return true
		}
	}
	return false
}
