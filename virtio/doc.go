// Package virtio is what every virtio device stands on: the queue, split
// or packed, the view of guest memory that a device is given, and the life of
// a device.
// Clauses are those of Virtual I/O Device (VIRTIO) 1.3.
//
// A transport (virtio/virtiopci) negotiates features, builds a [Queue] for
// each queue that the driver enabled and calls [Device.Activate]; a device
// pops [Chain] after chain, uses its buffers in place, pushes it back and asks
// whether to interrupt. Nothing on that path allocates once its slices have
// grown, and queues share no lock.
//
// The driver is hostile. Each descriptor is read once and the copy is judged;
// what the queue cannot trust is an error, after which that queue serves no
// more until the driver resets the device. Other queues go on.
package virtio
