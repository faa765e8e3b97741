package network

import "sync/atomic"

// Stats count since the network was made; read them at any time. Tx is what the
// guest sent, Rx what went to it.
type Stats struct {
	TxFrames, TxBytes atomic.Uint64 // taken in
	TxDrops           atomic.Uint64 // not: malformed, too long, foreign, of a protocol that is not carried
	RxFrames, RxBytes atomic.Uint64 // the guest had buffers for
	RxDrops           atomic.Uint64 // it had not, and the queue was full or there was no receiver

	Connections     atomic.Uint64 // TCP connections established, in both directions
	ConnectionsOpen atomic.Int64  // of those, and of those being established, now
	Refused         atomic.Uint64 // connections and datagrams to where nothing goes or answers
	Limited         atomic.Uint64 // connections, flows, queries and echo requests past a bound
	Flows           atomic.Uint64 // UDP flows begun
	FlowsOpen       atomic.Int64
	Echoes          atomic.Uint64 // echo requests to the outside
	EchoReplies     atomic.Uint64
	Queries         atomic.Uint64 // DNS queries
	QueryFailures   atomic.Uint64 // that no resolver answered
	Leases          atomic.Uint64 // DHCP acknowledgements
}
