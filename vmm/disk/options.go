package disk

import (
	"errors"
	"fmt"
	"io"

	"gvmm/virtio/blk"
)

var (
	// ErrImage wraps what is wrong with an image.
	ErrImage = errors.New("disk: image")
	// ErrOptions wraps options that cannot be had together, or not with an image.
	ErrOptions = errors.New("disk: options")
	// ErrLocked means that another user of the image is in the way.
	ErrLocked = errors.New("disk: in use")
)

// Format is how an image file lays out its disk.
type Format int

// Formats. FormatAuto is told by the file's first bytes.
const (
	FormatAuto Format = iota
	FormatRaw
	FormatQCOW2
)

var formatNames = []string{"auto", "raw", "qcow2"}

// String is the name that ParseFormat reads.
func (f Format) String() string { return formatNames[f] }

// ParseFormat reads a format's name.
func ParseFormat(s string) (Format, error) { return parse[Format](formatNames, s) }

// Engine is how transfers that have to wait are carried out.
type Engine int

// Engines. EngineAuto is EngineUring where the host has it and the image has a
// use for it, else EngineThreads.
const (
	EngineAuto    Engine = iota
	EngineUring          // by io_uring: no thread waits
	EngineThreads        // by the device's pool of workers
	EngineSync           // one after the other, where the queue is served
)

var engineNames = []string{"auto", "uring", "threads", "sync"}

// String is the name that ParseEngine reads.
func (e Engine) String() string { return engineNames[e] }

// ParseEngine reads an engine's name.
func ParseEngine(s string) (Engine, error) { return parse[Engine](engineNames, s) }

func parse[T ~int](names []string, s string) (T, error) {
	for i, name := range names {
		if s == name {
			return T(i), nil
		}
	}
	list := names[0]
	for _, name := range names[1 : len(names)-1] {
		list += ", " + name
	}
	return 0, fmt.Errorf("%q: %s or %s", s, list, names[len(names)-1])
}

// Options say how an image is opened.
type Options struct {
	ReadOnly bool
	// Overlay sends writes to a private temporary file in $TMPDIR [/var/tmp]:
	// the image is never changed, and they end with the Image.
	Overlay bool
	Direct  bool // past the host's page cache (O_DIRECT); raw images
	Backing bool // follow the backing files that a qcow2 image names
	Format  Format
	Engine  Engine
}

func (o Options) check() error {
	switch {
	case o.ReadOnly && o.Overlay:
		return fmt.Errorf("%w: an overlay takes writes, and a read-only disk has none: choose one of them", ErrOptions)
	case o.Backing && o.Format == FormatRaw:
		return fmt.Errorf("%w: a raw image has no backing file", ErrOptions)
	case o.Direct && o.Format == FormatQCOW2:
		return fmt.Errorf("%w: direct I/O is for raw images: qcow2 tables are read through the page cache", ErrOptions)
	}
	return nil
}

// Image is an open disk image. It is a [blk.PromptReader]; one with io_uring is
// also a [blk.Submitter].
type Image interface {
	blk.Backend
	blk.PromptReader
	io.Closer
	// Describe says what it turned out to be.
	Describe() Description
}

// Description is what an image turned out to be.
type Description struct {
	Format    Format
	Size      int64  // of the disk, in bytes
	Engine    Engine // what it uses; not EngineAuto
	Why       string // why EngineAuto did not become EngineUring; "" if it did
	ReadOnly  bool
	Overlay   bool
	Direct    bool
	BlockSize int      // that transfers should be multiples of, in bytes
	Backing   []string // the files below a qcow2 image, nearest first
}

// String is Description as one line without the image's name.
func (d Description) String() string {
	s := fmt.Sprintf("%v, %d MiB, engine %v", d.Format, d.Size>>20, d.Engine)
	for _, part := range []struct {
		is   bool
		name string
	}{{d.Direct, "direct"}, {d.ReadOnly, "read-only"}, {d.Overlay, "writes go to a temporary overlay"}} {
		if part.is {
			s += ", " + part.name
		}
	}
	for _, b := range d.Backing {
		s += ", over " + b
	}
	if d.Why != "" {
		s += " (no io_uring: " + d.Why + ")"
	}
	return s
}
