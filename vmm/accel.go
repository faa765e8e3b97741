package vmm

import (
	"fmt"
	"os"

	"gvmm/kvm"
	"gvmm/vcpu"
	"gvmm/vmm/boot"
)

// chooseAccel settles AccelAuto: KVM where it runs a guest's kernel natively, or
// where the image says that an interpreted one suits it. why is one line for the
// user.
func chooseAccel(c *Config, entry boot.Entry) (accel vcpu.Accel, why string) {
	if c.Accel != vcpu.AccelAuto {
		return c.Accel, "as asked for"
	}
	system, err := kvm.Open(c.kvmPath())
	if err != nil {
		return vcpu.AccelSoft, fmt.Sprintf("no KVM: %v", err)
	}
	_ = system.Close()
	switch host := kvm.DescribeHost(os.DirFS("/")); {
	case host.Kind != kvm.HostPVM:
		return vcpu.AccelKVM, host.String()
	case entry.Note&boot.NoteLight != 0:
		return vcpu.AccelKVM, "this KVM interprets kernels, and the image says that it needs little of its kernel"
	}
	return vcpu.AccelSoft, "this KVM (kvm_pvm) interprets kernels"
}

// openEngine opens the engine that the configuration asks for or that suits.
func (m *Machine) openEngine(entry boot.Entry) (engine, error) {
	m.config.Accel, m.accelWhy = chooseAccel(&m.config, entry)
	if m.config.Accel == vcpu.AccelSoft {
		return openSoft(m)
	}
	return openKVM(m)
}

// Accel is the engine that runs the machine, and why, in one line.
func (m *Machine) Accel() (accel vcpu.Accel, why string) { return m.config.Accel, m.accelWhy }
