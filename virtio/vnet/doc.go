// Package vnet is the virtio network device (VIRTIO 1.3 §5.1) over a [Link],
// the host's side of it: a TAP device, a switch's port, a network of its own.
//
// A frame goes from the driver's buffers to the link, and from the link into
// the driver's buffers, as segments, copied once at the most. Checksums and
// segmentation that one side leaves to the other ([Header]) are carried through
// where the link can take them; [Finish] and [Segmenter] do the work for a side
// that cannot.
//
// A frame that is wrong, or for which there is no room, is dropped and counted
// and costs the driver that frame; a ring that is wrong costs it the queue.
package vnet
