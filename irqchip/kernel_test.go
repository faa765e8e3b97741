package irqchip

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gvmm/kvm"
	"gvmm/vcpu/hw"
	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
)

const testBase = 0xfeb00000

// newKernel makes the doorbells of a machine with two processors that do not run.
func newKernel(t *testing.T) *Kernel {
	t.Helper()
	mem := memory.New()
	require.NoError(t, mem.AddRAM(0, 1<<20))
	t.Cleanup(func() { require.NoError(t, mem.Close()) })
	m, err := hw.Open(kvm.DefaultPath, mem)
	if errors.Is(err, kvm.ErrNoKVM) {
		t.Skipf("needs KVM: %v", err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	for id := range uint32(2) {
		c, err := m.NewCPU(hw.CPUConfig{ID: id, CPUs: 2})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
	}
	k, err := NewKernel(m.VM, testBase, 2)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, k.Close()) })
	return k
}

func TestADoorbellIsArmedAgainAndDisarmed(t *testing.T) {
	k := newKernel(t)
	for _, vector := range []uint8{0xec, 0xec, 0x40, 0, 0, 0xec} {
		for cpu := range uint32(2) {
			require.NoError(t, k.Arm(cpu, vector))
			require.Equal(t, vector, k.doorbells[cpu].vector)
			// The place is taken while it is armed, and only then.
			taken := k.vm.AssignIOEventFD(k.ioeventfd(cpu))
			if vector != 0 {
				require.ErrorIs(t, taken, unix.EEXIST)
			} else {
				require.NoError(t, taken)
				require.NoError(t, k.vm.DeassignIOEventFD(k.ioeventfd(cpu)))
			}
		}
	}
	require.NoError(t, k.Arm(77, 0xec), "a processor that is not there has no doorbell")
}

func TestAMessageToAnAbsentProcessorIsRefused(t *testing.T) {
	k := newKernel(t)
	require.ErrorIs(t, k.SendMSI(pci.Message{Address: Address(55), Data: 0x40}), ErrRefused)
	require.Zero(t, k.Sent())
}

func TestStoresThatNameNoDoorbellSendNothing(t *testing.T) {
	k := newKernel(t)
	require.EqualValues(t, 2*DoorbellSize, k.Size())
	for _, c := range []struct {
		off   uint64
		value uint32
	}{{4, 0x40}, {0, 15}, {0, 0}, {55 * DoorbellSize, 0x40}} {
		k.WriteMMIO(c.off, binary.LittleEndian.AppendUint32(nil, c.value))
	}
	k.WriteMMIO(0, nil)
	require.Zero(t, k.Sent())
	p := []byte{1, 2, 3, 4}
	k.ReadMMIO(0, p)
	require.Equal(t, make([]byte, 4), p)
}

func TestAddressesHold32BitIDs(t *testing.T) {
	require.EqualValues(t, 0xfee03000, Address(3))
	require.EqualValues(t, 0x0001_0200_fee03000, Address(0x010203))
}
