package hw

import "gvmm/kvm"

// SetLong64 puts the processor at linear address entry in 64-bit mode, with the page tables of cr3, the argument in
// RSI, and a GDT of gdtBytes whose selectors 10H and 18H are flat code and data: Linux's 64-bit boot protocol.
func (c *CPU) SetLong64(entry, cr3, argument, gdt uint64, gdtBytes uint16) error {
	const (
		cr0PE, cr0ET, cr0NE, cr0WP, cr0PG = 1 << 0, 1 << 4, 1 << 5, 1 << 16, 1 << 31
		cr4PAE                            = 1 << 5
		eferLME, eferLMA                  = 1 << 8, 1 << 10
	)
	var s kvm.SRegs
	if err := c.vcpu.GetSRegs(&s); err != nil {
		return err
	}
	data := kvm.Segment{Limit: 0xffffffff, Selector: 0x18, Type: 3, Present: 1, DB: 1, S: 1, G: 1}
	code := data
	code.Selector, code.Type, code.DB, code.L = 0x10, 11, 0, 1
	s.CS, s.DS, s.ES, s.FS, s.GS, s.SS = code, data, data, data, data, data
	s.TR = kvm.Segment{Limit: 0x67, Type: 11, Present: 1}
	s.LDT = kvm.Segment{Type: 2, Unusable: 1}
	s.GDT = kvm.DTable{Base: gdt, Limit: gdtBytes - 1}
	s.CR0, s.CR3, s.CR4 = cr0PE|cr0ET|cr0NE|cr0WP|cr0PG, cr3, cr4PAE
	s.EFER = eferLME | eferLMA
	if err := c.vcpu.SetSRegs(&s); err != nil {
		return err
	}
	return c.vcpu.SetRegs(&kvm.Regs{RIP: entry, RSI: argument, RFLAGS: 2})
}
