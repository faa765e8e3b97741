// Package network holds the host's sides of a network device: each implements
// [vnet.Link].
//
// [TAP] is an interface of the host's, [Switch] an Ethernet between the machines
// of one process.
//
// [User] is a network of the machine's own, in user space: no privilege, no
// interface on the host. The guest sees an Ethernet with a router on it, which
// hands out an address by DHCP (and router advertisements), resolves names and
// carries TCP, UDP and echo requests out through sockets of this process. By
// default, as people know it from elsewhere:
//
//	10.0.2.2   the router, and the host's own 127.0.0.1
//	10.0.2.3   the resolver
//	10.0.2.15  the guest
//	fd00::/64  the same over IPv6, the guest's address by autoconfiguration
//
// That the router's address reaches the host's loopback is what people use it
// for, and gives the guest every service that listens there: see
// [UserConfig.NoHostLoopback] and [UserConfig.Restrict]. Nobody reaches the
// guest but by the [Forward]s.
//
// The guest is hostile: connections, flows, queries, echo requests and queued
// frames are each bounded, what is past a bound is refused and counted in
// [Stats], and Close ends every goroutine and socket.
package network
