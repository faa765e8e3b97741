package disk

import (
	"os"

	"gvmm/virtio/blk"
)

// raw is an image that is the disk's bytes.
type raw struct {
	*blk.File
	file   *os.File
	direct *direct // nil: through the page cache
	ring   *ring   // nil: none
	about  Description
}

var _ Image = (*raw)(nil)

// openRaw makes a disk of an open file, which it closes if it fails.
func openRaw(file *os.File, o Options) (*raw, error) {
	disk, err := blk.NewFile(file)
	if err != nil {
		unlock(file)
		file.Close()
		return nil, err
	}
	r := &raw{File: disk, file: file, about: Description{Format: FormatRaw, Size: disk.Size(), ReadOnly: o.ReadOnly, Direct: o.Direct, BlockSize: blk.SectorSize}}
	if o.Direct {
		if r.direct, err = openDirect(file, disk, o.ReadOnly); err != nil {
			r.Close()
			return nil, err
		}
		if disk.Size()%r.direct.offset == 0 {
			r.about.BlockSize = int(max(blk.SectorSize, r.direct.offset))
		}
	}
	return r, nil
}

// Describe implements [Image].
func (r *raw) Describe() Description { return r.about }

// Close implements [Image].
func (r *raw) Close() error {
	if r.ring != nil {
		r.ring.close()
	}
	if r.direct != nil {
		r.direct.close()
	}
	unlock(r.file)
	return r.File.Close()
}

// target is the file that transfers go to which are aligned.
func (r *raw) target() *os.File {
	if r.direct != nil {
		return r.direct.file
	}
	return r.file
}

// ReadAt implements [blk.Backend].
func (r *raw) ReadAt(segments [][]byte, off int64) (int, error) {
	if r.direct != nil {
		return r.direct.read(segments, off)
	}
	return r.File.ReadAt(segments, off)
}

// TryReadAt implements [blk.PromptReader]. Past the page cache there is always
// something to wait for.
func (r *raw) TryReadAt(segments [][]byte, off int64) (int, error) {
	if r.direct != nil {
		return 0, blk.ErrWouldBlock
	}
	return r.File.TryReadAt(segments, off)
}

// WriteAt implements [blk.Backend].
func (r *raw) WriteAt(segments [][]byte, off int64) (int, error) {
	if r.direct != nil {
		return r.direct.write(segments, off)
	}
	return r.File.WriteAt(segments, off)
}

// accepts tells whether a ring can carry t out.
func (r *raw) accepts(t *blk.Transfer) bool {
	return r.direct == nil || r.direct.aligned(t.Segments, t.Off)
}

// ringed is a raw image with a ring.
type ringed struct{ *raw }

var _ blk.Submitter = ringed{}

// Submit implements [blk.Submitter].
func (r ringed) Submit(t *blk.Transfer) bool { return r.accepts(t) && r.ring.submit(0, t) }

// Commit implements [blk.Submitter].
func (r ringed) Commit() { r.ring.commit() }

// withEngine gives a raw image its engine.
func (r *raw) withEngine(e Engine) (Image, error) {
	var err error
	r.about.Engine, r.ring, err = chooseEngine(e, &r.about.Why, r.target())
	if err != nil {
		r.Close()
		return nil, err
	}
	if r.ring != nil {
		return ringed{r}, nil
	}
	return r, nil
}

// chooseEngine sets a ring up over files where e asks for one and the host has
// it; why says why EngineAuto does without.
func chooseEngine(e Engine, why *string, files ...*os.File) (Engine, *ring, error) {
	if e == EngineThreads || e == EngineSync {
		return e, nil, nil
	}
	ring, err := newRing(files...)
	switch {
	case err == nil:
		return EngineUring, ring, nil
	case e == EngineUring:
		return 0, nil, noUring(err)
	}
	*why = err.Error()
	return EngineThreads, nil, nil
}
