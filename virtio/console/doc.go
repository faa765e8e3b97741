// Package console is the virtio console (VIRTIO 1.3 §5.3): one port, which is a
// terminal's other end.
//
// What the guest writes goes to a writer before its buffer is given back, so a
// slow writer slows the guest and nothing is lost; a device that stops writes
// out what the driver had queued, up to a bound. What the guest is to read
// waits in a bounded buffer of the device's; more than fits stays with whoever
// has it.
//
// A new window size reaches the driver by a change of configuration, or with
// MULTIPORT by a control message. Linux without a fix of 2025 takes that message's
// columns for rows, so MULTIPORT is for those who want the port's name.
package console
