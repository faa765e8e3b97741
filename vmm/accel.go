package vmm

import (
	"os"

	"gvmm/kvm"
	"gvmm/vcpu"
	"gvmm/vmm/boot"
)

// chooseAccel settles AccelAuto: KVM where it runs a guest's kernel natively, or
// where the image says that an interpreted one suits it. Images that were not made
// for this VMM get the software CPU, beside which there is a whole PC. why is one line for the
// user.
func chooseAccel(c *Config, entry boot.Entry) (accel vcpu.Accel, why string) {
	switch {
	case c.Accel != vcpu.AccelAuto:
		return c.Accel, ""
	case c.ICount > 0:
		return vcpu.AccelSoft, "only the software CPU counts instructions"
	case c.Way == vcpu.WayNative:
		return vcpu.AccelSoft, "only the software CPU has user interrupts itself"
	case c.Way != vcpu.WayNone, c.Kick:
		return vcpu.AccelKVM, "this way of user interrupts is KVM's"
	case entry.Note&boot.NotePresent == 0:
		return vcpu.AccelSoft, "the image may want a PC's IOAPIC and timers, which machines over KVM do not have yet"
	}
	system, err := kvm.Open(c.kvmPath())
	if err != nil {
		return vcpu.AccelSoft, err.Error()
	}
	_ = system.Close()
	if why := c.wantsSoft(); why != "" {
		return vcpu.AccelSoft, why
	}
	switch host := kvm.DescribeHost(os.DirFS("/")); {
	case host.Kind != kvm.HostPVM:
		return vcpu.AccelKVM, host.String()
	case entry.Note&boot.NoteLight != 0:
		return vcpu.AccelKVM, "this KVM (kvm_pvm) interprets kernels, but the image says that it needs little of its own"
	}
	return vcpu.AccelSoft, "this KVM (kvm_pvm) interprets kernels"
}

// openEngine opens the engine that the configuration asks for or that suits. Where
// the choice is free and KVM cannot, the software CPU does.
func (m *Machine) openEngine(entry boot.Entry) error {
	accel, why := chooseAccel(&m.config, entry)
	free := m.config.Accel == vcpu.AccelAuto && m.config.Way == vcpu.WayNone && !m.config.Kick
	var err error
	if accel == vcpu.AccelKVM {
		m.engine, err = openKVM(m)
		if err != nil && free {
			accel, why = vcpu.AccelSoft, err.Error()
		} else if err != nil {
			m.engine = nil
			return err
		}
	}
	if accel == vcpu.AccelSoft {
		if m.engine, err = openSoft(m); err != nil {
			m.engine = nil
			return err
		}
	}
	m.config.Accel = accel
	if why != "" {
		m.why = why // a machine that begins anew has no choice any more
	}
	if m.config.Chosen != nil && why != "" {
		m.config.Chosen(accel, why)
	}
	return nil
}
