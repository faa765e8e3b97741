package vmm

import (
	"fmt"

	"gvmm/iommu"
	"gvmm/iommu/spec"
	"gvmm/vcpu"
	"gvmm/vcpu/trace"
	"gvmm/virtio"
	"gvmm/virtio/virtiopci"
	"gvmm/vmm/edu"
	"gvmm/vmm/pci"
)

// addIOMMU makes the remapping unit. Interrupts always go through it; DMA does if the configuration has devices behind it.
func (m *Machine) addIOMMU() error {
	c := iommu.Config{
		Memory: m.memory, Deliver: m.remapped(), Posted: m.config.Posted, UserPosted: m.Way() != vcpu.WayNone,
		DMA: m.config.IOMMU, X2APIC: m.config.IOMMU,
	}
	if t := m.config.Trace; t != nil && t.Kinds()&trace.IOMMU != 0 {
		c.Trace = t.Unit
	}
	if d, ok := m.engine.dma().(*codeDMA); ok {
		c.Written = d.machine.Written
	}
	m.iommu = iommu.New(c)
	m.ioapic.sender = m.iommu.Sender(ioapicRID)
	return m.space.Map(iommuBase, iommuBytes, m.iommu)
}

// IOMMUCapabilities are CAP and ECAP of the remapping unit of a machine with Config.IOMMU and Config.Posted.
func IOMMUCapabilities() (cap, ecap uint64) {
	return iommu.Config{DMA: true, X2APIC: true, Posted: true}.Capabilities()
}

// ioapicRID is the IOAPIC's requester id, on a bus of no device's: Linux refuses 0 (`iommu.md §1.8`).
const ioapicRID = pci.RequesterID(0xFF00)

// ioapicSender takes the IOAPIC's messages through the unit, which is made after it.
type ioapicSender struct{ sender pci.MSISender }

// SendMSI implements pci.MSISender.
func (s *ioapicSender) SendMSI(m pci.Message) error {
	if s.sender == nil {
		return iommu.ErrRefused // nothing is raised before the machine is built
	}
	return s.sender.SendMSI(m)
}

// translated is a device's memory behind the unit, for package virtio.
type translated struct{ *iommu.DMAView }

var _ virtio.Revocable = translated{}

// Client implements virtio.Revocable.
func (t translated) Client(requests int) virtio.Client { return t.DMAView.Client(requests) }

// deviceDMA is memory as a device sees it, and whether its driver must know that addresses may be translated.
func (m *Machine) deviceDMA(rid pci.RequesterID) (virtio.DMA, virtiopci.Platform) {
	if !m.config.IOMMU {
		return m.engine.dma(), virtiopci.PlatformOff
	}
	return translated{m.iommu.View(rid, m.engine.dma())}, virtiopci.PlatformRequired
}

// Where the edu device is: behind the disks, on an ISA interrupt that nothing else has.
const (
	eduSlot = 30
	eduBAR  = barBase + 0x0800_0000
	eduIRQ  = 11
	eduRID  = pci.RequesterID(eduSlot << 3)
)

// addEdu puts the edu device on the bus.
func (m *Machine) addEdu() error {
	o := edu.Options{DMA: m.engine.dma(), MSI: m.iommu.Sender(eduRID), Pin: m.engine.line(eduIRQ), Route: eduIRQ}
	if m.config.IOMMU {
		o.DMA, o.Mask = m.iommu.View(eduRID, m.engine.dma()).Client(1), ^uint64(0)
	}
	var err error
	if m.edu, err = edu.New(o); err != nil {
		return err
	}
	if err := m.bus.Add(eduRID, m.edu.Function()); err != nil {
		return err
	}
	return m.edu.Function().SetBAR(0, eduBAR)
}

// requesterName is what has a requester id, empty if nothing of ours.
func (m *Machine) requesterName(rid pci.RequesterID) string {
	switch {
	case rid == ioapicRID:
		return "ioapic"
	case m.edu != nil && rid == pci.NewRequesterID(0, eduSlot, 0):
		return "edu"
	}
	if d := m.deviceLocked(rid); d != nil {
		return d.name
	}
	return ""
}

// refused counts what the unit refused, by requester and reason.
func (m *Machine) refused() (list []Refused) {
	for _, s := range m.iommu.Stats() {
		for _, reason := range spec.Reasons {
			if n := s.Faults[reason]; n > 0 {
				list = append(list, Refused{
					Requester: s.Requester.String(), Device: m.requesterName(s.Requester), Domain: s.Domain, Reason: reason.String(), Count: n,
				})
			}
		}
	}
	return list
}

// faults are the last requests that the unit refused.
func (m *Machine) faults() (list []Fault) {
	for _, f := range m.iommu.Faults() {
		r := Fault{Requester: f.Requester.String(), Index: f.Index, Reason: f.Reason.String()}
		if f.Reason.DMA() {
			r.Address = fmt.Sprintf("%#x", f.Address)
			r.Write = f.Write
		}
		list = append(list, r)
	}
	return list
}
