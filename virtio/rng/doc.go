// Package rng is the virtio entropy device (VIRTIO 1.3 §5.4): it fills the
// driver's buffers with random bytes.
//
// A guest can ask for ever, so a request gets MaxRequest bytes at most and all
// of them together so many a second: a driver whose buffer is longer sees how
// much it got and asks again.
package rng
