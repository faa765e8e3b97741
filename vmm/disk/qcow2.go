package disk

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/lima-vm/go-qcow2reader/image/qcow2"
	"github.com/lima-vm/go-qcow2reader/log"
	"github.com/lima-vm/go-qcow2reader/lru"
	"golang.org/x/sys/unix"

	"gvmm/virtio/blk"
)

const (
	// maxLayers bounds a chain of backing files.
	maxLayers = 16
	// cacheBytes is how much of a layer's compressed clusters is kept unpacked.
	cacheBytes = 8 << 20
)

func init() {
	log.SetWarnFunc(nil) // what there is to say, the errors here say
}

// chain is a qcow2 image and the images below it, only read.
type chain struct {
	layers []layer // the image itself first
	about  Description
}

// layer is an image of a chain.
type layer struct {
	file    *os.File
	size    int64        // of its disk
	image   *qcow2.Qcow2 // nil: raw
	cluster int64        // bytes
	unpacks *lru.Cache[int64, []byte]
}

var _ Image = (*chain)(nil)

// openQCOW2 makes a disk of an open qcow2 file, which it closes if it fails.
func openQCOW2(file *os.File, o Options) (Image, error) {
	c := &chain{about: Description{Format: FormatQCOW2, ReadOnly: o.ReadOnly, BlockSize: blk.SectorSize}}
	if err := c.open(file, o.Backing); err != nil {
		c.Close()
		return nil, err
	}
	c.about.Size = c.layers[0].size
	if o.Overlay {
		return newOverlay(c, nil, o)
	}
	switch o.Engine {
	case EngineUring:
		c.Close()
		return nil, fmt.Errorf("%w: engine=uring is for raw images and overlays, and %s is qcow2", ErrOptions, file.Name())
	case EngineAuto:
		c.about.Engine, c.about.Why = EngineThreads, "qcow2 is read by threads"
	default:
		c.about.Engine = o.Engine
	}
	return c, nil
}

// open adds file, which the chain closes from here on, and what is below it.
func (c *chain) open(file *os.File, follow bool) error {
	for {
		backing, format, err := c.add(file)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %s: %w", ErrImage, file.Name(), err)
		case backing == "":
			return nil
		case !follow:
			return fmt.Errorf("%w: %s needs its backing file %q, which the guest could then read: add backing if you trust the image, or make one file of both: qemu-img convert -O qcow2 %s NEW.qcow2",
				ErrImage, file.Name(), backing, file.Name())
		case len(c.layers) == maxLayers:
			return fmt.Errorf("%w: %s: more than %d backing files", ErrImage, file.Name(), maxLayers-1)
		}
		below, err := openFile(backing, false)
		if err != nil {
			return fmt.Errorf("%w: backing file of %s: %w", ErrImage, file.Name(), err)
		}
		c.about.Backing = append(c.about.Backing, backing)
		if format == FormatRaw.String() {
			return c.addRaw(below)
		}
		file = below
	}
}

// add adds a qcow2 layer, and returns what it stands on: path and format.
func (c *chain) add(file *os.File) (backing, format string, err error) {
	c.layers = append(c.layers, layer{file: file})
	l := &c.layers[len(c.layers)-1]
	fileSize, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return "", "", err
	}
	header, err := readQCOW2Header(file, fileSize)
	if err != nil {
		return "", "", err
	}
	image, err := qcow2.Open(alone{file, fileSize}, nil)
	if err == nil {
		err = image.Readable()
	}
	if err != nil {
		return "", "", err
	}
	l.image, l.size, l.cluster = image, header.size, 1<<header.clusterBits
	l.unpacks = lru.New[int64, []byte](max(2, cacheBytes>>header.clusterBits))
	if header.backing == "" {
		return "", "", nil
	}
	return resolve(file.Name(), header.backing, string(image.BackingFileFormat))
}

// resolve finds the path of the backing file that an image names.
func resolve(image, name, format string) (string, string, error) {
	switch {
	case strings.HasPrefix(name, "json:") || strings.Contains(name, "://"):
		return "", "", fmt.Errorf("its backing file is no file: %q", name)
	case strings.ContainsRune(name, 0):
		return "", "", fmt.Errorf("its backing file has a NUL in its name: %q", name)
	case format == "":
		// Told by content, it would be told by whoever wrote the content.
		return "", "", fmt.Errorf("it does not say the format of its backing file %q: qemu-img rebase -u -b NAME -F FORMAT writes it down", name)
	case format != FormatRaw.String() && format != FormatQCOW2.String():
		return "", "", fmt.Errorf("its backing file %q is %q: raw and qcow2 are read", name, format)
	case !filepath.IsAbs(name):
		name = filepath.Join(filepath.Dir(image), name)
	}
	return name, format, nil
}

func (c *chain) addRaw(file *os.File) error {
	c.layers = append(c.layers, layer{file: file})
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("disk: size of %s: %w", file.Name(), err)
	}
	c.layers[len(c.layers)-1].size = size
	return nil
}

// alone is a qcow2 file that names no backing file: layers are read here one
// by one. A cluster that the file's end cuts reads as zero behind it.
type alone struct {
	file io.ReaderAt
	size int64
}

// Where a header names the backing file.
const backingAt, backingEnd = 8, 20

// ReadAt implements io.ReaderAt.
func (a alone) ReadAt(p []byte, off int64) (int, error) {
	n, err := a.file.ReadAt(p, off)
	if err == io.EOF && off < a.size {
		clear(p[n:])
		n, err = len(p), nil
	}
	if from, to := max(off, backingAt), min(off+int64(n), backingEnd); from < to {
		clear(p[from-off : to-off])
	}
	return n, err
}

// Describe implements [Image].
func (c *chain) Describe() Description { return c.about }

// Size implements [blk.Backend].
func (c *chain) Size() int64 { return c.about.Size }

// Close implements [Image].
func (c *chain) Close() error {
	var err error
	for _, l := range c.layers {
		unlock(l.file)
		if e := l.file.Close(); err == nil {
			err = e
		}
	}
	c.layers = nil
	return err
}

// ReadAt implements [blk.Backend].
func (c *chain) ReadAt(segments [][]byte, off int64) (int, error) {
	done := 0
	for _, s := range segments {
		if err := c.read(0, s, off+int64(done)); err != nil {
			return done, err
		}
		done += len(s)
	}
	return done, nil
}

// TryReadAt implements [blk.PromptReader]: finding a cluster may have to wait
// for tables, and unpacking one takes long.
func (c *chain) TryReadAt([][]byte, int64) (int, error) { return 0, blk.ErrWouldBlock }

// read fills p from off of layer n. What lies behind the end of a layer is zero.
func (c *chain) read(n int, p []byte, off int64) error {
	if n == len(c.layers) {
		clear(p)
		return nil
	}
	l := &c.layers[n]
	if past := off + int64(len(p)) - l.size; past > 0 {
		inside := max(0, int64(len(p))-past)
		clear(p[inside:])
		p = p[:inside]
	}
	if l.image == nil {
		_, err := l.file.ReadAt(p, off)
		return err
	}
	for len(p) > 0 {
		m, err := c.readExtent(n, p, off)
		if err != nil {
			return err
		}
		p, off = p[m:], off+int64(m)
	}
	return nil
}

// readExtent fills the start of p, as far as the clusters of the layer that it
// lies in are of one kind.
func (c *chain) readExtent(n int, p []byte, off int64) (int, error) {
	l := &c.layers[n]
	start := off - off%l.cluster
	end := min(off+int64(len(p)), l.size)
	extent, err := l.image.Extent(start, end-start)
	if err != nil {
		return 0, err
	}
	m := int(min(int64(len(p)), start+extent.Length-off))
	if m <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	p = p[:m]
	switch {
	case !extent.Allocated:
		return m, c.read(n+1, p, off)
	case extent.Zero:
		clear(p)
		return m, nil
	case extent.Compressed:
		return l.unpacked(p, off)
	}
	if got, err := l.image.ReadAt(p, off); got < m {
		return 0, short(err)
	}
	return m, nil
}

func short(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// unpacked copies from the compressed cluster that off lies in.
func (l *layer) unpacked(p []byte, off int64) (int, error) {
	start := off - off%l.cluster
	cluster, ok := l.unpacks.Get(start)
	if !ok {
		cluster = make([]byte, min(l.cluster, l.size-start))
		if n, err := l.image.ReadAt(cluster, start); n < len(cluster) {
			return 0, short(err)
		}
		l.unpacks.Add(start, cluster)
	}
	return copy(p, cluster[off-start:]), nil
}

// WriteAt implements [blk.Backend].
func (c *chain) WriteAt([][]byte, int64) (int, error) { return 0, unix.EROFS }

// Sync implements [blk.Backend].
func (c *chain) Sync() error { return nil }

// Discard implements [blk.Backend].
func (c *chain) Discard(int64, int64) error { return unix.EROFS }

// WriteZeroes implements [blk.Backend].
func (c *chain) WriteZeroes(int64, int64, bool) error { return unix.EROFS }
