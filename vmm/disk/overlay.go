package disk

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gvmm/virtio/blk"
)

const (
	clusterBytes = 64 << 10 // what is copied to the overlay at a time
	regionBytes  = 1 << 20  // what one lock covers
	regionLocks  = 64

	// maxOverlay bounds the bitmap to 32 MiB. Host file systems end here too.
	maxOverlay = 16 << 40
)

// overlay is an image that keeps what is written to it in a file of its own,
// as large as the image and sparse. A cluster is present once that file holds
// it whole; until then it is read from below.
//
// A cluster becomes present under its region's lock, and after its bytes: the
// parts of it that a write leaves out are copied first. Requests that touch
// present clusters only, and all reads, take no lock. Two requests for the same
// sectors at the same time have no order, here as on any disk.
//
// What is flushed is no more durable than the overlay itself, which ends with
// the process: Sync has nothing to do.
type overlay struct {
	base    Image
	data    *blk.File
	present []atomic.Uint64 // a bit a cluster
	regions [regionLocks]sync.Mutex
	edges   sync.Pool // of *[]byte, of clusterBytes
	pieces  sync.Pool // of *[][]byte

	raw   *raw  // base, if it is raw
	ring  *ring // nil: none. Its files are the overlay's and, if it is raw, the base's
	about Description
}

var _ Image = (*overlay)(nil)

// newOverlay makes an overlay on base, which it closes if it fails. plain is
// base if that is raw, else nil.
func newOverlay(base Image, plain *raw, o Options) (Image, error) {
	v := &overlay{base: base, raw: plain, about: base.Describe()}
	v.about.Overlay = true
	v.edges.New = func() any { b := alignedBytes(clusterBytes, defaultAlignment); return &b }
	v.pieces.New = func() any { return new([][]byte) }
	file, err := v.create()
	if err != nil {
		base.Close()
		return nil, err
	}
	files := []*os.File{file}
	if plain != nil {
		files = append(files, plain.target())
	}
	v.about.Engine, v.ring, err = chooseEngine(o.Engine, &v.about.Why, files...)
	if err != nil {
		v.Close()
		return nil, err
	}
	if v.ring != nil {
		return ringedOverlay{v}, nil
	}
	return v, nil
}

func (v *overlay) create() (*os.File, error) {
	size := v.base.Size()
	if size > maxOverlay {
		return nil, fmt.Errorf("%w: a disk of %d TiB: an overlay has %d TiB at most", ErrImage, size>>40, int64(maxOverlay)>>40)
	}
	file, err := anonymous(temporary())
	if err != nil {
		return nil, fmt.Errorf("disk: overlay: %w (TMPDIR chooses another folder)", err)
	}
	if err := file.Truncate(size); err != nil {
		file.Close()
		return nil, fmt.Errorf("disk: overlay of %d MiB: %w (TMPDIR chooses another folder)", size>>20, err)
	}
	if v.data, err = blk.NewFile(file); err != nil {
		file.Close()
		return nil, err
	}
	v.present = make([]atomic.Uint64, (size+64*clusterBytes-1)/(64*clusterBytes))
	return file, nil
}

// temporary is where overlays go: not to /tmp by default, which is often memory.
func temporary() string {
	if dir := os.Getenv("TMPDIR"); dir != "" {
		return dir
	}
	if info, err := os.Stat("/var/tmp"); err == nil && info.IsDir() {
		return "/var/tmp"
	}
	return os.TempDir()
}

// anonymous makes a file without a name: nothing is left of it when its last
// user is gone, however that ends.
func anonymous(dir string) (*os.File, error) {
	file, err := os.OpenFile(dir, unix.O_TMPFILE|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return file, nil
	}
	// A file system without O_TMPFILE: a name for a moment.
	file, err = os.CreateTemp(dir, "gvmm-overlay-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// Describe implements [Image].
func (v *overlay) Describe() Description { return v.about }

// Size implements [blk.Backend].
func (v *overlay) Size() int64 { return v.base.Size() }

// Sync implements [blk.Backend].
func (v *overlay) Sync() error { return nil }

// Close implements [Image]. What was written is gone.
func (v *overlay) Close() error {
	if v.ring != nil {
		v.ring.close()
	}
	err := v.data.Close()
	if e := v.base.Close(); err == nil {
		err = e
	}
	return err
}

func (v *overlay) has(cluster int64) bool {
	return v.present[cluster/64].Load()>>(cluster%64)&1 != 0
}

func (v *overlay) set(first, last int64) {
	for c := first; c <= last; c++ {
		v.present[c/64].Or(1 << (c % 64))
	}
}

// run is where what begins at off ends, at end at the latest: all of it is
// present, or nothing.
func (v *overlay) run(off, end int64) (present bool, to int64) {
	c := off / clusterBytes
	present = v.has(c)
	for c++; c*clusterBytes < end && v.has(c) == present; c++ {
	}
	return present, min(c*clusterBytes, end)
}

// ReadAt implements [blk.Backend].
func (v *overlay) ReadAt(segments [][]byte, off int64) (int, error) {
	return v.read(segments, off, v.data.ReadAt, v.base.ReadAt)
}

// TryReadAt implements [blk.PromptReader].
func (v *overlay) TryReadAt(segments [][]byte, off int64) (int, error) {
	return v.read(segments, off, v.data.TryReadAt, v.base.TryReadAt)
}

type vectorFunc func(segments [][]byte, off int64) (int, error)

func (v *overlay) read(segments [][]byte, off int64, data, base vectorFunc) (int, error) {
	end := off + length(segments)
	if off == end {
		return 0, nil
	}
	from := func(present bool) vectorFunc {
		if present {
			return data
		}
		return base
	}
	present, to := v.run(off, end)
	if to == end {
		return from(present)(segments, off)
	}
	pieces := v.pieces.Get().(*[][]byte)
	defer v.putPieces(pieces)
	at, done := cursor{segments: segments}, 0
	for off < end {
		present, to := v.run(off, end)
		*pieces = at.cut((*pieces)[:0], int(to-off))
		n, err := from(present)(*pieces, off)
		done += n
		if err != nil {
			return done, err
		}
		off = to
	}
	return done, nil
}

func (v *overlay) putPieces(p *[][]byte) {
	clear((*p)[:cap(*p)])
	v.pieces.Put(p)
}

// WriteAt implements [blk.Backend].
func (v *overlay) WriteAt(segments [][]byte, off int64) (int, error) {
	end := off + length(segments)
	if off == end {
		return 0, nil
	}
	if present, to := v.run(off, end); present && to == end {
		return v.data.WriteAt(segments, off)
	}
	pieces := v.pieces.Get().(*[][]byte)
	defer v.putPieces(pieces)
	at, done := cursor{segments: segments}, 0
	err := byRegion(off, end, func(off, end int64) error {
		*pieces = at.cut((*pieces)[:0], int(end-off))
		return v.change(off, end, func() error {
			n, err := v.data.WriteAt(*pieces, off)
			done += n
			return err
		})
	})
	return done, err
}

// byRegion does [off, end) in pieces that are each inside a region.
func byRegion(off, end int64, do func(off, end int64) error) error {
	for off < end {
		to := min(end, (off/regionBytes+1)*regionBytes)
		if err := do(off, to); err != nil {
			return err
		}
		off = to
	}
	return nil
}

// change has do write [off, end), inside a region, to the overlay, and makes
// its clusters present.
func (v *overlay) change(off, end int64, do func() error) error {
	if present, to := v.run(off, end); present && to == end {
		return do()
	}
	lock := &v.regions[off/regionBytes%regionLocks]
	lock.Lock()
	defer lock.Unlock()
	first, last := off/clusterBytes, (end-1)/clusterBytes
	if !v.has(first) {
		if err := v.copyUp(first*clusterBytes, off); err != nil {
			return err
		}
	}
	if !v.has(last) {
		if err := v.copyUp(end, min((last+1)*clusterBytes, v.Size())); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	v.set(first, last)
	return nil
}

// copyUp copies [off, end), at most a cluster, from below.
func (v *overlay) copyUp(off, end int64) error {
	if off >= end {
		return nil
	}
	buffer := v.edges.Get().(*[]byte)
	defer v.edges.Put(buffer)
	piece := [][]byte{(*buffer)[:end-off]}
	if _, err := v.base.ReadAt(piece, off); err != nil {
		return err
	}
	_, err := v.data.WriteAt(piece, off)
	return err
}

// WriteZeroes implements [blk.Backend]: zeroes are holes of the overlay.
func (v *overlay) WriteZeroes(off, n int64, _ bool) error {
	return byRegion(off, off+n, func(off, end int64) error {
		return v.change(off, end, func() error { return v.data.WriteZeroes(off, end-off, true) })
	})
}

// Discard implements [blk.Backend]. Whole clusters then read as zero, parts of
// one stay.
func (v *overlay) Discard(off, n int64) error {
	end := off + n
	if end < v.Size() {
		end -= end % clusterBytes
	}
	off = (off + clusterBytes - 1) / clusterBytes * clusterBytes
	if off >= end {
		return nil
	}
	return v.WriteZeroes(off, end-off, true)
}

// ringedOverlay is an overlay with a ring.
type ringedOverlay struct{ *overlay }

var _ blk.Submitter = ringedOverlay{}

// Submit implements [blk.Submitter]: what one file serves as it is.
func (v ringedOverlay) Submit(t *blk.Transfer) bool {
	end := t.Off + length(t.Segments)
	if t.Off == end {
		return false
	}
	present, to := v.run(t.Off, end)
	switch {
	case to != end:
		return false
	case present:
		return v.ring.submit(0, t)
	}
	return !t.Write && v.raw != nil && v.raw.accepts(t) && v.ring.submit(1, t)
}

// Commit implements [blk.Submitter].
func (v ringedOverlay) Commit() { v.ring.commit() }
