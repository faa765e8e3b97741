package vmm

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"gvmm/virtio/vnet"
	"gvmm/vmm/network"
)

// Kinds of a Network.
const (
	NetworkUser   = "user"   // a network of the machine's own, in user space: User
	NetworkTAP    = "tap"    // a TAP interface of the host's: Name
	NetworkSwitch = "switch" // a switch between machines of this process: Name
	NetworkLink   = "link"   // Link
)

// Network is a virtio-net device and what it is connected to.
type Network struct {
	Kind   string
	Name   string // of the TAP interface or the switch
	User   network.UserConfig
	Link   vnet.Link // of NetworkLink; the machine closes it, also one that New could not build
	MAC    vnet.MAC  // the device's address; zero makes one
	Queues int       // pairs [1]
	// Guard has a switch refuse frames from any address but the device's.
	Guard bool
}

// maxNetworks bounds a machine's devices together with maxDisks: bus 0 has 31 slots.
const maxNetworks = 8

func (c *Config) checkNetworks() error {
	if len(c.Networks) > maxNetworks {
		return fmt.Errorf("%w: %d networks; %d can be had", ErrConfig, len(c.Networks), maxNetworks)
	}
	for i, n := range c.Networks {
		switch {
		case n.Queues < 0 || n.Queues > vnet.MaxPairs:
			return fmt.Errorf("%w: network %d: %d queues; 1 to %d can be had", ErrConfig, i, n.Queues, vnet.MaxPairs)
		case n.MAC.Multicast():
			return fmt.Errorf("%w: network %d: %v is a group's address; a station's has an even first byte", ErrConfig, i, n.MAC)
		}
		if err := n.checkKind(); err != nil {
			return fmt.Errorf("%w: network %d: %w", ErrConfig, i, err)
		}
	}
	return nil
}

func (n *Network) checkKind() error {
	switch n.Kind {
	case NetworkUser:
	case NetworkTAP, NetworkSwitch:
		if n.Name == "" {
			return fmt.Errorf("a %s needs a name", n.Kind)
		}
	case NetworkLink:
		if n.Link == nil {
			return errors.New("a link is needed")
		}
	default:
		return fmt.Errorf("%q is none of user, tap, switch and link", n.Kind)
	}
	return nil
}

// card is a network device and its link, which last as long as the machine.
type card struct {
	kind   string
	mac    vnet.MAC
	link   vnet.Link
	device *vnet.Device
}

// openNetworks connects the configuration's networks.
func (m *Machine) openNetworks() error {
	for i := range m.config.Networks {
		if err := m.openNetwork(i); err != nil {
			for _, n := range m.config.Networks[len(m.cards):] {
				if n.Link != nil {
					_ = n.Link.Close()
				}
			}
			return err
		}
	}
	return nil
}

func (m *Machine) openNetwork(i int) error {
	n := &m.config.Networks[i]
	mac := n.MAC
	if mac == (vnet.MAC{}) {
		mac = m.config.networkMAC(i)
	}
	link, err := n.open(mac)
	if err != nil {
		return err
	}
	c := &card{kind: n.Kind, mac: mac, link: link}
	m.cards = append(m.cards, c) // closed with the machine from here on
	c.device, err = vnet.New(link, vnet.Options{MAC: mac, Pairs: n.Queues, MTU: n.User.MTU, Inline: m.config.ICount > 0})
	return err
}

// open makes the host's side of the network.
func (n *Network) open(mac vnet.MAC) (vnet.Link, error) {
	switch n.Kind {
	case NetworkUser:
		return network.NewUser(n.User)
	case NetworkTAP:
		return network.NewTAP(n.Name)
	case NetworkSwitch:
		var o network.PortOptions
		if n.Guard {
			o.Only = mac
		}
		return network.NamedPort(n.Name, o)
	}
	return n.Link, nil
}

// networkMAC makes the address of network i: unique, or, where a run is to
// repeat, what the seed says. It is locally administered (IEEE 802 §8.2.2).
func (c *Config) networkMAC(i int) (mac vnet.MAC) {
	if c.ICount > 0 {
		sum := sha256.Sum256(fmt.Appendf(nil, "network %d of seed %d", i, c.Seed))
		copy(mac[:], sum[:])
	} else {
		_, _ = rand.Read(mac[:]) // never fails
	}
	mac[0] = mac[0]&^1 | 2
	return mac
}

// addNetwork puts the device of network i on the bus.
func (m *Machine) addNetwork(i int) error {
	_, err := m.addVirtio(fmt.Sprintf("net%d", i), m.cards[i].device, nil)
	return err
}

// NetworkReport is what went through a network device. Tx is from the guest.
type NetworkReport struct {
	Kind       string `json:"kind"`
	MAC        string `json:"mac"`
	TxFrames   uint64 `json:"tx_frames"`
	TxBytes    uint64 `json:"tx_bytes"`
	TxDropped  uint64 `json:"tx_dropped"` // by the link
	RxFrames   uint64 `json:"rx_frames"`
	RxBytes    uint64 `json:"rx_bytes"`
	RxRefused  uint64 `json:"rx_refused"`  // for want of buffers; the link may have tried again
	RxDropped  uint64 `json:"rx_dropped"`  // too long for the guest's buffers
	RxFiltered uint64 `json:"rx_filtered"` // not for the guest, as it has said
	Malformed  uint64 `json:"malformed"`
}

// networks are the reports of all networks, of the whole run.
func (m *Machine) networks() (list []NetworkReport) {
	for _, c := range m.cards {
		r := NetworkReport{Kind: c.kind, MAC: c.mac.String()}
		for pair := range c.device.Pairs() {
			rx, tx := c.device.Stats(2*pair), c.device.Stats(2*pair+1)
			r.TxFrames += tx.Frames.Load()
			r.TxBytes += tx.Bytes.Load()
			r.TxDropped += tx.NoRoom.Load()
			r.RxFrames += rx.Frames.Load()
			r.RxBytes += rx.Bytes.Load()
			r.RxRefused += rx.NoRoom.Load()
			r.RxDropped += rx.Dropped.Load()
			r.RxFiltered += rx.Filtered.Load()
			r.Malformed += rx.Malformed.Load() + tx.Malformed.Load()
		}
		r.Malformed += c.device.Stats(2 * c.device.Pairs()).Malformed.Load()
		list = append(list, r)
	}
	return list
}

// closeNetworks closes the links.
func (m *Machine) closeNetworks() (errs []error) {
	for _, c := range m.cards {
		errs = append(errs, c.link.Close())
	}
	return errs
}
