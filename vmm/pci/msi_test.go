package pci_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vmm/pci"
)

// messages collects what a function sends.
type messages struct {
	got []pci.Message
	err error
}

func (m *messages) SendMSI(msg pci.Message) error { m.got = append(m.got, msg); return m.err }

// interrupting is a function with a pin and MSI, on a bus.
type interrupting struct {
	bus    *pci.Bus
	f      *pci.Function
	msi    *pci.MSI
	sent   *messages
	levels []bool
}

func newInterrupting(t *testing.T) *interrupting {
	i := &interrupting{f: pci.NewFunction(pci.IDs{Vendor: 1, Device: 2}), sent: new(messages)}
	i.msi = pci.NewMSI(i.sent)
	require.NoError(t, i.f.AddMSI(i.msi))
	require.ErrorIs(t, i.f.AddMSI(i.msi), pci.ErrCapability)
	require.NoError(t, i.f.AddPin(10, func(high bool) { i.levels = append(i.levels, high) }))
	i.bus = pci.NewBus(newSpace(t))
	require.NoError(t, i.bus.Add(where, i.f))
	require.ErrorIs(t, i.f.AddPin(10, nil), pci.ErrAttached)
	return i
}

func (i *interrupting) write(off int, n int, v uint64) {
	i.bus.WriteConfig(where, off, binary.LittleEndian.AppendUint64(nil, v)[:n])
}

// capability is where MSI is.
func (i *interrupting) capability() int { return int(i.f.Config().Capabilities()) }

func TestMSICapability(t *testing.T) {
	i := newInterrupting(t)
	at := i.capability()
	i.write(at, 8, ^uint64(0))
	i.write(at+8, 8, ^uint64(0))
	c := i.f.Config()
	require.Equal(t, []byte{
		pci.CapMSI, 0, 0x81, 0, // one vector, 64 bits: enable alone is writable
		0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0,
	}, []byte(c[at:at+16]))
}

func TestMSISendsWhatTheSpaceSays(t *testing.T) {
	i := newInterrupting(t)
	at := i.capability()
	require.False(t, i.msi.Signal(), "not enabled")
	i.write(at+4, 8, 0x12_0000_0000|0xFEE0_3000)
	i.write(at+12, 2, 0x4055)
	i.write(at+2, 2, 1)
	require.True(t, i.msi.Signal())
	require.Empty(t, i.sent.got, "no bus mastering")
	i.write(regCommand, 2, memory|master)
	require.Empty(t, i.sent.got, "what was held back is lost")
	require.True(t, i.msi.Signal())
	want := pci.Message{Address: 0x12_FEE0_3000, Data: 0x4055}
	require.Equal(t, []pci.Message{want}, i.sent.got)
	i.sent.err = errors.New("no")
	require.True(t, i.msi.Signal())
	require.Equal(t, pci.MSIXStats{Sent: 1, Held: 1, Refused: 1}, i.msi.Stats())
	i.f.Reset()
	require.False(t, i.msi.Signal())
}

func TestPinFollowsWhatTheGuestAllows(t *testing.T) {
	i := newInterrupting(t)
	at := i.capability()
	status := func() bool { return i.f.Config().Status()&8 != 0 }
	i.f.SetINTx(true)
	i.f.SetINTx(true)
	require.Equal(t, []bool{true}, i.levels)
	require.True(t, status())
	i.write(regCommand, 2, 1<<10)
	require.Equal(t, []bool{true, false}, i.levels)
	require.True(t, status(), "the status tells nevertheless")
	i.write(regCommand, 2, 0)
	i.write(at+2, 2, 1)
	require.Equal(t, []bool{true, false, true, false}, i.levels, "it uses messages")
	i.write(at+2, 2, 0)
	i.f.SetINTx(false)
	require.Equal(t, []bool{true, false, true, false, true, false}, i.levels)
	require.False(t, status())
	i.f.SetINTx(true)
	i.f.Reset()
	require.False(t, i.levels[len(i.levels)-1])
	require.False(t, status())
}
