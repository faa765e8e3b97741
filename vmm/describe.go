package vmm

import (
	"fmt"

	"gvmm/vmm/boot"
	"gvmm/vmm/pci"
)

// Description is what a machine is before it runs: what --dry-run shows.
type Description struct {
	Image    string              `json:"image"`
	Kind     string              `json:"kind"`
	Kernel   string              `json:"kernel"`            // where it comes from
	Version  string              `json:"version,omitempty"` // of a Linux kernel
	Boot     string              `json:"boot"`              // how it is entered, of boot.ParseWay's names
	Entry    string              `json:"entry"`
	Loaded   Range               `json:"loaded"`
	KASLR    string              `json:"kaslr,omitempty"`
	Command  string              `json:"command_line"`
	Initrds  []string            `json:"initrds,omitempty"`
	Initrd   *Range              `json:"initrd,omitempty"` // where they lie together
	Memory   uint64              `json:"memory_bytes"`
	Map      []Range             `json:"memory_map"`
	CPUs     int                 `json:"cpus"`
	Devices  []DescribedFunction `json:"devices"`
	Engine   string              `json:"engine"`
	Why      string              `json:"why"`
	UserInts string              `json:"way"` // how user interrupts go
}

// Range is a range of guest-physical memory, with its last byte.
type Range struct {
	First string `json:"first"`
	Last  string `json:"last"`
	What  string `json:"what,omitempty"`
}

// DescribedFunction is a PCI function.
type DescribedFunction struct {
	Address string `json:"address"` // bb:dd.f
	ID      string `json:"id"`      // vendor:device
	Class   string `json:"class"`
	Name    string `json:"name"`
}

// Describe tells what New has built.
func (m *Machine) Describe() Description {
	d := Description{
		Image: m.config.Image, Kind: m.kernel.identity.Kind.String(), Kernel: m.kernel.source.Name, Version: m.kernel.identity.Version,
		Boot: m.entry.Way.String(), Entry: fmt.Sprintf("%#x", m.entry.Address()), Loaded: describe(m.entry.Range(), ""),
		KASLR: m.describeKASLR(), Command: m.config.Command, Memory: m.config.Memory, CPUs: m.config.CPUs,
		Engine: m.config.Accel.String(), Why: m.why, UserInts: m.Way().String(),
	}
	if d.Why == "" {
		d.Why = "asked for"
	}
	for _, s := range m.kernel.initrds {
		d.Initrds = append(d.Initrds, s.Name)
	}
	if m.initrd.Size != 0 {
		r := describe(m.initrd, "")
		d.Initrd = &r
	}
	for _, r := range m.memoryMap() {
		what := "RAM"
		if r.Type != boot.RAM {
			what = "reserved"
		}
		d.Map = append(d.Map, describe(r, what))
	}
	for _, rid := range m.bus.RequesterIDs() {
		c := m.bus.Function(rid).Config()
		d.Devices = append(d.Devices, DescribedFunction{
			Address: rid.String(), ID: fmt.Sprintf("%04x:%04x", c.VendorID(), c.DeviceID()), Class: fmt.Sprintf("%06x", c.Class()), Name: m.nameOf(rid),
		})
	}
	return d
}

func describe(r boot.Region, what string) Range {
	return Range{First: fmt.Sprintf("%#x", r.Base), Last: fmt.Sprintf("%#x", r.Base+r.Size-1), What: what}
}

// describeKASLR says who has randomised a Linux kernel.
func (m *Machine) describeKASLR() string {
	switch e := m.entry; {
	case e.Randomised:
		return fmt.Sprintf("linear addresses %#x higher, physical ones %#x", e.KASLR, e.Moved)
	case e.Way == boot.WayBzImage:
		return "left to the kernel's own code"
	}
	return ""
}

func (m *Machine) nameOf(rid pci.RequesterID) string {
	switch {
	case rid == pci.HostBridge:
		return "host bridge"
	case m.edu != nil && rid == eduRID:
		return "edu"
	}
	for _, d := range m.devices {
		if d.requester == rid {
			return d.name
		}
	}
	return ""
}
