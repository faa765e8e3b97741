package blk

import "errors"

// SectorSize is the unit of capacity, addresses and lengths, whatever block
// size the driver is told.
const SectorSize = 512

// ErrWouldBlock is what TryReadAt returns when it would have to wait.
var ErrWouldBlock = errors.New("blk: would block")

// Backend stores the sectors. Its methods are called from several goroutines;
// offsets and lengths are in bytes, multiples of SectorSize, and inside Size.
type Backend interface {
	// ReadAt fills all segments from off, or returns how much it filled and
	// why not all.
	ReadAt(segments [][]byte, off int64) (int, error)
	// WriteAt writes all segments at off, or returns how much and why not all.
	WriteAt(segments [][]byte, off int64) (int, error)
	// Sync makes stable what writes that have returned wrote.
	Sync() error
	// Size does not change.
	Size() int64
	// Discard lets go of a range, whose content is then undefined.
	Discard(off, n int64) error
	// WriteZeroes makes a range read as zero; unmap allows letting go of it.
	WriteZeroes(off, n int64, unmap bool) error
}

// PromptReader is a Backend that can tell a read which needs no waiting.
type PromptReader interface {
	// TryReadAt is ReadAt, except that it returns ErrWouldBlock, and has
	// possibly filled some of the segments, where ReadAt would wait.
	// errors.ErrUnsupported says that it cannot tell, now or later.
	TryReadAt(segments [][]byte, off int64) (int, error)
}
