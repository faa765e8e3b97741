// Package blk is the virtio block device (VIRTIO 1.3 §5.2) over a [Backend],
// which a host file or block device is through [OpenFile].
//
// A driver's buffers go to the backend as they are, in one call a request. A
// read that the host can serve from memory is served in the goroutine of its
// queue, the shortest way there is; what would wait for storage goes to the
// device's workers, so that it holds up nothing behind it.
//
// A request that is wrong ends in an error status, and costs the driver that
// request; a ring that is wrong costs it the queue.
package blk
