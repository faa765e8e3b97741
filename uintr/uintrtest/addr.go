package uintrtest

// Addr is a symbolic linear address: the kind in bits 63:56, a signed offset in bits 55:0.
type Addr uint64

// Kind says what an Addr is relative to.
type Kind uint8

// The kinds of address. What the guest must provide for each stands in Bases.
const (
	KindLiteral      Kind = iota // the offset itself
	KindUPIDArray                // UPID i at 64*i
	KindUITTArray                // entry i at 16*i
	KindHandler                  // the user handler's first instruction
	KindStackTop                 // the end of the scratch stack
	KindUnmapped                 // a page that is not present
	KindNonCanonical             // an address that is canonical in no paging mode
	KindOp                       // the instruction of the case's operation
	KindAfter                    // what follows it
)

const (
	offsetBits       = 56
	nonCanonicalBase = 1 << 63
)

// At is the address off bytes from what k names.
func (k Kind) At(off int64) Addr {
	return Addr(k)<<offsetBits | Addr(off)&(1<<offsetBits-1)
}

// Literal is an address that means itself. Precondition: bits 63:55 of v are all the same.
func Literal(v uint64) Addr { return KindLiteral.At(int64(v)) }

// Kind is what a is relative to.
func (a Addr) Kind() Kind { return Kind(a >> offsetBits) }

// Offset is a's distance from it.
func (a Addr) Offset() int64 { return int64(a<<(64-offsetBits)) >> (64 - offsetBits) }

// Bases says where a guest keeps what addresses are relative to.
type Bases struct {
	UPIDArray uint64      // 64-byte aligned, two UPIDs: present, writable, supervisor
	UITTArray uint64      // 16-byte aligned, four entries: present, writable, supervisor
	Handler   uint64      // user code
	StackTop  uint64      // page aligned; the two pages below it are user memory, the ones around those not present
	Unmapped  uint64      // page aligned, in the lower half: this page and the next are not present
	Op        [Ops]uint64 // by Op: the instruction. For Notify the same as After
	After     [Ops]uint64 // by Op: the address after it
}

// Resolve is the linear address that a means in a case of op.
func (b *Bases) Resolve(a Addr, op Op) uint64 {
	base := uint64(0)
	switch a.Kind() {
	case KindUPIDArray:
		base = b.UPIDArray
	case KindUITTArray:
		base = b.UITTArray
	case KindHandler:
		base = b.Handler
	case KindStackTop:
		base = b.StackTop
	case KindUnmapped:
		base = b.Unmapped
	case KindNonCanonical:
		base = nonCanonicalBase
	case KindOp:
		base = b.Op[op]
	case KindAfter:
		base = b.After[op]
	}
	return base + uint64(a.Offset())
}
