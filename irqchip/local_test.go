package irqchip

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPriorityOfTaskAndServiceDecidesWhatIsDeliverable(t *testing.T) {
	for _, c := range []struct {
		name      string
		tpr       uint8
		inService uint8 // 0: none
		posted    uint8
		ppr       uint8
		delivered bool
	}{
		{"nothing in the way", 0, 0, 0x10, 0, true},
		{"the same class as the task", 0x50, 0, 0x5F, 0x50, false},
		{"the class above the task", 0x5F, 0, 0x60, 0x5F, true},
		{"a task of the highest class", 0xF0, 0, 0xFF, 0xF0, false},
		{"the low bits of TPR do not count", 0x4F, 0, 0x50, 0x4F, true},
		{"the same class as in service", 0, 0x41, 0x4F, 0x40, false},
		{"a higher class than in service", 0, 0x4F, 0x50, 0x40, true},
		{"the task above what is in service", 0x53, 0x41, 0x52, 0x53, false},
		{"the task in the class of what is in service", 0x43, 0x41, 0x52, 0x43, true},
		{"the task below what is in service", 0x33, 0x41, 0x40, 0x40, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newListeningRig(t, 1)
			l := r.Local(0)
			if c.inService != 0 {
				require.NoError(t, r.msi(0, c.inService))
				_, ok := l.Acknowledge()
				require.True(t, ok)
			}
			r.write(l, regTPR, uint32(c.tpr))
			require.EqualValues(t, c.ppr, r.read(l, regPPR))
			r.take()

			require.NoError(t, r.msi(0, c.posted))

			require.Equal(t, c.delivered, l.Pending())
			require.Equal(t, c.delivered, len(r.take()) == 1, "signals")
			v, ok := l.Acknowledge()
			require.Equal(t, c.delivered, ok)
			if ok {
				require.Equal(t, c.posted, v)
			} else {
				require.NotZero(t, r.read(l, regIRR+reg(c.posted>>5))>>(c.posted&31)&1, "it waits in IRR")
			}
		})
	}
}

func TestLoweringTPRMakesWhatWaitedDeliverable(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	l.SetTPR(0xFF)
	require.EqualValues(t, 0xFF, l.TPR())
	require.NoError(t, r.msi(0, 0xF3))
	require.False(t, l.Pending())
	l.SetTPR(0xE0)
	require.True(t, l.Pending())
	l.SetTPR(0xF0)
	require.False(t, l.Pending())
	l.SetTPR(0)
	require.Equal(t, []uint8{0xF3}, r.drain(l))
}

func TestServiceNestsAndEOIEndsTheHighest(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	for _, v := range []uint8{0x31, 0x52, 0x94} {
		require.NoError(t, r.msi(0, v))
		got, ok := l.Acknowledge()
		require.True(t, ok)
		require.Equal(t, v, got)
	}
	for _, ppr := range []uint32{0x90, 0x50, 0x30, 0} {
		require.Equal(t, ppr, r.read(l, regPPR))
		l.EOI()
	}
	l.EOI() // with nothing in service
	require.Zero(t, r.read(l, regPPR))
}

func TestOneOfAVectorWaitsWhileOneIsServed(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	for range 3 {
		require.NoError(t, r.msi(0, 0x61))
	}
	_, ok := l.Acknowledge()
	require.True(t, ok)
	for range 3 {
		require.NoError(t, r.msi(0, 0x61))
	}
	require.False(t, l.Pending())
	l.EOI()
	require.Equal(t, []uint8{0x61}, r.drain(l))
}

func TestAnAPICThatSoftwareDisabledTakesNoVectors(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	require.NoError(t, r.msi(0, 0x40))
	r.write(l, regLVTTimer, 0x55)
	r.write(l, regLVTLINT1, uint32(deliverNMI)<<8)
	r.write(l, regSVR, 0xFF)

	require.ErrorIs(t, r.msi(0, 0x41), ErrRefused)
	require.Equal(t, []uint8{0x40}, r.drain(l), "what it had is held")
	require.EqualValues(t, 0x55|lvtMasked, r.read(l, regLVTTimer))
	r.write(l, regLVTTimer, 0x56)
	require.EqualValues(t, 0x56|lvtMasked, r.read(l, regLVTTimer), "and cannot be unmasked")
	r.take()
	require.NoError(t, r.SendMSI(msiOf(0, deliverNMI, 0)), "NMI, INIT and SIPI are taken all the same")
	require.Equal(t, []told{{0, SignalNMI, 0}}, r.take())
	r.NMI()
	require.Empty(t, r.take(), "LINT1 is masked")

	r.write(l, regSVR, 0x1FF)
	require.EqualValues(t, 0x56|lvtMasked, r.read(l, regLVTTimer))
	require.NoError(t, r.msi(0, 0x41))
	require.Equal(t, []uint8{0x41}, r.drain(l))
}

func TestAGloballyDisabledAPICIsNotThere(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	require.NoError(t, r.msi(0, 0x40))
	require.True(t, l.WriteMSR(msrAPICBase, baseDefault|baseBSP))

	_, mmio := l.Base()
	require.False(t, mmio)
	require.False(t, l.Pending(), "its state is lost")
	for _, mode := range []delivery{deliverFixed, deliverNMI, deliverINIT} {
		require.ErrorIs(t, r.SendMSI(msiOf(0, mode, 0x41)), ErrRefused)
	}
	r.take()
	r.NMI()
	require.Equal(t, []told{{0, SignalNMI, 0}}, r.take(), "LINT1 is the processor's NMI")

	require.True(t, l.WriteMSR(msrAPICBase, baseDefault|baseBSP|baseEN))
	require.EqualValues(t, svrReset, r.read(l, regSVR))
	require.False(t, l.Pending())
}

func TestResetKeepsWhatINITKeeps(t *testing.T) {
	for _, x2 := range []bool{false, true} {
		r := newListeningRig(t, 40)
		l := r.Local(37)
		if x2 {
			r.x2apic(l)
		} else {
			r.write(l, regLDR, 0x12000000)
			r.write(l, regDFR, 0)
		}
		require.True(t, l.WriteMSR(msrAPICBase, l.base.Load()&^0xFFFFF000|0xFED00000))
		for g, v := range map[reg]uint32{regTPR: 0x20, regLVTLINT1: 0x400, regDivide: 0xB, regInitial: 1000} {
			r.write(l, g, v)
		}
		require.NoError(t, r.msi(37, 0x80))
		_, _ = l.Acknowledge()
		require.NoError(t, r.msi(37, 0x90))

		l.Reset()

		require.False(t, l.Pending())
		require.EqualValues(t, never, l.Deadline())
		for g, v := range map[reg]uint32{
			regTPR: 0, regPPR: 0, regSVR: 0xFF, regESR: 0, regICR: 0, regLVTTimer: lvtMasked, regLVTLINT1: lvtMasked,
			regInitial: 0, regCurrent: 0, regDivide: 0, regISR + 4: 0, regIRR + 4: 0, regVersion: 0x01050014,
		} {
			require.Equal(t, v, r.read(l, g), "register %x", g)
		}
		require.Equal(t, x2, l.X2APIC())
		addr, mmio := l.Base()
		require.EqualValues(t, 0xFED00000, addr)
		require.Equal(t, !x2, mmio)
		if x2 {
			require.EqualValues(t, 37, r.read(l, regID))
			require.EqualValues(t, 2<<16|1<<5, r.read(l, regLDR))
		} else {
			require.EqualValues(t, 37<<24, r.read(l, regID))
			require.Zero(t, r.read(l, regLDR))
			require.EqualValues(t, 0xFFFFFFFF, r.read(l, regDFR))
		}
	}
}

func TestTheMachinesResetRestoresPowerOn(t *testing.T) {
	r := newListeningRig(t, 2)
	r.x2apic(r.Local(1))
	r.setEntry(5, 0x50)
	r.Reset()
	for i, want := range []uint64{baseDefault | baseEN | baseBSP, baseDefault | baseEN} {
		v, ok := r.Local(i).ReadMSR(msrAPICBase)
		require.True(t, ok)
		require.Equal(t, want, v)
	}
	require.Equal(t, rteMasked, r.entry(5))
	require.EqualValues(t, 0xFF, r.in(portMasterData))
}

func TestErrorsAreLatchedByAWriteAndInterruptOnce(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	r.write(l, regLVTError, 0xFE)

	require.ErrorIs(t, r.msi(0, 0x0F), ErrRefused)
	require.Zero(t, r.read(l, regESR), "not before a write")
	require.Equal(t, []uint8{0xFE}, r.drain(l))
	r.read(l, 0x3C) // reserved
	r.write(l, regICR, 0x0F)
	require.Empty(t, r.drain(l), "one interrupt until ESR is written")

	r.write(l, regESR, 0)
	require.EqualValues(t, esrReceiveIllegal|esrSendIllegal|esrRegister, r.read(l, regESR))
	r.write(l, regESR, 0)
	require.Zero(t, r.read(l, regESR))
	r.write(l, 0x3F, 0x40) // SELF IPI is x2APIC's
	require.Equal(t, []uint8{0xFE}, r.drain(l), "armed again")
	r.write(l, regESR, 0)
	require.EqualValues(t, esrRegister, r.read(l, regESR))
}

func TestAnErrorInTheErrorInterruptIsRecordedOnly(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	r.write(l, regLVTError, 0x03)
	r.write(l, regICR, 0x05)
	require.Empty(t, r.drain(l))
	r.write(l, regESR, 0)
	require.EqualValues(t, esrSendIllegal|esrReceiveIllegal, r.read(l, regESR))
}

func TestLVTEntriesDeliverInTheirMode(t *testing.T) {
	for _, c := range []struct {
		name   string
		lint1  uint32
		want   []told
		vector uint8
	}{
		{"fixed", 0x44, []told{{0, SignalInterrupt, 0}}, 0x44},
		{"NMI", uint32(deliverNMI) << 8, []told{{0, SignalNMI, 0}}, 0},
		{"INIT", uint32(deliverINIT) << 8, []told{{0, SignalINIT, 0}}, 0},
		{"SMI", uint32(deliverSMI) << 8, nil, 0},
		{"masked", 0x44 | lvtMasked, nil, 0},
		{"lowest priority is no mode of an entry", 0x144, nil, 0},
		{"nor is start-up", 0x644, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newListeningRig(t, 1)
			r.write(r.Local(0), regLVTLINT1, c.lint1)
			r.take()
			r.NMI()
			require.Equal(t, c.want, r.take())
			v, _ := r.Local(0).Acknowledge()
			require.Equal(t, c.vector, v)
		})
	}
}

func TestTMRFollowsTheLastTriggerMode(t *testing.T) {
	r := newListeningRig(t, 1)
	l := r.Local(0)
	level := msiOf(0, deliverFixed, 0x71)
	level.Data |= msgLevel | msgAssert
	require.NoError(t, r.SendMSI(level))
	require.EqualValues(t, 1<<0x11, r.read(l, regTMR+3))
	require.NoError(t, r.msi(0, 0x71))
	require.Zero(t, r.read(l, regTMR+3))
	require.Equal(t, []uint8{0x71}, r.drain(l))

	level.Data &^= msgAssert
	require.NoError(t, r.SendMSI(level), "the end of a level is no interrupt")
	require.False(t, l.Pending())
}
