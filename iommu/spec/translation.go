package spec

// Tables of DMA remapping in legacy mode, VT-d §9.1, §9.3, §9.8. Each of them is a page.
const (
	RootEntryBytes    = 16
	ContextEntryBytes = 16
	SLEntryBytes      = 8

	minLevels = 3
)

// MaxLevels is how many levels of second-level tables translate addresses of width bits.
func MaxLevels(width int) int { return (width - 12 + 8) / 9 }

// RootEntry is the entry of a bus.
type RootEntry struct{ Lo, Hi uint64 }

const (
	entryP       = uint64(1) << 0
	entryAddress = ^uint64(0xFFF)

	rootReservedLo = uint64(0xFFE)
)

// NewRootEntry is a present entry for the context table at a page-aligned address.
func NewRootEntry(table uint64) RootEntry { return RootEntry{Lo: table&entryAddress | entryP} }

func (e RootEntry) Present() bool   { return e.Lo&entryP != 0 }
func (e RootEntry) Malformed() bool { return e.Lo&rootReservedLo != 0 || e.Hi != 0 }
func (e RootEntry) Table() uint64   { return e.Lo & entryAddress }

// TranslationType is what becomes of a function's requests.
type TranslationType uint8

// Translation types. The others need device TLBs, or are reserved.
const (
	Translated  TranslationType = 0
	PassThrough TranslationType = 2
)

// ContextEntry is the entry of a function.
type ContextEntry struct{ Lo, Hi uint64 }

const (
	contextFPD        = uint64(1) << 1
	contextTTShift    = 2
	contextEntryLoRsv = uint64(0xFF0)
	contextEntryHiRsv = ^uint64(0xFF_FF7F)
	contextAWMask     = uint64(7)
	contextDIDShift   = 8
)

// NewContextEntry is a present entry: requests are of domain did, and translated by a table of so many levels.
func NewContextEntry(t TranslationType, table uint64, levels int, did uint16) ContextEntry {
	return ContextEntry{
		Lo: entryP | uint64(t&3)<<contextTTShift | table&entryAddress,
		Hi: uint64(levels-2)&contextAWMask | uint64(did)<<contextDIDShift,
	}
}

func (e ContextEntry) Present() bool         { return e.Lo&entryP != 0 }
func (e ContextEntry) FPD() bool             { return e.Lo&contextFPD != 0 }
func (e ContextEntry) Type() TranslationType { return TranslationType(e.Lo>>contextTTShift) & 3 }
func (e ContextEntry) Table() uint64         { return e.Lo & entryAddress }
func (e ContextEntry) DID() uint16           { return uint16(e.Hi >> contextDIDShift) }
func (e ContextEntry) Malformed() bool {
	return e.Lo&contextEntryLoRsv != 0 || e.Hi&contextEntryHiRsv != 0
}

// Levels is how many levels of tables AW stands for.
func (e ContextEntry) Levels() int { return int(e.Hi&contextAWMask) + 2 }

// WithFPD keeps faults of the function from being recorded.
func (e ContextEntry) WithFPD() ContextEntry { e.Lo |= contextFPD; return e }

// LevelsOffered reports whether a unit for addresses of width bits has tables of so many levels.
func LevelsOffered(levels, width int) bool { return levels >= minLevels && levels <= MaxLevels(width) }

// SLEntry is an entry of a second-level table.
type SLEntry uint64

// Bits of a second-level entry.
const (
	SLRead  SLEntry = 1 << 0
	SLWrite SLEntry = 1 << 1

	slPS      SLEntry = 1 << 7
	slSNP     SLEntry = 1 << 11 // reserved: snooping cannot be controlled
	slAddress SLEntry = 0xF_FFFF_FFFF_F000
)

// NewSLTable is the entry for the table below it.
func NewSLTable(table uint64) SLEntry { return SLEntry(table)&slAddress | SLRead | SLWrite }

// NewSLPage is the entry for a page of a level: 1 for 4 KiB, 2 for 2 MiB, 3 for 1 GiB.
func NewSLPage(page uint64, level int, rights SLEntry) SLEntry {
	e := SLEntry(page)&slAddress | rights&(SLRead|SLWrite)
	if level > 1 {
		e |= slPS
	}
	return e
}

// Rights are the entry's read and write bits; with none it is not present.
func (e SLEntry) Rights() SLEntry { return e & (SLRead | SLWrite) }

// Address is that of the next table or of the page.
func (e SLEntry) Address() uint64 { return uint64(e & slAddress) }

// Leaf reports whether the entry of a level is a page.
func (e SLEntry) Leaf(level int) bool { return level == 1 || e&slPS != 0 }

// Malformed reports whether a present entry of a level uses what is reserved there.
func (e SLEntry) Malformed(level int) bool {
	reserved := slSNP
	switch {
	case level > 3:
		reserved |= slPS
	case level > 1 && e&slPS != 0:
		reserved |= SLEntry(LevelBytes(level)-1) & slAddress
	}
	return e&reserved != 0
}

// LevelBytes is the size of what an entry of a level maps.
func LevelBytes(level int) uint64 { return 1 << LevelShift(level) }

// LevelShift is the lowest address bit that indexes a level.
func LevelShift(level int) int { return 12 + 9*(level-1) }

// WholeLevel is a level above all: what it maps is larger than any domain.
const WholeLevel = 6

// SLIndex is the index into a table of a level.
func SLIndex(addr uint64, level int) uint64 { return addr >> LevelShift(level) & 0x1FF }

// InterruptRange reports whether any of the n bytes at addr, at least one, are where interrupts are sent to. That range is never translated.
func InterruptRange(addr, n uint64) bool {
	return addr <= requestBase|^requestWindow && addr+(n-1) >= requestBase
}
