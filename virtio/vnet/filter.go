package vnet

import "slices"

// maxAddresses bounds each of the driver's address lists; a longer one is as
// good as all addresses (§5.1.6.5.2 lets a device filter less than asked for).
const maxAddresses = 64

// Which frames are received whatever their address, or not at all, by
// CTRL_RX's commands (§5.1.6.5.1).
const (
	rxPromisc = iota
	rxAllMulti
	rxAllUni
	rxNoMulti
	rxNoUni
	rxNoBroadcast
	rxModes
)

// filter is what the driver wants to receive. It does not change: commands make
// another one.
type filter struct {
	mac            MAC
	modes          [rxModes]bool
	unicast, multi []MAC
	everyUni       bool // there were too many to keep
	everyMulti     bool
}

// newFilter is a filter before the driver has said anything: it lets all pass.
func newFilter(mac MAC) *filter {
	f := &filter{mac: mac}
	f.modes[rxPromisc] = true
	return f
}

// wants tells whether a frame to this address is received.
func (f *filter) wants(to MAC) bool {
	switch {
	case f.modes[rxPromisc]:
		return true
	case to == broadcast:
		return !f.modes[rxNoBroadcast]
	case to.Multicast():
		return !f.modes[rxNoMulti] && (f.modes[rxAllMulti] || f.everyMulti || slices.Contains(f.multi, to))
	default:
		return !f.modes[rxNoUni] && (f.modes[rxAllUni] || f.everyUni || to == f.mac || slices.Contains(f.unicast, to))
	}
}
