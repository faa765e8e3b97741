package kvm

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestOpenSaysWhatIsMissing(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "kvm"))
	require.ErrorIs(t, err, ErrNoKVM)
	require.ErrorIs(t, err, os.ErrNotExist)

	_, err = Open("/dev/null")
	require.ErrorIs(t, err, ErrNoKVM)
	require.ErrorIs(t, err, unix.ENOTTY)
	require.ErrorContains(t, err, "/dev/null")
}

func TestClosedDescriptorsAreNotUsed(t *testing.T) {
	sys := openSystem(t)
	vm, err := sys.CreateVM()
	require.NoError(t, err)
	cpu, err := vm.CreateVCPU(0)
	require.NoError(t, err)
	require.NoError(t, cpu.Close())
	require.NoError(t, vm.Close())
	require.Equal(t, -1, vm.FD())
	require.ErrorIs(t, cpu.Close(), os.ErrClosed)
	require.ErrorIs(t, vm.Close(), os.ErrClosed)

	_, err = vm.CheckExtension(CapIRQChip)
	require.ErrorIs(t, err, unix.EBADF)
	require.Equal(t, unix.EBADF, cpu.Run())
}

func TestCapabilitiesAreAskedByName(t *testing.T) {
	sys := openSystem(t)
	n, err := sys.CheckExtension(CapUserMemory)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = sys.CheckExtension(1 << 20)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestEnableCapNamesTheCapability(t *testing.T) {
	g := newGuest(t, code{}.hlt())
	err := g.vm.EnableCap(CapMaxVCPUs)
	require.ErrorIs(t, err, unix.EINVAL)
	require.ErrorContains(t, err, "KVM_ENABLE_CAP")
	require.ErrorContains(t, err, "KVM_CAP_MAX_VCPUS")

	require.ErrorIs(t, g.cpu.EnableCap(CapMaxVCPUs), unix.EINVAL)
	require.ErrorContains(t, g.vm.EnableCap(CapHaltPoll, 1, 2, 3, 4, 5), "5 arguments")
	needCap(t, g.vm, CapHaltPoll)
	require.NoError(t, g.vm.EnableCap(CapHaltPoll, 0))
}

func TestNamesAreTheHeaders(t *testing.T) {
	require.Equal(t, "KVM_CAP_SPLIT_IRQCHIP", CapSplitIRQChip.String())
	require.Equal(t, "KVM_CAP(9999)", Cap(9999).String())
	require.Equal(t, "KVM_EXIT_MMIO", ExitMMIO.String())
	require.Equal(t, "KVM_EXIT(77)", ExitReason(77).String())
	require.Equal(t, "KVM_MP_STATE_HALTED", MPStateHalted.String())
	require.Equal(t, "KVM_INTERNAL_ERROR_EMULATION", InternalErrorEmulation.String())
	require.Equal(t, "KVM_SYSTEM_EVENT_RESET", SystemEventReset.String())
	require.Equal(t, "KVM_RUN", reqRun.String())
}
