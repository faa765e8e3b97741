package soft

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Each mode of paging maps the page at 50000H somewhere above 4 MiB, with an entry
// of each size.
func TestPagingModes(t *testing.T) {
	const la = 0x50123
	for _, x := range []struct {
		about string
		long  bool
		cr4   uint64
		efer  uint64
		set   func(r *sysRig)
		la    uint64
		pa    uint64
		bad   bool
		code  uint32
	}{
		{"4 levels, 4 KiB", true, 0, 0, func(r *sysRig) { r.put64(atPT+8*0x50, 0x77000|7) }, la, 0x77123, false, 0},
		{"4 levels, 2 MiB", true, 0, 0, func(r *sysRig) { r.put64(atPD, 0x200000|7|ptePS) }, la, 0x250123, false, 0},
		{"4 levels, 2 MiB, PAT", true, 0, 0, func(r *sysRig) { r.put64(atPD, 0x200000|7|ptePS|1<<12) }, la, 0x250123, false, 0},
		{"4 levels, 2 MiB, reserved", true, 0, 0, func(r *sysRig) { r.put64(atPD, 0x202000|7|ptePS) }, la, 0, true, pfPresent | pfReserved},
		{"4 levels, 1 GiB", true, 0, 0, func(r *sysRig) { r.put64(atPDPT+8, 7|ptePS) }, 1<<30 | la, la, false, 0},
		{"4 levels, 1 GiB, reserved", true, 0, 0, func(r *sysRig) { r.put64(atPDPT+8, 0x200000|7|ptePS) }, 1<<30 | la, 0, true, pfPresent | pfReserved},
		{"PS in a PML4E", true, 0, 0, func(r *sysRig) { r.put64(atPML4+8, atPDPT|7|ptePS) }, 1<<39 | la, 0, true, pfPresent | pfReserved},
		{"NX without NXE", true, 0, eferNXE, func(r *sysRig) { r.put64(atPT+8*0x50, 0x77000|7|pteNX) }, la, 0, true, pfPresent | pfReserved},
		{"address beyond MAXPHYADDR", true, 0, 0, func(r *sysRig) { r.put64(atPT+8*0x50, 1<<physicalBits|7) }, la, 0, true, pfPresent | pfReserved},
		{"the upper half", true, 0, 0, func(r *sysRig) { r.put64(atPML4+8*511, atPDPT|7) }, 0xffffff8000000000 | la, la, false, 0},
		{"5 levels", true, cr4LA57, 0, func(r *sysRig) { r.put64(atData, atPML4|7); r.c.cr3 = atData }, la, la, false, 0},
		{"5 levels, upper half", true, cr4LA57, 0, func(r *sysRig) { r.put64(atData+8*511, atPML4|7); r.c.cr3 = atData }, 0xffff000000000000 | la, la, false, 0},
		{"32 bits, 4 KiB", false, 0, 0, func(r *sysRig) { r.put32(atPML4, atPT|7); r.put32(atPT+4*0x50, 0x77000|7) }, la, 0x77123, false, 0},
		{"32 bits, 4 MiB", false, cr4PSE, 0, func(r *sysRig) { r.put32(atPML4+4, 7|ptePS) }, 4<<20 | la, la, false, 0},
		{"32 bits, 4 MiB, reserved", false, cr4PSE, 0, func(r *sysRig) { r.put32(atPML4+4, 7|ptePS|1<<21) }, 4<<20 | la, 0, true, pfPresent | pfReserved},
		{"32 bits, no PSE", false, 0, 0, func(r *sysRig) { r.put32(atPML4, atPT|7|ptePS); r.put32(atPT+4*0x50, 0x77000|7) }, la, 0x77123, false, 0},
		{"PAE, 4 KiB", false, cr4PAE, 0, func(r *sysRig) {
			r.put64(atPML4, atPD|1)
			r.put64(atPD, atPT|7)
			r.put64(atPT+8*0x50, 0x77000|7)
		}, la, 0x77123, false, 0},
		{"PAE, 2 MiB", false, cr4PAE, 0, func(r *sysRig) { r.put64(atPML4+3*8, atPD|1); r.put64(atPD, 0x200000|7|ptePS) }, 3<<30 | la, 0x250123, false, 0},
		{"PAE, absent pointer", false, cr4PAE, 0, func(*sysRig) {}, 2<<30 | la, 0, true, 0},
	} {
		t.Run(x.about, func(t *testing.T) {
			r := longRig(t)
			c := r.c
			if !x.long {
				clear(r.ram[atPML4 : atPT+4096])
				c.efer, c.cr4 = 0, 0
			}
			c.cr4 |= x.cr4
			c.efer &^= x.efer
			x.set(r)
			require.True(t, x.long || x.cr4&cr4PAE == 0 || c.pointers(c.cr3))
			c.flushTLB(true)
			c.updateMode()
			for range 2 { // the accessed bits that the first one leaves do not matter
				c.flushTLB(true)
				pa, ok := c.translate(x.la, 0)
				require.Equal(t, !x.bad, ok)
				if x.bad {
					require.Equal(t, x.code, c.fault.code)
					require.Equal(t, x.la, c.fault.address)
				} else {
					require.Equal(t, x.pa, pa)
				}
			}
		})
	}
}

// A page is writable and the user's only if all levels say so.
func TestRightsCombineOverTheLevels(t *testing.T) {
	for _, at := range []int{atPML4, atPDPT, atPD, atPT + 8*0x50} {
		for _, bit := range []uint64{pteW, pteU} {
			r := longRig(t)
			r.put64(at, r.get64(uint64(at))&^bit)
			r.c.cpl = 3
			r.c.updateMode()
			_, ok := r.c.translate(0x50000, accessWrite)
			require.False(t, ok)
			require.EqualValues(t, pfPresent|pfWrite|pfUser, r.c.fault.code)
			_, ok = r.c.translate(0x50000, 0)
			require.Equal(t, bit == pteW, ok)
		}
	}
}
