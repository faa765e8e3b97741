package soft

import "gvmm/vcpu/soft/decode"

// Attributes of a segment: the descriptor's bits 47:40 in 7:0, 55:52 in 11:8.
const (
	attrAccessed   = 1 << 0
	attrWritable   = 1 << 1 // data; readable in code
	attrReadable   = 1 << 1
	attrDown       = 1 << 2 // expand-down data; conforming code
	attrConforming = 1 << 2
	attrCode       = 1 << 3
	attrType       = 0xf
	attrS          = 1 << 4 // code or data
	attrDPL        = 3 << 5
	attrP          = 1 << 7
	attrL          = 1 << 9
	attrDB         = 1 << 10
	attrG          = 1 << 11
)

// segment is a segment register with its hidden part.
type segment struct {
	base  uint64
	limit uint32 // in bytes, the last valid offset
	sel   uint16
	attr  uint16
	null  bool // loaded with a null selector: any access faults outside 64-bit mode
}

func (s *segment) dpl() uint8 { return uint8(s.attr >> 5 & 3) }

// canonical reports whether a linear address is canonical in the current paging
// mode.
func (c *CPU) canonical(la uint64) bool {
	shift := 16
	if c.cr4&cr4LA57 != 0 {
		shift = 7
	}
	return uint64(int64(la<<shift)>>shift) == la
}

// linear turns n bytes at an offset of a segment into a linear address and judges
// segment, limit and canonicality: #SS for the stack segment, else #GP.
func (c *CPU) linear(seg uint8, off, n uint64, write bool) (uint64, bool) {
	if c.mode == decode.Mode64 {
		la := off
		if seg >= fs {
			la += c.bases[seg]
		}
		if !c.canonical(la) || !c.canonical(la+n-1) {
			return 0, c.segmentFault(seg)
		}
		return la, true
	}
	s := &c.seg[seg]
	last := off + n - 1
	switch {
	case s.null, write && s.attr&(attrCode|attrWritable) != attrWritable, !write && s.attr&(attrCode|attrReadable) == attrCode:
		return 0, c.segmentFault(seg)
	case s.attr&(attrCode|attrDown) == attrDown:
		top := uint64(0xffff)
		if s.attr&attrDB != 0 {
			top = 0xffffffff
		}
		if off <= uint64(s.limit) || last > top {
			return 0, c.segmentFault(seg)
		}
	case last > uint64(s.limit):
		return 0, c.segmentFault(seg)
	}
	return (s.base + off) & 0xffffffff, true
}

func (c *CPU) segmentFault(seg uint8) bool {
	if seg == ss {
		return c.raiseCode(vectorSS, 0)
	}
	return c.gp0()
}

// real reports real-address mode; virtual-8086 mode is not.
func (c *CPU) real() bool { return c.cr0&cr0PE == 0 }

// v86 reports virtual-8086 mode.
func (c *CPU) v86() bool { return c.rflags&flagVM != 0 && c.cr0&cr0PE != 0 && c.efer&eferLMA == 0 }

// long reports that IA32_EFER.LMA is set.
func (c *CPU) long() bool { return c.efer&eferLMA != 0 }

// updateMode derives what depends on control registers, CS, SS, RFLAGS.VM and AC.
// Whoever changes one of these calls it.
func (c *CPU) updateMode() {
	switch {
	case c.real():
		c.cpl = 0
	case c.v86():
		c.cpl = 3
	}
	c.mode = decode.Mode16
	switch {
	case c.long() && c.seg[cs].attr&attrL != 0:
		c.mode = decode.Mode64
	case !c.real() && !c.v86() && c.seg[cs].attr&attrDB != 0, c.real() && c.seg[cs].attr&attrDB != 0:
		c.mode = decode.Mode32
	}
	for i := range c.bases {
		c.bases[i] = c.seg[i].base
	}
	c.flat = c.mode == decode.Mode64
	if c.flat {
		c.bases[es], c.bases[cs], c.bases[ss], c.bases[ds] = 0, 0, 0, 0
	}
	c.ripMask = 0xffffffff
	if c.mode == decode.Mode64 {
		c.ripMask = ^uint64(0)
	}
	c.selectTLB()
	c.renew()
}
