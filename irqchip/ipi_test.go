package irqchip

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vmm/pci"
)

// msiOf is a message to a physical destination.
func msiOf(cpu int, mode delivery, vector uint8) pci.Message {
	return pci.Message{Address: Address(uint32(cpu)), Data: uint32(mode)<<8 | uint32(vector)}
}

func TestMessagesReachWhomTheirDestinationNames(t *testing.T) {
	const xapic, x2apic = false, true
	flat := func(r *rig) {
		for i, l := range r.locals {
			r.write(l, regLDR, 1<<24<<i)
		}
	}
	clusters := func(r *rig) {
		for i, l := range r.locals {
			r.write(l, regDFR, 0x0FFFFFFF)
			r.write(l, regLDR, uint32(i/2)<<28|1<<24<<(i%2))
		}
	}
	none := func(*rig) {}
	for _, c := range []struct {
		name        string
		x2          bool
		cpus        int
		prepare     func(*rig)
		destination uint32
		logical     bool
		want        uint64
	}{
		{"xAPIC physical", xapic, 4, none, 2, false, 1 << 2},
		{"xAPIC physical, nobody", xapic, 4, none, 4, false, 0},
		{"xAPIC physical broadcast", xapic, 4, none, 0xFF, false, 0xF},
		{"xAPIC physical with 32 bits", xapic, 4, none, 0x102, false, 0},
		{"xAPIC flat, one", xapic, 4, flat, 1 << 3, true, 1 << 3},
		{"xAPIC flat, two", xapic, 4, flat, 5, true, 5},
		{"xAPIC flat, nobody", xapic, 4, flat, 0x30, true, 0},
		{"xAPIC flat broadcast", xapic, 4, flat, 0xFF, true, 0xF},
		{"xAPIC flat, past 8 bits", xapic, 4, flat, 0x101, true, 0},
		{"xAPIC flat, no logical ids", xapic, 4, none, 0x0F, true, 0},
		{"xAPIC cluster, one", xapic, 6, clusters, 0x12, true, 1 << 3},
		{"xAPIC cluster, both", xapic, 6, clusters, 0x23, true, 3 << 4},
		{"xAPIC cluster, another cluster", xapic, 6, clusters, 0x33, true, 0},
		{"xAPIC cluster broadcast", xapic, 6, clusters, 0xFF, true, 0x3F},
		{"x2APIC physical", x2apic, 40, none, 33, false, 1 << 33},
		{"x2APIC physical broadcast", x2apic, 40, none, everyone, false, 1<<40 - 1},
		{"x2APIC physical 255 is an id", x2apic, 40, none, 0xFF, false, 0},
		{"x2APIC cluster 0", x2apic, 40, none, 0x8001, true, 0x8001},
		{"x2APIC cluster 2", x2apic, 40, none, 2<<16 | 0x81, true, 0x81 << 32},
		{"x2APIC cluster 2, who is not there", x2apic, 40, none, 2<<16 | 0x100, true, 0},
		{"x2APIC cluster past the last", x2apic, 40, none, 0xFFFF << 16, true, 0},
		{"x2APIC logical broadcast", x2apic, 40, none, everyone, true, 1<<40 - 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newListeningRig(t, c.cpus)
			for _, l := range r.locals {
				if c.x2 {
					r.x2apic(l)
				}
			}
			c.prepare(r)
			m := pci.Message{Address: Address(c.destination), Data: 0x66}
			if c.logical {
				m.Address |= msgLogical
			}
			err := r.SendMSI(m)
			require.Equal(t, c.want == 0, err != nil)
			require.Equal(t, c.want, r.receivers(0x66))

			// The same by an IPI. 32-bit destinations are x2APIC's.
			icr := uint64(c.destination)<<32 | 0x67
			if c.logical {
				icr |= icrLogical
			}
			switch {
			case c.x2:
				require.True(t, r.Local(0).WriteMSR(msrX2APIC+uint32(regICR), icr))
				got, _ := r.Local(0).ReadMSR(msrX2APIC + uint32(regICR))
				require.Equal(t, icr, got)
			case c.destination > 0xFF:
				return
			default:
				r.write(r.Local(0), regICRHigh, c.destination<<24)
				r.write(r.Local(0), regICR, uint32(icr))
				require.EqualValues(t, uint32(icr), r.read(r.Local(0), regICR))
				require.EqualValues(t, c.destination<<24, r.read(r.Local(0), regICRHigh))
			}
			require.Equal(t, c.want, r.receivers(0x67))
		})
	}
}

func TestIdsPast255AreReachedByTheirOwnNumber(t *testing.T) {
	r := newListeningRig(t, 300)
	r.x2apic(r.Local(0))
	require.NoError(t, r.msi(299, 0x40), "still in xAPIC mode: how it is started")
	require.Equal(t, []uint8{0x40}, r.drain(r.Local(299)))
	require.Empty(t, r.drain(r.Local(299-256)))
	r.x2apic(r.Local(255))
	require.NoError(t, r.msi(255, 0x41))
	require.Equal(t, []uint8{0x41}, r.drain(r.Local(255)))
	require.Equal(t, []uint8{0x41}, r.drain(r.Local(7)), "and for those in xAPIC mode that is the broadcast")
	require.Empty(t, r.drain(r.Local(0)))
}

func TestAMessageThatIsNoneIsRefused(t *testing.T) {
	r := newListeningRig(t, 1)
	for _, m := range []pci.Message{
		{Address: 0xFED00000, Data: 0x40},
		{Address: 0xFEF00000, Data: 0x40},
		{Address: 0x1_FEE00000, Data: 0x40},
		{Address: 0xFEE00000, Data: 0x00},
		{Address: 0xFEE00000, Data: 0x340},
		{Address: 0xFEE00000, Data: 0x640},
	} {
		require.ErrorIs(t, r.SendMSI(m), ErrRefused, "%+v", m)
	}
	require.Empty(t, r.take())
	require.False(t, r.Local(0).Pending())
}

func TestShorthands(t *testing.T) {
	const from = 1
	all := []int{0, 1, 2}
	others := []int{0, 2}
	for _, c := range []struct {
		name   string
		icr    uint32
		signal Signal
		vector uint8
		want   []int
	}{
		{"self", shorthandSelf | 0x50, SignalInterrupt, 0, []int{from}},
		{"all", shorthandAll | 0x50, SignalInterrupt, 0, all},
		{"others", icrOthers | 0x50, SignalInterrupt, 0, others},
		{"others, level is ignored", icrOthers | icrLevel | 0x50, SignalInterrupt, 0, others},
		{"others, NMI", icrOthers | uint32(deliverNMI)<<8, SignalNMI, 0, others},
		{"others, INIT", icrOthers | icrAssert | uint32(deliverINIT)<<8, SignalINIT, 0, others},
		{"others, INIT de-assert", icrOthers | icrLevel | uint32(deliverINIT)<<8, 0, 0, nil},
		{"others, SIPI", icrOthers | uint32(deliverStartup)<<8 | 0x9A, SignalSIPI, 0x9A, others},
		{"others, SMI", icrOthers | uint32(deliverSMI)<<8, 0, 0, nil},
		{"others, reserved mode", icrOthers | 0x350, 0, 0, nil},
		{"others, ExtINT", icrOthers | 0x750, 0, 0, nil},
		{"others, illegal vector", icrOthers | 0x0F, 0, 0, nil},
		{"self, NMI is invalid", shorthandSelf | uint32(deliverNMI)<<8, 0, 0, nil},
		{"self, SIPI is invalid", shorthandSelf | uint32(deliverStartup)<<8, 0, 0, nil},
		{"all, INIT is invalid", shorthandAll | uint32(deliverINIT)<<8, 0, 0, nil},
		{"all, lowest priority is invalid", shorthandAll | 0x150, 0, 0, nil},
		{"one, INIT", uint32(deliverINIT)<<8 | icrAssert | icrLevel, SignalINIT, 0, []int{2}},
		{"one, SIPI", uint32(deliverStartup)<<8 | 0x08, SignalSIPI, 0x08, []int{2}},
		{"one, SIPI with a low vector is legal", uint32(deliverStartup) << 8, SignalSIPI, 0, []int{2}},
	} {
		for _, x2 := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				r := newListeningRig(t, 3)
				for _, l := range r.locals {
					if x2 {
						r.x2apic(l)
					}
				}
				l := r.Local(from)
				if x2 {
					require.True(t, l.WriteMSR(msrX2APIC+uint32(regICR), 2<<32|uint64(c.icr)))
				} else {
					r.write(l, regICRHigh, 2<<24)
					r.write(l, regICR, c.icr)
				}
				var want []told
				for _, cpu := range c.want {
					want = append(want, told{cpu, c.signal, c.vector})
				}
				require.Equal(t, want, r.take())
				if c.signal == SignalInterrupt && c.want != nil {
					for _, cpu := range c.want {
						require.Equal(t, []uint8{0x50}, r.drain(r.Local(cpu)))
						require.Zero(t, r.read(r.Local(cpu), regTMR+2))
					}
				}
			})
		}
	}
}

func TestSelfIPI(t *testing.T) {
	r := newListeningRig(t, 2)
	l := r.Local(1)
	r.x2apic(l)
	r.write(l, regSelfIPI, 0x42)
	require.Equal(t, []uint8{0x42}, r.drain(l))
	r.write(l, regSelfIPI, 0x0E)
	require.Empty(t, r.drain(l))
	r.write(l, regESR, 0)
	require.EqualValues(t, esrSendIllegal|esrReceiveIllegal, r.read(l, regESR))
	require.False(t, l.WriteMSR(msrX2APIC+uint32(regSelfIPI), 0x142))
	_, ok := l.ReadMSR(msrX2APIC + uint32(regSelfIPI))
	require.False(t, ok)
}

func TestNotifyIsAnIPIInTheSendersMode(t *testing.T) {
	r := newListeningRig(t, 3)
	r.Local(0).Notify(0xEC, 2)
	require.EqualValues(t, 1<<2, r.receivers(0xEC))
	r.Local(0).Notify(0xEC, 0)
	require.EqualValues(t, 1, r.receivers(0xEC))
	r.Local(0).Notify(0xEC, 0xFF)
	require.EqualValues(t, 7, r.receivers(0xEC))
	r.x2apic(r.Local(0))
	r.x2apic(r.Local(2))
	r.Local(0).Notify(0xEC, 0xFFFFFFFF)
	require.EqualValues(t, 7, r.receivers(0xEC))
	r.Local(0).Notify(0x05, 1)
	r.Local(0).Notify(0xEC, 99)
	require.Zero(t, r.receivers(0xEC))
	require.Zero(t, r.Local(0).icr, "it is not the ICR's")
}

func TestLowestPriorityGoesToOne(t *testing.T) {
	lowest := pci.Message{Address: Address(everyone), Data: uint32(deliverLowest)<<8 | 0x80}
	hint := pci.Message{Address: Address(everyone) | msgLogical | msgRedirection, Data: 0x80}
	for _, m := range []pci.Message{lowest, hint} {
		r := newListeningRig(t, 4)
		for i, tpr := range []uint8{0x50, 0x30, 0x31, 0x40} {
			r.x2apic(r.Local(i))
			r.Local(i).SetTPR(tpr)
		}
		require.NoError(t, r.SendMSI(m))
		require.EqualValues(t, 1<<1, r.receivers(0x80), "the first of two equals: the vector is even")
		m.Data++
		require.NoError(t, r.SendMSI(m))
		require.EqualValues(t, 1<<2, r.receivers(0x81))
		r.Local(3).SetTPR(0)
		require.NoError(t, r.SendMSI(m))
		require.EqualValues(t, 1<<3, r.receivers(0x81))
		r.write(r.Local(3), regSVR, 0xFF)
		require.NoError(t, r.SendMSI(m))
		require.EqualValues(t, 1<<2, r.receivers(0x81), "not to who does not listen")
	}
}

func TestLowestPriorityIPIs(t *testing.T) {
	r := newListeningRig(t, 3)
	r.Local(1).SetTPR(0x20)
	r.write(r.Local(2), regICR, icrOthers|0x180)
	require.EqualValues(t, 1, r.receivers(0x80))
	r.write(r.Local(0), regICR, icrOthers|0x180)
	require.EqualValues(t, 1<<2, r.receivers(0x80))
	r.write(r.Local(0), regICRHigh, 0xFF000000)
	r.Local(0).SetTPR(0x10)
	r.write(r.Local(0), regICR, 0x180)
	require.EqualValues(t, 1<<2, r.receivers(0x80))
	for _, l := range r.locals {
		r.write(l, regSVR, 0xFF)
	}
	require.ErrorIs(t, r.SendMSI(pci.Message{Address: Address(everyone), Data: 0x180}), ErrRefused)
}
