package vnet

// Limits of a frame, in bytes from the destination address on, without FCS.
const (
	// EthernetSize is an Ethernet header without a VLAN tag.
	EthernetSize = 14
	// MaxFrame is the longest frame that a segmentation offload carries: an IP
	// packet of 65,535 bytes, rounded up as drivers size their buffers
	// (§5.1.6.3.1), with its Ethernet header.
	MaxFrame = 65550
	// DefaultMTU is the MTU that drivers are told unless options say otherwise.
	DefaultMTU = 1500
)

// Offloads are what frames on a Link may leave to their receiver. Tx is from
// the guest to the link, Rx from the link to the guest. A TSO needs its
// direction's checksum.
type Offloads struct {
	TxChecksum, TxTSO4, TxTSO6 bool
	RxChecksum, RxTSO4, RxTSO6 bool
}

// Link is the host's side of a network device: where its frames go, and where
// they come from.
type Link interface {
	// Offloads does not change. A device offers its driver no more than that,
	// and does itself what its driver then has not taken.
	Offloads() Offloads
	// Transmit takes one frame of the guest's, which is segments one after the
	// other, on the caller's goroutine. It neither keeps nor changes segments,
	// does not block for long, and reads each byte once: a guest may write while
	// it does. False means that the link had no room and dropped the frame.
	// Several goroutines may call it at a time, one for each queue pair.
	Transmit(h Header, segments [][]byte) bool
	// Start gives the link the way back. Until Stop returns, the link may call
	// r from any goroutine. After Stop it may be started again.
	Start(r Receiver)
	// Stop returns when no call to the Receiver is under way; none follows. It
	// must not be called from inside one.
	Stop()
	// Close releases what the link holds in the host. The link was stopped.
	Close() error
}

// Receiver is a device as its Link sees it.
type Receiver interface {
	// Receive puts one frame into the guest's buffers; the segments of frame are
	// read only, and not kept. False means that there are none at present: the
	// link drops the frame, or keeps it until there is room. A frame that the
	// device does not want, or that can never fit, is dropped and true.
	Receive(h Header, frame [][]byte) bool
	// OnRoom registers f, in place of what was registered before. It is called
	// once when buffers have come after a Receive that returned false, from any
	// goroutine; it must neither block nor call Receive.
	OnRoom(f func())
}
