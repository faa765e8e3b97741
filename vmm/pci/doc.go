// Package pci is the PCI side of a machine's devices: configuration space,
// base address registers that the guest sizes and moves, capabilities, MSI-X,
// and the bus that finds functions by their requester id.
//
// A device builds a [Function], gives it BARs (each answered by a [Region]),
// capabilities and at most one [MSIX], and the machine puts it on a [Bus].
// The bus tells the machine's [AddressSpace] where each decoded BAR stands.
//
// The guest owns every writable bit here. Whatever it writes, an access ends
// at once and inside the function: an address that cannot be decoded is not
// decoded, a vector that does not exist is not raised. Register names and
// offsets are those of PCI Local Bus 3.0 §6.
package pci
