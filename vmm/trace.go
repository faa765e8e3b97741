package vmm

import (
	"fmt"

	"gvmm/vcpu/hw"
	"gvmm/vcpu/trace"
	"gvmm/vmm/pci"
)

// softOnly are the kinds of events that only the software CPU sees.
const softOnly = trace.Instructions | trace.Interrupts

// needsSoft reports that the trace asks for what KVM does not tell.
func (c *Config) needsSoft() bool { return c.Trace != nil && c.Trace.Kinds()&softOnly != 0 }

// traceKVM has processors over KVM tell what that engine sees.
func (m *Machine) traceKVM(c *hw.CPUConfig) error {
	t := m.config.Trace
	if t == nil {
		return nil
	}
	if m.config.needsSoft() {
		return fmt.Errorf("%w: a trace of %v needs the software CPU (--accel soft): KVM runs instructions and delivers interrupts without telling; exit, uintr and iommu can be traced",
			ErrConfig, t.Kinds()&softOnly)
	}
	if t.Kinds()&trace.Exits != 0 {
		c.Exit = t.Exit
	}
	if t.Kinds()&trace.User != 0 {
		c.User = t.User
	}
	return nil
}

// tracedSender tells about the messages that go through it.
type tracedSender struct {
	pci.MSISender
	log *trace.Log
}

// SendMSI implements pci.MSISender.
func (s tracedSender) SendMSI(msg pci.Message) error {
	s.log.Message(uint8(msg.Data))
	return s.MSISender.SendMSI(msg)
}

// remapped is where the remapping unit sends to.
func (m *Machine) remapped() pci.MSISender {
	if t := m.config.Trace; t != nil && t.Kinds()&trace.User != 0 {
		return tracedSender{m.engine.sender(), t}
	}
	return m.engine.sender()
}

// wantsSoft says why the choice of engine that the configuration leaves open has to
// fall on the software CPU; empty if it does not.
func (c *Config) wantsSoft() string {
	switch {
	case c.needsSoft():
		return "only the software CPU can be traced this closely"
	case c.GDB != nil:
		if err := hw.ProbeDebug(c.kvmPath()); err != nil {
			return err.Error()
		}
	}
	return ""
}
