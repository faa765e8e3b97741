package vnet

import (
	"encoding/binary"

	"gvmm/virtio"
)

// Classes and commands of the control queue (§5.1.6.5).
const (
	classRx       = 0 // its commands are the modes of filter
	classMAC      = 1
	classMQ       = 4
	classOffloads = 5

	macTableSet    = 0
	macAddressSet  = 1
	mqPairsSet     = 0
	offloadsSet    = 0
	ackOK          = 0
	ackError       = 1
	commandHeader  = 2       // class and command
	maxCommandSize = 1 << 16 // far more than any command of ours needs
)

// controlQueue obeys a driver's commands.
type controlQueue struct {
	machine *machine
	queue   *virtio.Queue
	stats   *Stats
	chain   virtio.Chain
	command []byte // a copy
}

// drain obeys what the queue holds.
func (c *controlQueue) drain() error {
	if err := c.queue.DisableKicks(); err != nil {
		return err
	}
	for !c.machine.stopping.Load() {
		ok, err := c.queue.Pop(&c.chain)
		if err != nil {
			return err
		}
		if !ok {
			if more, err := c.queue.EnableKicks(); !more || err != nil {
				return err
			}
			continue
		}
		if err := c.queue.Push(c.chain.Head, c.serve()); err != nil {
			return err
		}
		if _, err := c.queue.Notify(); err != nil {
			return err
		}
	}
	return nil
}

// serve obeys the popped chain's command and returns how much it wrote.
func (c *controlQueue) serve() (written uint32) {
	ok := c.chain.WriteLen > 0 && c.chain.ReadLen >= commandHeader && c.chain.ReadLen <= maxCommandSize
	if ok {
		n := int(c.chain.ReadLen)
		if cap(c.command) < n {
			c.command = make([]byte, n)
		}
		p := c.command[:n]
		gather(p, c.chain.Readable)
		ok = c.machine.obey(p[0], p[1], p[commandHeader:])
	}
	ack := byte(ackOK)
	if ok {
		c.stats.Commands.Add(1)
	} else {
		c.stats.Malformed.Add(1)
		ack = ackError
	}
	if c.chain.WriteLen == 0 {
		return 0
	}
	c.chain.Writable[0][0] = ack
	return 1
}

// obey carries a command out; false is an error to the driver, and has changed
// nothing. The control queue alone calls it.
func (m *machine) obey(class, command byte, data []byte) bool {
	has := func(feature uint64) bool { return m.features&feature != 0 }
	switch {
	case class == classRx && command <= rxAllMulti:
		return has(featureCtrlRx) && m.setMode(command, data)
	case class == classRx && command < rxModes:
		return has(featureCtrlRxExtra) && m.setMode(command, data)
	case class == classMAC && command == macTableSet:
		return has(featureCtrlRx) && m.setTable(data)
	case class == classMAC && command == macAddressSet:
		return has(featureCtrlMAC) && m.setAddress(data)
	case class == classMQ && command == mqPairsSet:
		return has(featureMQ) && m.setPairs(data)
	case class == classOffloads && command == offloadsSet:
		return has(featureGuestOffloads) && m.setOffloads(data)
	}
	return false
}

func (m *machine) setMode(mode byte, data []byte) bool {
	if len(data) != 1 || data[0] > 1 {
		return false
	}
	f := *m.filter.Load()
	f.modes[mode] = data[0] == 1
	m.filter.Store(&f)
	return true
}

// setTable takes two lists of addresses, unicast then multicast, each behind
// its length (§5.1.6.5.2).
func (m *machine) setTable(data []byte) bool {
	f := *m.filter.Load()
	var ok bool
	if f.unicast, f.everyUni, data, ok = addresses(data); !ok {
		return false
	}
	if f.multi, f.everyMulti, data, ok = addresses(data); !ok || len(data) != 0 {
		return false
	}
	m.filter.Store(&f)
	return true
}

// addresses reads a list of addresses; every says that it is too long to keep.
func addresses(data []byte) (list []MAC, every bool, rest []byte, ok bool) {
	if len(data) < 4 {
		return nil, false, nil, false
	}
	n := uint64(binary.LittleEndian.Uint32(data))
	data = data[4:]
	size := 6 * n
	if size > uint64(len(data)) {
		return nil, false, nil, false
	}
	if n > maxAddresses {
		return nil, true, data[size:], true
	}
	for i := range n {
		list = append(list, MAC(data[6*i:]))
	}
	return list, false, data[size:], true
}

func (m *machine) setAddress(data []byte) bool {
	if len(data) != 6 || MAC(data) == (MAC{}) || MAC(data).Multicast() {
		return false
	}
	f := *m.filter.Load()
	f.mac = MAC(data)
	m.filter.Store(&f)
	return true
}

// setPairs changes how many pairs are in use. When it returns nothing is
// received on the others any more (§5.1.6.5.5.2).
func (m *machine) setPairs(data []byte) bool {
	if len(data) != 2 {
		return false
	}
	n := int(binary.LittleEndian.Uint16(data))
	if n < 1 || n > len(m.receive) {
		return false
	}
	m.steering.pairs.Store(int32(n))
	for _, q := range m.receive[n:] {
		if q != nil {
			q.leave()
		}
	}
	return true
}

func (m *machine) setOffloads(data []byte) bool {
	if len(data) != 8 {
		return false
	}
	v := binary.LittleEndian.Uint64(data)
	if v&^(m.features&guestOffloads) != 0 {
		return false
	}
	m.guest.Store(v)
	return true
}
