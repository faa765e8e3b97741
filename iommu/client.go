package iommu

import "sync/atomic"

// Client is one user of a DMAView that says how long it uses what it was given, so that the guest can take a mapping back and know when nobody uses it
// any more. Views are used between Enter and Leave; what Segments gives is used between Begin and End.
//
// Enter, Leave and End may be called from any goroutine. Begin, View and Segments belong to one at a time; View also to any other between Enter and
// Leave.
type Client struct {
	*DMAView
	section section
	holds   []hold
	current *hold // of the request that Begin started last
	cursor  int
	active  atomic.Int64
}

var _ DMA = (*Client)(nil)

// Client returns a new client that has at most so many requests under way. Close it.
func (v *DMAView) Client(requests int) *Client {
	c := &Client{DMAView: v, holds: make([]hold, requests)}
	v.unit.mu.Lock()
	defer v.unit.mu.Unlock()
	v.unit.clients = append(v.unit.clients, c)
	v.unit.epochs.add(&c.section)
	return c
}

// Close ends all requests. Nothing that the client was given may be used any more.
func (c *Client) Close() {
	u := c.unit
	for i := range c.holds {
		c.End(i)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	var rest []*Client
	for _, o := range u.clients {
		if o != c {
			rest = append(rest, o)
		}
	}
	u.clients = rest
	u.epochs.remove(&c.section)
	u.epochs.left()
}

// Enter begins to use views. Give its result to Leave.
func (c *Client) Enter() (section uint64) { return c.unit.epochs.enter(&c.section) }

// Leave says that the views of a section are used no more.
func (c *Client) Leave(section uint64) { c.unit.epochs.leave(&c.section, section) }

// Begin starts a request: what Segments gives from now on belongs to it. ok is false if there are as many as there may be.
func (c *Client) Begin() (request int, ok bool) {
	for range c.holds {
		i := c.cursor
		c.cursor++
		if c.cursor == len(c.holds) {
			c.cursor = 0
		}
		h := &c.holds[i]
		if h.state.Load()&1 == 0 {
			h.n.Store(0)
			h.state.Add(1)
			c.active.Add(1)
			c.current = h
			return i, true
		}
	}
	return 0, false
}

// End says that nothing of a request is used any more. Ending one twice changes nothing.
func (c *Client) End(request int) {
	h := &c.holds[request]
	if s := h.state.Load(); s&1 != 0 && h.state.CompareAndSwap(s, s+1) {
		c.active.Add(-1)
		c.unit.epochs.left()
	}
}

// Segments is DMAView.Segments for the request that Begin started last.
func (c *Client) Segments(dst [][]byte, addr uint64, n uint32, write bool) ([][]byte, error) {
	p := c.Enter()
	dst, err := c.segments(c.current, dst, addr, n, write)
	c.Leave(p)
	return dst, err
}

// using appends the requests that use any of s.
func (c *Client) using(s *spans, list []heldRequest) []heldRequest {
	if s.n == 0 || c.active.Load() == 0 {
		return list
	}
	for i := range c.holds {
		h := &c.holds[i]
		if state := h.state.Load(); state&1 != 0 && h.uses(s) {
			list = append(list, heldRequest{h, state})
		}
	}
	return list
}
