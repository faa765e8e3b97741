package vmm

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/virtio/vnet"
	"gvmm/vmm/network"
)

func TestNetworksThatCannotBeAreRefused(t *testing.T) {
	for name, n := range map[string][]Network{
		"too many":          make([]Network, maxNetworks+1),
		"too many queues":   {{Kind: NetworkUser, Queues: 9}},
		"group's address":   {{Kind: NetworkUser, MAC: vnet.MAC{1}}},
		"TAP without name":  {{Kind: NetworkTAP}},
		"nameless switch":   {{Kind: NetworkSwitch}},
		"link without link": {{Kind: NetworkLink}},
		"unknown":           {{Kind: "cable", Name: "x"}},
	} {
		c := Config{Image: "kernel", Networks: n}
		require.ErrorIs(t, c.check(), ErrConfig, name)
	}
}

func TestNetworkAddressesAreUniqueOrRepeat(t *testing.T) {
	seen := map[vnet.MAC]bool{}
	for _, c := range []Config{{}, {}, {ICount: 1}, {ICount: 1, Seed: 1}} {
		for i := range maxNetworks {
			mac := c.networkMAC(i)
			require.False(t, seen[mac])
			require.EqualValues(t, 2, mac[0]&3, "one station's, locally administered")
			seen[mac] = true
			if c.ICount > 0 {
				require.Equal(t, mac, c.networkMAC(i))
			}
		}
	}
}

// closing is a link that counts how often it was closed.
type closing struct {
	vnet.Link
	closed int
}

func (c *closing) Close() error { c.closed++; return c.Link.Close() }

func TestLinksAreClosedWithTheirMachine(t *testing.T) {
	s := network.NewSwitch()
	newLink := func() *closing {
		p, err := s.Port(network.PortOptions{})
		require.NoError(t, err)
		return &closing{Link: p}
	}
	a, b := newLink(), newLink()
	m := &Machine{config: Config{Networks: []Network{
		{Kind: NetworkLink, Link: a, MAC: vnet.MAC{2, 0, 0, 0, 0, 9}}, {Kind: NetworkSwitch, Name: "closed with its machine", Guard: true},
	}}}
	require.NoError(t, m.openNetworks())
	reports := m.networks()
	text, err := json.Marshal(reports[0])
	require.NoError(t, err)
	require.JSONEq(t, `{"kind": "link", "mac": "02:00:00:00:00:09", "tx_frames": 0, "tx_bytes": 0, "tx_dropped": 0,
		"rx_frames": 0, "rx_bytes": 0, "rx_refused": 0, "rx_dropped": 0, "rx_filtered": 0, "malformed": 0}`, string(text))
	require.NoError(t, m.Close())
	require.Equal(t, 1, a.closed)

	m = &Machine{config: Config{Networks: []Network{{Kind: NetworkTAP, Name: "no interface's name"}, {Kind: NetworkLink, Link: b}}}}
	require.ErrorIs(t, m.openNetworks(), network.ErrTAP)
	require.NoError(t, m.Close())
	require.Equal(t, 1, b.closed, "also where another network could not be had")
}
