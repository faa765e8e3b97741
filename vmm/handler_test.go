package vmm

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
	"gvmm/vmm/serial"
)

// noEngine has no processors.
type noEngine struct{ engine }

func (noEngine) line(int) func(bool)      { return func(bool) {} }
func (noEngine) addPlatform(*ports) error { return nil }
func (noEngine) dma() deviceMemory        { return nil }

// deviceless is a machine without processors.
func deviceless(t *testing.T, out *bytes.Buffer) *Machine {
	s := newSpace(func(addr uint64) bool { return addr < MiB })
	m := &Machine{board: board{space: s, bus: pci.NewBus(s), engine: noEngine{}, ours: true}, config: Config{Serial: out, CPUs: 1}}
	require.NoError(t, m.addPorts())
	return m
}

func TestPortsReachTheirDevices(t *testing.T) {
	var out bytes.Buffer
	m := deviceless(t, &out)
	m.PortWrite(portCOM1, []byte{'x'})
	require.Equal(t, "x", out.String())
	p := []byte{0}
	m.PortRead(portCOM1+5, p)
	require.EqualValues(t, 0x60, p[0])
	for _, port := range []uint16{0, portCOM1 - 1, portCOM1 + serial.Ports, pci.PortAddress - 1, pci.PortData + 4, 0xffff} {
		p := make([]byte, 4)
		m.PortRead(port, p)
		require.Equal(t, []byte{0xff, 0xff, 0xff, 0xff}, p, "port %#x", port)
		m.PortWrite(port, p)
	}
	require.EqualValues(t, 12, m.ports.absent.Load())
	counts := make(map[string]uint64)
	m.ports.counts(counts)
	require.EqualValues(t, 2, counts["com1"])
	require.False(t, m.ended)
}

func TestTheFirstWriteToTheExitPortEndsTheMachine(t *testing.T) {
	m := deviceless(t, new(bytes.Buffer))
	m.PortWrite(portExit, []byte{7, 0, 0, 0})
	m.PortWrite(portExit, []byte{9})
	require.Equal(t, 7, m.status)
	require.True(t, m.stop.Load())
	require.NoError(t, m.failed)
}

func TestTheExitPortGivesOthersImagesAnOddStatus(t *testing.T) {
	m := deviceless(t, new(bytes.Buffer))
	m.ours = false
	m.PortWrite(portExit, []byte{3, 0, 0, 0})
	require.Equal(t, 7, m.status)
}

func TestPortsOfTwoDevicesDoNotOverlap(t *testing.T) {
	m := deviceless(t, new(bytes.Buffer))
	require.ErrorContains(t, m.ports.add("second", portCOM1+7, 2, exitPort{m}), "com1")
}

func TestAResetBeginsAnewUnlessItIsToEndTheMachine(t *testing.T) {
	m := deviceless(t, new(bytes.Buffer))
	m.PortWrite(portReset, []byte{6})
	require.True(t, m.restarts())
	require.True(t, m.stop.Load())
	require.NoError(t, m.failed)

	m = deviceless(t, new(bytes.Buffer))
	m.config.NoReset = true
	m.PortWrite(portReset, []byte{6})
	require.ErrorIs(t, m.failed, ErrReset)
	require.False(t, m.restarts())
}

func TestAWarmResetIsAPanicOnlyWhereTheCommandLineSaysSo(t *testing.T) {
	for command, panics := range map[string]bool{"a " + panicWarm + " b": true, "reboot=warm": false, "": false} {
		m := deviceless(t, new(bytes.Buffer))
		m.config.Command = command
		m.memory = memory.New()
		require.NoError(t, m.memory.AddRAM(0, MiB))
		t.Cleanup(func() { m.memory.Close() })
		m.reset()
		require.True(t, m.restarts(), "nothing says warm")
		m.again = false
		require.NoError(t, m.memory.WriteAt([]byte{0x34, 0x12}, warmFlag))
		m.reset()
		require.Equal(t, panics, errors.Is(m.failed, ErrPanic), command)
	}
}

func TestMemoryWhereNothingIsReadsAsOnes(t *testing.T) {
	m := deviceless(t, new(bytes.Buffer))
	for _, addr := range []uint64{MiB, iommuBase, ^uint64(0)} {
		p := make([]byte, 8)
		m.MemoryRead(addr, p)
		require.Equal(t, bytes.Repeat([]byte{0xff}, 8), p)
		m.MemoryWrite(addr, p)
	}
}

func TestUnknownMSRsAreRefused(t *testing.T) {
	m := deviceless(t, new(bytes.Buffer))
	_, ok := m.ReadMSR(0, msrLatency)
	require.False(t, ok)
	require.False(t, m.WriteMSR(0, 0x47564dff, 0))
}
