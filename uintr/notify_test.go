package uintr_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/uintr"
	"gvmm/uintr/spec"
)

// A local APIC's timer, an MSI and an IPI are the same here: a vector that was acknowledged.
func TestVectorIsIdentifiedWhateverItsSource(t *testing.T) {
	c := newCPU(t)
	for vector := range 256 {
		require.Equal(t, vector == ownNV, c.Identify(c, uint8(vector)))
	}
}

func TestIdentificationNeedsCR4AndLongModeOnly(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*uintr.Mode)
		want   bool
	}{
		{"CPL 0", func(m *uintr.Mode) { m.CPL = 0 }, true},
		{"compatibility mode", func(m *uintr.Mode) { m.Code64 = false }, true},
		{"CR4.UINTR clear", func(m *uintr.Mode) { m.UINTR = false }, false},
		{"legacy mode", func(m *uintr.Mode) { m.LongMode = false }, false},
	} {
		c := newCPU(t)
		row.change(&c.mode)
		require.Equal(t, row.want, c.Identify(c, ownNV), row.name)
	}
}

func TestUINVZeroIdentifiesNothing(t *testing.T) {
	c := newCPU(t)
	c.UINV = 0
	require.False(t, c.Identify(c, 0))
	require.False(t, c.Identify(c, ownNV))
}

func TestCompatibilityModeReceiverIsIdentifiedNotDelivered(t *testing.T) {
	c := newCPU(t)
	c.mode.Code64 = false
	c.upid(t, 0).Init(spec.NewControl(ownNV, 0)|spec.UPIDON, 1<<4)
	require.True(t, c.Identify(c, ownNV))
	require.NoError(t, c.ProcessNotification(&c.mem, c))
	delivered, err := c.Deliver(&c.mem, c)
	require.NoError(t, err)
	require.False(t, delivered)
	c.mode.Code64 = true
	delivered, err = c.Deliver(&c.mem, c)
	require.NoError(t, err)
	require.True(t, delivered)
}

func TestNotificationDoesNotWakeAHaltedCPU(t *testing.T) {
	c := newCPU(t)
	c.mode.CPL = 0 // where HLT executes
	c.upid(t, 0).Init(spec.NewControl(ownNV, 0)|spec.UPIDON, 1)
	require.True(t, c.Identify(c, ownNV))
	require.NoError(t, c.ProcessNotification(&c.mem, c))
	require.True(t, c.Pending())
	require.False(t, c.Deliverable(c))
}

func TestNotificationPendingAfterXSAVESGoesToTheIDT(t *testing.T) {
	c := newCPU(t)
	n, sent, err := c.SENDUIPI(&c.mem, c, 1)
	require.NoError(t, err)
	require.True(t, sent)
	c.Saved()
	require.False(t, c.Identify(c, n.Vector))
}

func TestReceiverMovesWhileANotificationIsOutstanding(t *testing.T) {
	sender := newCPU(t)
	u := sender.upid(t, 1)
	n, sent, err := sender.SENDUIPI(&sender.mem, sender, 0)
	require.NoError(t, err)
	require.True(t, sent)
	require.Equal(t, uint32(1), n.NDST)

	// The kernel moves the receiver to CPU 2: the notification reaches CPU 1 in vain.
	u.ScheduleOut()
	require.True(t, u.ScheduleIn(otherNV, 2), "the new CPU must be notified")
	_, sent, err = sender.SENDUIPI(&sender.mem, sender, 2)
	require.NoError(t, err)
	require.False(t, sent, "ON is still set")

	receiver := newCPU(t)
	receiver.mem, receiver.UPIDAddr, receiver.UINV = sender.mem, upidLA+64, otherNV
	require.True(t, receiver.Identify(receiver, otherNV))
	require.NoError(t, receiver.ProcessNotification(&receiver.mem, receiver))
	require.Equal(t, uint64(1<<63|1<<5), receiver.UIRR)

	n, sent, err = sender.SENDUIPI(&sender.mem, sender, 0)
	require.NoError(t, err)
	require.True(t, sent)
	require.Equal(t, uint32(2), n.NDST)
}

func TestChangedNDSTIsUsedByTheNextNotificationOnly(t *testing.T) {
	c := newCPU(t)
	u := c.upid(t, 1)
	_, sent, err := c.SENDUIPI(&c.mem, c, 0)
	require.NoError(t, err)
	require.True(t, sent)
	u.SetNDST(7)
	_, sent, err = c.SENDUIPI(&c.mem, c, 0)
	require.NoError(t, err)
	require.False(t, sent)
	require.Equal(t, uint64(1<<5), u.Drain())
	n, sent, err := c.SENDUIPI(&c.mem, c, 0)
	require.NoError(t, err)
	require.True(t, sent)
	require.Equal(t, uint32(7), n.NDST)
}

// A timer whose vector is UINV: PIR is posted beforehand with SN set, and each tick becomes a user interrupt.
func TestTimerTickBecomesAUserInterrupt(t *testing.T) {
	c := newCPU(t)
	u := c.upid(t, 0)
	u.SetSN(true)
	for tick := range 3 {
		_, sent, err := c.SENDUIPI(&c.mem, c, 1)
		require.NoError(t, err)
		require.False(t, sent)
		require.True(t, c.Identify(c, ownNV))
		require.NoError(t, c.ProcessNotification(&c.mem, c))
		delivered, err := c.Deliver(&c.mem, c)
		require.NoError(t, err)
		require.True(t, delivered, "tick %d", tick)
		c.context.RSP += 8
		require.NoError(t, c.UIRET(&c.mem, c))
	}
}

func TestFaultedNotificationKeepsDescriptorAndRequests(t *testing.T) {
	c := newCPU(t)
	c.UPIDAddr = unmapped
	c.UIRR = 1
	err := c.ProcessNotification(&c.mem, c)
	requireFault(t, err, uintr.VectorPF, uintr.PFWrite)
	require.Equal(t, uint64(1), c.UIRR)
}
