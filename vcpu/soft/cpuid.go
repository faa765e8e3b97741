package soft

import (
	"math/bits"

	"gvmm/uintr/spec"
	"gvmm/vcpu/soft/decode"
)

// What CPUID tells: a server part with user interrupts, of which only that is
// shown which is executed.
const (
	maxBasic    = 0x1f
	maxExtended = 0x80000008

	signature = 0x000806f8 // family 6, model 143, stepping 8

	// Leaf 1 EDX: FPU DE PSE TSC MSR PAE MCE CX8 SEP MTRR PGE MCA CMOV PAT PSE-36 CLFSH MMX FXSR SSE SSE2 SS; APIC and HTT come apart.
	featuresEDX = 1<<0 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<11 | 1<<12 | 1<<13 | 1<<14 | 1<<15 | 1<<16 | 1<<17 | 1<<19 |
		1<<23 | 1<<24 | 1<<25 | 1<<26 | 1<<27
	featureAPIC = 1 << 9
	featureHTT  = 1 << 28
	// Leaf 1 ECX: SSE3 PCLMULQDQ SSSE3 CX16 PCID SSE4.1 SSE4.2 x2APIC MOVBE POPCNT TSC-deadline AES XSAVE RDRAND hypervisor.
	featuresECX    = 1<<0 | 1<<1 | 1<<9 | 1<<13 | 1<<17 | 1<<19 | 1<<20 | 1<<21 | 1<<22 | 1<<23 | 1<<24 | 1<<25 | 1<<26 | 1<<30 | 1<<31
	featureMonitor = 1 << 3
	featureOSXSAVE = 1 << 27

	// Leaf 7 EBX: FSGSBASE TSC_ADJUST BMI1 SMEP BMI2 ERMS INVPCID RDSEED ADX SMAP CLFLUSHOPT CLWB SHA.
	structuredEBX = 1<<0 | 1<<1 | 1<<3 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<18 | 1<<19 | 1<<20 | 1<<23 | 1<<24 | 1<<29
	// ECX: UMIP WAITPKG LA57 RDPID MOVDIRI MOVDIR64B.
	structuredECX = 1<<2 | 1<<5 | 1<<16 | 1<<22 | 1<<27 | 1<<28
	// EDX: FSRM SERIALIZE IBRS ARCH_CAPABILITIES.
	structuredEDX = 1<<4 | 1<<14 | 1<<26 | 1<<29
	featureUINTR  = 1 << 5

	// 80000001H ECX: LAHF LZCNT PREFETCHW; EDX: NX, 1 GiB pages, RDTSCP, LM, in 64-bit mode SYSCALL.
	extendedECX    = 1<<0 | 1<<5 | 1<<8
	extendedEDX    = 1<<20 | 1<<26 | 1<<27 | 1<<29
	featureSYSCALL = 1 << 11

	xsaveLegacy = 512 + 64 // legacy region and header
	lineSize    = 64
)

const brand = "gvmm software CPU"

// leaf is EAX, EBX, ECX and EDX.
type leaf [4]uint32

// cpuid is CPUID.
func (c *CPU) cpuid() bool {
	v := c.leafOf(uint32(c.r[rax]), uint32(c.r[rcx]))
	c.r[rax], c.r[rbx], c.r[rcx], c.r[rdx] = uint64(v[0]), uint64(v[1]), uint64(v[2]), uint64(v[3])
	return true
}

// leafOf is what CPUID returns. Beyond the highest leaf that is the highest basic
// one.
func (c *CPU) leafOf(n, sub uint32) leaf {
	for i := range c.config.Leaves {
		if l := &c.config.Leaves[i]; l.Function == n {
			return leaf{l.EAX, l.EBX, l.ECX, l.EDX}
		}
	}
	switch {
	case n>>28 == 4:
		return leaf{} // a hypervisor's, and there is none at that address
	case n>>31 != 0 && n <= maxExtended:
		return c.extendedLeaf(n)
	}
	return c.basicLeaf(min(n, maxBasic), sub)
}

func (c *CPU) basicLeaf(n, sub uint32) leaf {
	switch n {
	case 0:
		return leaf{maxBasic, 0x756e6547, 0x6c65746e, 0x49656e69} // GenuineIntel
	case 1:
		return c.featureLeaf()
	case 2:
		return leaf{0x00feff01, 0xf0, 0, 0} // see leaf 4
	case 4:
		return c.cacheLeaf(sub)
	case 5:
		return leaf{lineSize, lineSize, 3, 0}
	case 6:
		return leaf{1 << 2, 0, 0, 0} // ARAT
	case 7:
		return c.structuredLeaf(sub)
	case 0xb:
		return c.topologyLeaf(sub)
	case 0xd:
		return c.xsaveLeaf(sub)
	case 0x15:
		num, den := tscRatio(c.machine.clock.Hz(), c.config.BusHz)
		if num == 0 {
			return leaf{}
		}
		return leaf{den, num, uint32(c.config.BusHz), 0}
	case 0x16:
		mhz := uint32(c.machine.clock.Hz() / 1e6)
		return leaf{mhz, mhz, 100, 0}
	case 0x1f:
		return c.topologyLeaf(sub)
	}
	return leaf{}
}

func (c *CPU) processors() uint32 { return max(c.config.CPUs, 1) }

func (c *CPU) featureLeaf() leaf {
	n := c.processors()
	v := leaf{signature, lineSize/8<<8 | min(n, 255)<<16 | c.id<<24, featuresECX, featuresEDX}
	if n > 1 {
		v[3] |= featureHTT
	}
	if _, mmio := c.apic.Base(); mmio || c.apic.X2APIC() {
		v[3] |= featureAPIC
	}
	if c.msr.miscEnable&miscMonitor != 0 {
		v[2] |= featureMonitor
	}
	if c.cr4&cr4OSXSAVE != 0 {
		v[2] |= featureOSXSAVE
	}
	return v
}

// cacheLeaf is leaf 4: data, instruction, level 2, level 3.
func (c *CPU) cacheLeaf(sub uint32) leaf {
	shift := topologyShift(c.processors())
	cores := uint32(1)<<shift - 1
	cache := func(kind, level, sharing, ways, sets uint32) leaf {
		return leaf{kind | level<<5 | 1<<8 | sharing<<14 | cores<<26, lineSize - 1 | (ways-1)<<22, sets - 1, 0}
	}
	switch sub {
	case 0:
		return cache(1, 1, 0, 12, 64)
	case 1:
		return cache(2, 1, 0, 8, 64)
	case 2:
		return cache(3, 2, 0, 16, 2048)
	case 3:
		return cache(3, 3, cores, 16, 32768)
	}
	return leaf{}
}

func (c *CPU) structuredLeaf(sub uint32) leaf {
	if sub != 0 {
		return leaf{}
	}
	v := leaf{2, structuredEBX, structuredECX, structuredEDX}
	if c.config.UINTR {
		v[3] |= featureUINTR
	}
	return v
}

// topologyShift is how many bits of an APIC id tell cores apart.
func topologyShift(n uint32) uint32 { return uint32(bits.Len32(n - 1)) }

// topologyLeaf is 0BH and 1FH: one thread a core, one package.
func (c *CPU) topologyLeaf(sub uint32) leaf {
	switch sub {
	case 0:
		return leaf{0, 1, 1 << 8, c.id}
	case 1:
		return leaf{topologyShift(c.processors()), c.processors(), 2<<8 | 1, c.id}
	}
	return leaf{0, 0, sub & 0xff, c.id}
}

func (c *CPU) xsaveLeaf(sub uint32) leaf {
	var xss uint32
	if c.config.UINTR {
		xss = uint32(spec.XSSUINTR)
	}
	switch sub {
	case 0:
		return leaf{3, xsaveLegacy, xsaveLegacy, 0}
	case 1:
		size := uint32(xsaveLegacy)
		if c.msr.xss != 0 {
			size += spec.XSaveSize
		}
		return leaf{0xf, size, xss, 0} // XSAVEOPT, XSAVEC, XGETBV with ECX=1, XSAVES
	case 14:
		if c.config.UINTR {
			return leaf{spec.XSaveSize, 0, 1, 0}
		}
	}
	return leaf{}
}

func (c *CPU) extendedLeaf(n uint32) leaf {
	switch n {
	case 0x80000000:
		return leaf{maxExtended, 0, 0, 0}
	case 0x80000001:
		v := leaf{0, 0, extendedECX, extendedEDX}
		if c.mode == decode.Mode64 {
			v[3] |= featureSYSCALL
		}
		return v
	case 0x80000002, 0x80000003, 0x80000004:
		var v leaf
		for i := range 16 {
			if at := int(n-0x80000002)*16 + i; at < len(brand) {
				v[i/4] |= uint32(brand[at]) << (8 * (i % 4))
			}
		}
		return v
	case 0x80000006:
		return leaf{0, 0, 2048<<16 | 8<<12 | lineSize, 0}
	case 0x80000007:
		return leaf{0, 0, 0, 1 << 8} // invariant TSC
	case 0x80000008:
		return leaf{physicalBits | linearBits<<8, 0, 0, 0}
	}
	return leaf{}
}

// tscRatio is EBX/EAX of leaf 15H: the best approximation of hz/crystal whose
// product with the crystal's kHz fits 32 bits, which is how Linux multiplies: at
// some 3 ppm off at worst with a crystal of 25 MHz. Zeroes say that there is none.
func tscRatio(hz, crystal uint64) (num, den uint32) {
	if hz == 0 || crystal == 0 || crystal > 0xffffffff {
		return 0, 0
	}
	most := uint64(0xffffffff)
	if khz := crystal / 1000; khz > 0 {
		most /= khz
	}
	// Convergents of the continued fraction, then the last semiconvergent that fits.
	a, b := hz, crystal
	n0, d0, n1, d1 := uint64(0), uint64(1), uint64(1), uint64(0)
	for b != 0 {
		q := a / b
		if limit := fits(q, n0, n1, d0, d1, most); limit < q {
			if 2*limit >= q {
				n1, d1 = limit*n1+n0, limit*d1+d0
			}
			break
		}
		n0, n1 = n1, q*n1+n0
		d0, d1 = d1, q*d1+d0
		a, b = b, a%b
	}
	if n1 == 0 || d1 == 0 {
		return 0, 0
	}
	return uint32(n1), uint32(d1)
}

// fits is the greatest multiple k <= q for which k*n1+n0 <= most and k*d1+d0 fits
// 32 bits.
func fits(q, n0, n1, d0, d1, most uint64) uint64 {
	if n1 > 0 {
		q = min(q, (most-min(most, n0))/n1)
	}
	if d1 > 0 {
		q = min(q, (0xffffffff-min(uint64(0xffffffff), d0))/d1)
	}
	return q
}
