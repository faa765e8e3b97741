package spec

import "encoding/binary"

// The vendor page is the last 256 bytes of the register page. It carries what user-posted interrupts need and VT-d has no place for
// (`iommu.md §2.5`). A machine without posted interrupts reads it as zero. Offsets are from RegVendor; registers are 32 or 64 bits wide.
//
//	00 magic    32 RO  VendorMagic, "UPMI" in memory order
//	04 version  32 RO  VendorVersion
//	08 control  32 RW  bit 0 UPM_EN (0 at reset): accept user-posted entries
//	                   bit 1 LOAD: take the pool table over now; reads as 0
//	0C status   32 RO  bit 0 UPM_EN; bit 1 a pool table is in force; bit 2 the last LOAD was refused, no pool is in force;
//	                   bit 3 REVOKING: posts that were judged by the table before the last write of control may still be under way
//	10 base     64 RW  guest-physical address of the pool table, PoolBytes aligned
//	18 count    32 RW  entries of the pool table, at most MaxPools
//	1C wake     32 RW  bits 7:0: the vector for urgent posts to a receiver that does not run; below 16, none is sent
//	20 posted     64 RO  requests posted to a PID or UPID
//	28 notified   64 RO  notifications sent
//	30 coalesced  64 RO  posts that found a notification outstanding
//	38 suppressed 64 RO  posts whose receiver suppresses notifications
//	40 refused    64 RO  interrupt requests dropped with a fault
//
// From version 2 on, a posted entry whose descriptor is in a pool in force is user-posted while UPM_EN is 1, though its bit UPM is 0: a kernel that
// knows posted entries only, as Linux does by irq_set_vcpu_affinity, aims a device at a UPID by them.
//
// LOAD copies the table, judges the copy, and puts it in force as a whole before the write completes: later changes of the table in memory mean
// nothing until the next LOAD. A table is refused if it is not in RAM or too long, if an entry uses reserved bytes, is empty, misaligned or not
// wholly in one piece of RAM, or if two pools, or a pool and the table itself, overlap.
const (
	VendorMagic   = 0x494D_5055
	VendorVersion = 2

	VendorRegMagic      = 0x00
	VendorRegControl    = 0x08
	VendorRegBase       = 0x10
	VendorRegCount      = 0x18
	VendorRegPosted     = 0x20
	VendorRegNotified   = 0x28
	VendorRegCoalesced  = 0x30
	VendorRegSuppressed = 0x38
	VendorRegRefused    = 0x40

	VendorEnable      = uint32(1) << 0 // control and status
	VendorLoad        = uint32(1) << 1 // control
	VendorLoaded      = uint32(1) << 1 // status
	VendorLoadRefused = uint32(1) << 2 // status
	VendorRevoking    = uint32(1) << 3 // status

	MaxPools = 1024
)

const (
	// PoolBytes is the size of a pool table entry and its alignment.
	PoolBytes = 32
	// UPIDBytes is the size of a pool's elements and the alignment of its base.
	UPIDBytes = 64

	poolBaseAt     = 0
	poolCountAt    = 8
	poolDomainAt   = 12
	poolReservedAt = 14
	poolTagAt      = 16
	poolReserved2  = 24
)

// PoolEntry is one entry of the pool table:
//
//	00 base   64  guest-physical address of the first UPID, 64-byte aligned
//	08 count  32  UPIDs, 64 bytes each
//	0C domain 16  DID of the requesters that may post here
//	0E        16  reserved, 0
//	10 tag    64  the kernel's name for the tenant
//	18        64  reserved, 0
type PoolEntry []byte

// Pool is the value of a PoolEntry.
type Pool struct {
	Base   uint64
	Count  uint32
	Domain uint16
	Tag    uint64
}

// Bytes is the size of the pool's memory.
func (p Pool) Bytes() uint64 { return uint64(p.Count) * UPIDBytes }

// Get decodes the entry. ok is false when reserved bytes are set, or the pool is empty or misaligned.
func (e PoolEntry) Get() (p Pool, ok bool) {
	le := binary.LittleEndian
	p = Pool{Base: le.Uint64(e[poolBaseAt:]), Count: le.Uint32(e[poolCountAt:]), Domain: le.Uint16(e[poolDomainAt:]), Tag: le.Uint64(e[poolTagAt:])}
	ok = le.Uint16(e[poolReservedAt:]) == 0 && le.Uint64(e[poolReserved2:]) == 0 && p.Count != 0 && p.Base%UPIDBytes == 0
	return p, ok
}

// Put encodes p.
func (e PoolEntry) Put(p Pool) {
	le := binary.LittleEndian
	clear(e[:PoolBytes])
	le.PutUint64(e[poolBaseAt:], p.Base)
	le.PutUint32(e[poolCountAt:], p.Count)
	le.PutUint16(e[poolDomainAt:], p.Domain)
	le.PutUint64(e[poolTagAt:], p.Tag)
}
