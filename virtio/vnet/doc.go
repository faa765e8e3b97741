// Package vnet is the virtio network device (VIRTIO 1.3 §5.1) over a [Link],
// the host's side of it: a TAP device, a switch's port, a network of its own.
//
// A frame goes from the driver's buffers to the link, and from the link into
// the driver's buffers, as segments, with no copy in between. Checksums and
// segmentation that a frame leaves to its receiver ([Header]) are carried
// through to a driver or a link that takes them; for a driver that does not,
// the device does the work ([FinishChecksum], [Segmenter]).
//
// A frame that is wrong, or for which there is no room, is dropped and counted
// and costs the driver that frame; a ring that is wrong costs it the queue.
package vnet
