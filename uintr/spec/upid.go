package spec

import "errors"

// A UPID is 16 bytes, 64-byte aligned: the control word, then PIR (`uintr.md §1.5`).
const (
	UPIDControl   = 0
	UPIDPIR       = 8
	UPIDBytes     = 16 // what the architecture reads and writes
	UPIDSize      = 64 // the alignment, and so the size in an array
	upidVectorMax = Vectors - 1
)

// Errors of Post.
var (
	ErrReserved = errors.New("uintr: reserved bits set in the UPID")
	ErrVector   = errors.New("uintr: user vector above 63")
)

// UPID is a user posted-interrupt descriptor in memory that several processors and devices share, at least UPIDBytes
// long and 8-byte aligned.
type UPID []byte

// Low loads the control word.
func (u UPID) Low() uint64 { return load64(u, UPIDControl) }

// PIR loads the posted-interrupt requests, bit v for user vector v.
func (u UPID) PIR() uint64 { return load64(u, UPIDPIR) }

// Control loads the control word. Read one and ask it, where several fields must belong together.
func (u UPID) Control() Control { return Control(u.Low()) }

func (u UPID) ON() bool     { return u.Control().ON() }
func (u UPID) SN() bool     { return u.Control().SN() }
func (u UPID) NV() uint8    { return u.Control().NV() }
func (u UPID) NDST() uint32 { return u.Control().NDST() }

// Init sets the whole descriptor. Precondition: nobody else uses it yet.
func (u UPID) Init(c Control, pir uint64) {
	store64(u, UPIDPIR, pir)
	store64(u, UPIDControl, uint64(c))
}

// Post requests the user vector (`uintr.md §1.7` steps 3-4, `iommu.md §2.2` with URG=0). If notify is true the caller owes
// the receiver one interrupt of vector nv to ndst. ErrVector and ErrReserved leave the descriptor as it was, with one
// exception: reserved bits that appear while the post is under way give ErrReserved with the PIR bit set, so that
// whoever blocked the sender by them repeats a post that coalesces and no wake-up is lost.
func (u UPID) Post(vector uint8) (notify bool, nv uint8, ndst uint32, err error) {
	if vector > upidVectorMax {
		return false, 0, 0, ErrVector
	}
	if u.Control().Reserved() != 0 {
		return false, 0, 0, ErrReserved
	}
	or64(u, UPIDPIR, 1<<vector)
	for {
		c := u.Control()
		if c.Reserved() != 0 {
			return false, 0, 0, ErrReserved
		}
		if c.ON() || c.SN() {
			return false, 0, 0, nil
		}
		if u.swapControl(c, c|UPIDON) {
			return true, c.NV(), c.NDST(), nil
		}
	}
}

// Drain takes the requests: ON is cleared first, so that a post that comes between notifies again (`iommu.md §2.3` rule 1).
func (u UPID) Drain() uint64 {
	and64(u, UPIDControl, ^uint64(UPIDON))
	return swap64(u, UPIDPIR, 0)
}

// SetSN sets or clears SN alone. To let a receiver run use ScheduleIn: clearing SN does not tell of silent posts.
func (u UPID) SetSN(on bool) { u.update(func(c Control) Control { return c.WithSN(on) }) }

// SetNV changes the notification vector.
func (u UPID) SetNV(nv uint8) { u.update(func(c Control) Control { return c.WithNV(nv) }) }

// SetNDST changes the destination. A notification that is already under way still goes to the old one.
func (u UPID) SetNDST(ndst uint32) { u.update(func(c Control) Control { return c.WithNDST(ndst) }) }

// ScheduleOut makes posts silent: the receiver no longer runs (`iommu.md §2.3` rule 4).
func (u UPID) ScheduleOut() { u.SetSN(true) }

// ScheduleIn makes the descriptor notify nv at ndst (`iommu.md §2.3` rule 3). If it returns true there may be requests
// whose notification was suppressed or went to an older destination; ON is then set, and the caller owes the receiver
// one interrupt of vector nv, as a sender would. An ON without requests is reported too: only a drain clears it, and no
// sender notifies until then.
func (u UPID) ScheduleIn(nv uint8, ndst uint32) (pending bool) {
	old := u.update(func(c Control) Control { return c.WithSN(false).WithNV(nv).WithNDST(ndst) })
	if u.PIR() == 0 {
		return old.ON()
	}
	or64(u, UPIDControl, uint64(UPIDON))
	return true
}

// Pending reports whether the receiver has something to drain (`iommu.md §2.3` rule 7).
func (u UPID) Pending() bool {
	c := u.Control()
	return c.ON() || c.SN() && u.PIR() != 0
}

// update changes the control word by compare-and-exchange and returns what it replaced.
func (u UPID) update(change func(Control) Control) Control {
	for {
		c := u.Control()
		if u.swapControl(c, change(c)) {
			return c
		}
	}
}

func (u UPID) swapControl(old, next Control) bool {
	return cas64(u, UPIDControl, uint64(old), uint64(next))
}
