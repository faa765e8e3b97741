package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gvmm/virtio/vnet"
	"gvmm/vmm"
	"gvmm/vmm/network"
)

// netHelp is the part of run's help on --net.
const netHelp = `--net adds a virtio network device; without it a guest has none. user is a network of its
own in user space, which needs no right: 10.0.2.15 by DHCP, out through this host's
sockets, in by hostfwd=tcp|udp:[ADDRESS]:PORT-[ADDRESS]:PORT. The guest reaches what
listens on this host's loopback as 10.0.2.2, unless no-loopback is said; restrict leaves
it nothing but forwards. tap=NAME is a TAP interface of the host's, switch=NAME an
Ethernet between the devices of this process. Any takes mac=ADDRESS and queues=N.
`

// netFlags are --net.
type netFlags struct{ list []string }

func (f *netFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.list, "net", nil,
		"network device: user[,hostfwd=…][,restrict][,no-loopback], tap=NAME or switch=NAME[,guard], with [,mac=…][,queues=N]; or none (repeatable)")
	_ = c.RegisterFlagCompletionFunc("net", cobra.FixedCompletions([]string{"none", "user", "tap=", "switch="}, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveNoSpace))
}

// config reads the networks that the flags ask for.
func (f *netFlags) config() ([]vmm.Network, error) {
	var networks []vmm.Network
	for _, spec := range f.list {
		if spec == "none" {
			if len(f.list) > 1 {
				return nil, fmt.Errorf("--net none beside another --net: which is it?")
			}
			return nil, nil
		}
		n, err := parseNet(spec)
		if err != nil {
			return nil, fmt.Errorf("--net %s: %w", spec, err)
		}
		networks = append(networks, n)
	}
	return networks, nil
}

// parseNet reads one network: its kind, and options behind commas.
func parseNet(spec string) (vmm.Network, error) {
	kind, options, _ := strings.Cut(spec, ",")
	kind, name, named := strings.Cut(kind, "=")
	n := vmm.Network{Kind: kind, Name: name}
	switch kind {
	case vmm.NetworkUser:
		if named {
			return n, fmt.Errorf("user has no name; its options follow commas")
		}
	case vmm.NetworkTAP, vmm.NetworkSwitch:
		if name == "" {
			return n, fmt.Errorf("which %s? %s=NAME", kind, kind)
		}
	default:
		return n, fmt.Errorf("%q is none of user, tap=NAME, switch=NAME and none", kind)
	}
	if options == "" {
		return n, nil
	}
	for _, o := range strings.Split(options, ",") {
		if err := parseNetOption(&n, o); err != nil {
			return n, err
		}
	}
	return n, nil
}

func parseNetOption(n *vmm.Network, option string) error {
	key, value, _ := strings.Cut(option, "=")
	user := n.Kind == vmm.NetworkUser
	switch {
	case key == "mac":
		mac, err := vnet.ParseMAC(value)
		if err != nil || mac == (vnet.MAC{}) || mac.Multicast() {
			return fmt.Errorf("mac=%s: the address of one station is needed, such as 02:00:00:00:00:01", value)
		}
		n.MAC = mac
	case key == "queues":
		queues, err := strconv.Atoi(value)
		if err != nil || queues < 1 || queues > vnet.MaxPairs {
			return fmt.Errorf("queues=%s: 1 to %d", value, vnet.MaxPairs)
		}
		n.Queues = queues
	case user && key == "hostfwd":
		forward, err := network.ParseForward(value)
		if err != nil {
			return err
		}
		if forward.Host.Port() == 0 {
			return fmt.Errorf("hostfwd=%s: the host's port is 0; name one", value)
		}
		n.User.Forwards = append(n.User.Forwards, forward)
	case user && key == "subnet":
		subnet, err := netip.ParsePrefix(value)
		if err != nil {
			return fmt.Errorf("subnet=%s: an IPv4 prefix is needed, such as 10.0.2.0/24", value)
		}
		n.User.Subnet = subnet
	case user && option == "restrict":
		n.User.Restrict = true
	case user && option == "no-loopback":
		n.User.NoHostLoopback = true
	case n.Kind == vmm.NetworkSwitch && option == "guard":
		n.Guard = true
	default:
		return fmt.Errorf("%s has no option %q", n.Kind, option)
	}
	return nil
}
