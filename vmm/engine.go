package vmm

import (
	"sync/atomic"

	"gvmm/vcpu"
	"gvmm/virtio"
	"gvmm/virtio/virtiopci"
	"gvmm/vmm/boot"
	"gvmm/vmm/pci"
	"gvmm/vmm/platform"
)

// engine is what a machine needs of what runs its processors: KVM, or the
// software CPU.
type engine interface {
	// addCPUs makes the processors; the first starts at the entry, info being the
	// start information's address.
	addCPUs(entry boot.Entry, info uint32) error
	cpus() []vcpu.CPU
	// run runs processor i on the calling goroutine until stop is set and seen.
	run(i int, stop *atomic.Bool) error

	// sender takes interrupt messages to the local APICs, in the x2APIC format.
	sender() pci.MSISender
	// line is an ISA interrupt's input.
	line(irq int) func(high bool)
	// addPlatform adds the legacy devices that need interrupts of the engine's.
	addPlatform(p *ports) error
	// dma is a device's view of guest memory.
	dma() deviceMemory
	// doorbells takes a device's notification stores past MemoryWrite; nil if they come there.
	doorbells(kick func(queue int)) doorbellTable

	// way is how user interrupts go, found when the engine was opened.
	way() vcpu.Way
	// now is the time that devices stamp with, tsc how the guest's relates to it.
	now() uint64
	tsc() tscRelation

	// exits turns two counts into what a report shows, by name.
	exits(begin, end *counts) map[string]uint64
	close() error
}

// deviceMemory is guest memory as devices use it: by views, or by copies.
type deviceMemory interface {
	virtio.DMA
	platform.Memory
}

// doorbellTable is a virtiopci.Doorbells that holds resources.
type doorbellTable interface {
	virtiopci.Doorbells
	close()
}

// tscRelation relates the guest's TSC to engine.now: its frequency, and what is added.
type tscRelation struct {
	offset uint64
	khz    uint32
	known  bool
}
