package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
)

// ErrConfig reports a configuration that cannot be.
var ErrConfig = errors.New("network: configuration")

// Bounds of a network's MTU, in bytes of an IP packet.
const (
	MinMTU     = 576   // what every IPv4 host takes (RFC 791)
	MinMTU6    = 1280  // what IPv6 asks of a link (RFC 8200 §5)
	MaxMTU     = 65520 // with its headers within an offload's frame
	DefaultMTU = 1500
)

// Hosts of the subnet, counted from its first address.
const (
	gatewayHost = 2
	dnsHost     = 3
	guestHost   = 15
)

// UserConfig shapes a [User]. Zero values mean the default in brackets.
type UserConfig struct {
	// Subnet is IPv4, /27 or wider: the router is its address 2, the resolver 3
	// and the guest 15 [10.0.2.0/24].
	Subnet netip.Prefix
	// Subnet6 is an IPv6 /64, with the router and the resolver at 2 and 3 [fd00::/64].
	Subnet6 netip.Prefix
	NoIPv6  bool
	MTU     int              // 576 (1280 with IPv6) to 65520 [1500]
	MAC     net.HardwareAddr // the router's [52:55 and its IPv4 address]

	Hostname string // the guest's [guest]
	Domain   string // in which the router is "gateway" and the guest its hostname [gvmm]

	// Restrict leaves the guest the router's own services and the Forwards: no
	// connection to the outside, to the host, nor any name but the Domain's.
	Restrict bool
	// NoHostLoopback keeps the router's address from being the host's loopback.
	// What the host serves at its other addresses stays in reach.
	NoHostLoopback bool

	Forwards  []Forward
	Resolvers []netip.AddrPort // in place of /etc/resolv.conf's

	Connections int // TCP connections at a time, in both directions [512]
	HalfOpen    int // of those, not yet established by the guest [128]
	Flows       int // UDP flows at a time, in both directions [512]
}

// label is a host name's or a domain's (RFC 1123 §2.1).
var label = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)

// complete fills the defaults in and judges the rest.
func (c UserConfig) complete() (UserConfig, error) {
	if !c.Subnet.IsValid() {
		c.Subnet = netip.MustParsePrefix("10.0.2.0/24")
	}
	if !c.Subnet6.IsValid() {
		c.Subnet6 = netip.MustParsePrefix("fd00::/64")
	}
	c.Subnet, c.Subnet6 = c.Subnet.Masked(), c.Subnet6.Masked()
	setDefault(&c.MTU, DefaultMTU)
	setDefault(&c.Hostname, "guest")
	setDefault(&c.Domain, "gvmm")
	setDefault(&c.Connections, 512)
	setDefault(&c.HalfOpen, 128)
	setDefault(&c.Flows, 512)
	if err := c.check(); err != nil {
		return c, err
	}
	if c.MAC == nil {
		ip := c.gateway().As4()
		c.MAC = append(net.HardwareAddr{0x52, 0x55}, ip[:]...)
	}
	forwards := make([]Forward, len(c.Forwards))
	for i, f := range c.Forwards {
		var err error
		if forwards[i], err = f.complete(c); err != nil {
			return c, err
		}
	}
	c.Forwards = forwards
	return c, nil
}

func (c UserConfig) check() error {
	lowest := MinMTU
	if !c.NoIPv6 {
		lowest = MinMTU6
	}
	switch {
	case !c.Subnet.Addr().Is4() || c.Subnet.Bits() < 8 || c.Subnet.Bits() > 27:
		return fmt.Errorf("%w: subnet %v: an IPv4 prefix of 8 to 27 bits is needed", ErrConfig, c.Subnet)
	case !c.Subnet.Addr().IsGlobalUnicast():
		return fmt.Errorf("%w: subnet %v is not of unicast addresses", ErrConfig, c.Subnet)
	case !c.NoIPv6 && (!c.Subnet6.Addr().Is6() || c.Subnet6.Addr().Is4In6() || c.Subnet6.Bits() != 64 || !c.Subnet6.Addr().IsGlobalUnicast()):
		return fmt.Errorf("%w: subnet %v: a unicast IPv6 prefix of 64 bits is needed", ErrConfig, c.Subnet6)
	case c.MTU < lowest || c.MTU > MaxMTU:
		return fmt.Errorf("%w: MTU %d: %d to %d are possible", ErrConfig, c.MTU, lowest, MaxMTU)
	case c.MAC != nil && (len(c.MAC) != 6 || c.MAC[0]&1 != 0):
		return fmt.Errorf("%w: %v is not the MAC address of one station", ErrConfig, c.MAC)
	case len(c.Hostname) > 63 || !label.MatchString(c.Hostname):
		return fmt.Errorf("%w: %q is not a host name", ErrConfig, c.Hostname)
	case len(c.Domain) > 180 || !label.MatchString(c.Domain):
		return fmt.Errorf("%w: %q is not a domain name", ErrConfig, c.Domain)
	case c.Connections < 0 || c.HalfOpen < 0 || c.Flows < 0:
		return fmt.Errorf("%w: a bound below zero", ErrConfig)
	}
	for _, r := range c.Resolvers {
		if !r.IsValid() || r.Port() == 0 {
			return fmt.Errorf("%w: resolver %v: an address and a port are needed", ErrConfig, r)
		}
	}
	return nil
}

func (c UserConfig) gateway() netip.Addr  { return nth(c.Subnet, gatewayHost) }
func (c UserConfig) dns() netip.Addr      { return nth(c.Subnet, dnsHost) }
func (c UserConfig) guest() netip.Addr    { return nth(c.Subnet, guestHost) }
func (c UserConfig) gateway6() netip.Addr { return nth(c.Subnet6, gatewayHost) }
func (c UserConfig) dns6() netip.Addr     { return nth(c.Subnet6, dnsHost) }

// ofGuest tells whether a is one that a guest may have.
func (c *UserConfig) ofGuest(a netip.Addr) bool {
	inside := c.Subnet.Contains(a) && a != c.broadcast() && a != c.Subnet.Addr() ||
		!c.NoIPv6 && c.Subnet6.Contains(a)
	return inside && !c.own(a)
}

// own tells whether a is the router's.
func (c *UserConfig) own(a netip.Addr) bool {
	return a == c.gateway() || a == c.dns() ||
		!c.NoIPv6 && (a == c.gateway6() || a == c.dns6() || a == routerLinkLocal)
}

// broadcast is the subnet's last address.
func (c UserConfig) broadcast() netip.Addr {
	a := c.Subnet.Addr().As4()
	for bit := c.Subnet.Bits(); bit < 32; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom4(a)
}

// nth is address n of p. p is masked, and n fits its last byte.
func nth(p netip.Prefix, n byte) netip.Addr {
	b := p.Addr().AsSlice()
	b[len(b)-1] |= n
	a, _ := netip.AddrFromSlice(b)
	return a
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}
