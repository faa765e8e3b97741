package soft

// Bits of CR0.
const (
	cr0PE = 1 << 0
	cr0MP = 1 << 1
	cr0EM = 1 << 2
	cr0TS = 1 << 3
	cr0ET = 1 << 4
	cr0NE = 1 << 5
	cr0WP = 1 << 16
	cr0AM = 1 << 18
	cr0NW = 1 << 29
	cr0CD = 1 << 30
	cr0PG = 1 << 31
)

// Bits of CR4.
const (
	cr4VME        = 1 << 0
	cr4PVI        = 1 << 1
	cr4TSD        = 1 << 2
	cr4DE         = 1 << 3
	cr4PSE        = 1 << 4
	cr4PAE        = 1 << 5
	cr4MCE        = 1 << 6
	cr4PGE        = 1 << 7
	cr4PCE        = 1 << 8
	cr4OSFXSR     = 1 << 9
	cr4OSXMMEXCPT = 1 << 10
	cr4UMIP       = 1 << 11
	cr4LA57       = 1 << 12
	cr4FSGSBASE   = 1 << 16
	cr4PCIDE      = 1 << 17
	cr4OSXSAVE    = 1 << 18
	cr4SMEP       = 1 << 20
	cr4SMAP       = 1 << 21
	cr4UINTR      = 1 << 25
)

// Bits of IA32_EFER.
const (
	eferSCE = 1 << 0
	eferLME = 1 << 8
	eferLMA = 1 << 10
	eferNXE = 1 << 11
)

// physicalBits is MAXPHYADDR as CPUID shows it.
const physicalBits = 46

// msrs are the model-specific registers that are plain state.
type msrs struct {
	kernelGSBase                         uint64
	star, lstar, cstar, fmask            uint64
	sysenterCS, sysenterESP, sysenterEIP uint64
	tscAux, tscAdjust, tscOffset         uint64
	pat, xss, miscEnable, featureControl uint64
	mtrrDefType                          uint64
	mtrrFixed                            [11]uint64
	mtrrBase, mtrrMask                   [8]uint64
	umwaitControl, specControl, debugCtl uint64
	microcode                            uint64
}
