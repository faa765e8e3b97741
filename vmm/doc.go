// Package vmm is a machine: built from a Config, run, stopped, and counted.
//
// It puts together what the other packages are: RAM, a kernel image, processors
// over KVM, local APICs and doorbells, a remapping unit, PCI and its virtio
// devices. It decides which way user interrupts go (with vcpu/hw's probe), serves
// the processors' exits, and afterwards gives a Report of what was counted.
package vmm
