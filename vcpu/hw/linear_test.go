package hw

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/uintr"
	"gvmm/vmm/memory"
)

// newSpace maps, in 1 MiB of RAM: 0x1000 user read-write, 0x2000 supervisor, 0x3000 user read-only, 0x4000 to where no
// RAM is, a 2 MiB page at 2 MiB and a 1 GiB page at 1 GiB, both user read-write on physical 0. Tables are at 0x10000.
func newSpace(t require.TestingT) (linear, *memory.Memory) {
	m := memory.New()
	require.NoError(t, m.AddRAM(0, 1<<20))
	const all = entryPresent | entryWrite | entryUser
	for addr, v := range map[uint64]uint64{
		0x10000: 0x11000 | all,
		0x11000: 0x12000 | all, 0x11008: 0 | all | entryLarge,
		0x12000: 0x13000 | all, 0x12008: 0 | all | entryLarge,
		0x13008: 0x5000 | all, 0x13010: 0x6000 | entryPresent | entryWrite, 0x13018: 0x7000 | entryPresent | entryUser,
		0x13020: 0x4000_0000 | all,
	} {
		require.NoError(t, m.Store64(addr, v))
	}
	return linear{memory: m, cr3: 0x10000}, m
}

func TestLinearAddressesAreWalkedWithTheRightsOfTheAccess(t *testing.T) {
	l, m := newSpace(t)
	defer m.Close()
	const p, w, u = uintr.PFPresent, uintr.PFWrite, uintr.PFUser
	for _, c := range []struct {
		name        string
		la          uint64
		write, user bool
		physical    uint64
		code        int // of the page fault, -1 for none
	}{
		{"user page, user write", 0x1008, true, true, 0x5008, -1},
		{"user page, supervisor write", 0x1ff8, true, false, 0x5ff8, -1},
		{"supervisor page, supervisor write", 0x2010, true, false, 0x6010, -1},
		{"supervisor page, user read", 0x2010, false, true, 0, p | u},
		{"read-only page, user read", 0x3000, false, true, 0x7000, -1},
		{"read-only page, user write", 0x3000, true, true, 0, p | w | u},
		{"absent page, user write", 0x5000, true, true, 0, w | u},
		{"absent page, supervisor read", 0x5000, false, false, 0, 0},
		{"absent table", 1 << 39, false, true, 0, u},
		{"page outside RAM", 0x4000, true, true, 0, w | u},
		{"2 MiB page", 2<<20 + 0x5120, true, true, 0x5120, -1},
		{"1 GiB page", 1<<30 + 0x6128, true, true, 0x6128, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			access := l.Supervisor
			if c.user {
				access = l.Data
			}
			view, err := access(c.la, 8, c.write)
			if c.code >= 0 {
				var fault *uintr.Fault
				require.ErrorAs(t, err, &fault)
				require.Equal(t, uintr.Fault{Vector: uintr.VectorPF, ErrorCode: uint32(c.code), Address: c.la}, *fault)
				return
			}
			require.NoError(t, err)
			want, err := m.View(c.physical, 8)
			require.NoError(t, err)
			require.Same(t, &want[0], &view[0])
		})
	}
}

func TestHostileTablesOnlyFault(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, m := newSpace(t)
		defer m.Close()
		for range 8 {
			at := rapid.Uint64Range(0, 1<<17-1).Draw(t, "at") * 8
			require.NoError(t, m.Store64(at, rapid.Uint64().Draw(t, "entry")))
		}
		l.cr3 = rapid.Uint64().Draw(t, "cr3")
		la := rapid.Uint64().Draw(t, "la") &^ 7
		view, err := l.Data(la, 8, true)
		var fault *uintr.Fault
		require.True(t, err == nil && len(view) == 8 || errors.As(err, &fault))
	})
}
