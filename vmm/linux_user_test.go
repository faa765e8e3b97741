package vmm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/virtio/vnet"
	"gvmm/vmm/network"
)

// linuxUserScript gets an address by DHCP and uses what a user network has;
// the ports of the host's servers are to be put in.
const linuxUserScript = `cat > /tmp/dhcp <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ifconfig $interface $ip netmask $subnet mtu $mtu up
route add default gw $router
echo "nameserver $dns" > /etc/resolv.conf
echo "lease $ip $subnet $router $dns $mtu $hostname $domain"
END
chmod +x /tmp/dhcp
ifconfig eth0 up
udhcpc -q -f -n -i eth0 -s /tmp/dhcp -O mtu -O hostname -O domain > /tmp/lease 2>&1
grep ^lease /tmp/lease || cat /tmp/lease
echo "pinged $(ping -c 2 10.0.2.2 | grep received)"
echo "resolved $(nslookup www.example.org | grep 192.0.2)"
wget -q -O /tmp/data http://10.0.2.2:%[1]d/
echo "got $(sha256sum < /tmp/data)"
echo "posted $(wget -q -O - --post-file /tmp/data http://10.0.2.2:%[1]d/)"
echo "refused $(nc 10.0.2.2 %[2]d < /dev/null 2>&1)"
(echo "forwarded $(echo pong | nc -l -p 22)"; touch /tmp/done) &
sleep 0.2; echo listening
while [ ! -e /tmp/done ]; do sleep 0.1; done
ip -6 addr show dev eth0 | grep 'inet6 fd00:' | sed 's/.*inet6/six/'
echo "pinged6 $(ping -6 -c 2 fd00::2 2>&1 | grep received)"
echo "route6 $(ip -6 route show default)"`

func TestLinuxGuestOnAUserNetwork(t *testing.T) {
	linuxNetInitrd(t, "") // or skips
	data := bytes.Repeat([]byte("ten megabytes from the host and back "), 10<<20/37)
	sum := func(b []byte) string { return fmt.Sprintf("%x  -", sha256.Sum256(b)) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			back, _ := io.ReadAll(r.Body)
			_, _ = io.WriteString(w, sum(back))
			return
		}
		_, _ = w.Write(data)
	}))
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port

	all := new(network.User).Offloads()
	for _, c := range []struct {
		name     string
		offloads vnet.Offloads
	}{
		{"all offloads", all},
		{"no offloads", vnet.Offloads{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			resolver := answerNames(t)
			u, err := network.NewUser(network.UserConfig{
				Resolvers: []netip.AddrPort{resolver},
				Forwards:  []network.Forward{{Network: "tcp", Guest: netip.AddrPortFrom(netip.Addr{}, 22)}},
			})
			require.NoError(t, err)
			l := newLinuxNet(t, fmt.Sprintf(linuxUserScript, port, closedPort(t)), 2, Network{Kind: NetworkLink, Link: limited{u, c.offloads}})
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			go func() {
				if !l.out.await(ctx, "listening\r\n") {
					return
				}
				in, err := net.Dial("tcp", u.Forwards()[0].Host.String())
				if err != nil {
					return
				}
				defer in.Close()
				_, _ = io.WriteString(in, "ping\n")
				_, _ = io.ReadAll(in)
			}()
			l.run(ctx, t)
			require.Equal(t, "10.0.2.15 255.255.255.0 10.0.2.2 10.0.2.3 1500 guest gvmm", l.said(t, "lease"))
			require.Contains(t, l.said(t, "pinged"), "2 packets received")
			require.Contains(t, l.said(t, "resolved"), "192.0.2.7", l.out.String())
			require.Equal(t, sum(data), l.said(t, "got"))
			require.Equal(t, sum(data), l.said(t, "posted"))
			require.Contains(t, l.said(t, "refused"), "refused")
			require.Equal(t, "ping", l.said(t, "forwarded"))
			require.Regexp(t, "^fd00:", l.said(t, "six"))
			require.Contains(t, l.said(t, "pinged6"), "2 packets received")
			require.Contains(t, l.said(t, "route6"), "via fe80::2")
			t.Logf("%+v; %d connections", l.machine.networks(), u.Stats().Connections.Load())
		})
	}
}

// answerNames is a resolver on the host's loopback that knows one address.
func answerNames(t *testing.T) netip.AddrPort {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			a := append([]byte(nil), b[:n]...)
			a[2], a[3] = 0x81, 0x80                   // a response
			if n > 16 && a[n-3] == 1 && a[n-4] == 0 { // to a question for A
				a[7] = 1
				a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7)
			}
			_, _ = c.WriteTo(a, from)
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// closedPort is one of the loopback's where nobody listens.
func closedPort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
