package kvm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrStats says that a statistics file does not have the documented format.
var ErrStats = errors.New("kvm: malformed statistics")

// StatKind is how a counter behaves.
type StatKind uint32

// Kinds of counters.
const (
	StatCumulative StatKind = statsTypeCumulative // only grows
	StatInstant    StatKind = statsTypeInstant    // a level
	StatPeak       StatKind = statsTypePeak       // the highest level yet
	StatLinearHist StatKind = statsTypeLinearHist // buckets of BucketSize
	StatLogHist    StatKind = statsTypeLogHist    // buckets 0, 1, 2-3, 4-7, …
)

// StatUnit is what a counter counts, before its exponent.
type StatUnit uint32

// Units of counters.
const (
	StatNone    StatUnit = statsUnitNone // events
	StatBytes   StatUnit = statsUnitBytes
	StatSeconds StatUnit = statsUnitSeconds
	StatCycles  StatUnit = statsUnitCycles
	StatBoolean StatUnit = statsUnitBoolean
)

// StatDesc describes one counter (struct kvm_stats_desc).
type StatDesc struct {
	Name       string
	Kind       StatKind
	Unit       StatUnit
	Binary     bool  // the exponent is of 2, else of 10
	Exponent   int16 // nanoseconds are StatSeconds with -9
	Buckets    int   // values: 1, or a histogram's buckets
	BucketSize uint32

	offset int // bytes from the start of the data block
}

// Histogram tells whether the counter is a histogram.
func (d *StatDesc) Histogram() bool { return d.Kind == StatLinearHist || d.Kind == StatLogHist }

// Stats are the counters of a VM or vCPU. They outlive it; close them on their
// own. Methods may be called from any goroutine, while the vCPU runs.
type Stats struct {
	descriptor
	descs      []StatDesc
	index      map[string]int
	dataOffset int64

	mu   sync.Mutex
	data []byte // the data block as last read
}

func openStats(d *descriptor) (*Stats, error) {
	fd, err := d.ioctl(reqGetStatsFD, 0)
	if err != nil {
		return nil, err
	}
	s := new(Stats)
	s.init(fd)
	if err := s.load(readerAt{&s.descriptor}); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// readerAt is pread on a descriptor.
type readerAt struct{ *descriptor }

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := unix.Pread(r.FD(), p, off)
	if err == nil && n < len(p) {
		err = io.ErrUnexpectedEOF
	}
	return max(n, 0), err
}

const (
	statsHeaderSize = 24 // struct kvm_stats_header
	statsDescSize   = 16 // struct kvm_stats_desc without its name
	maxStatsName    = 4096
	maxStats        = 1 << 16
)

// load reads header and descriptors.
func (s *Stats) load(r io.ReaderAt) error {
	var header [statsHeaderSize]byte
	if _, err := r.ReadAt(header[:], 0); err != nil {
		return fmt.Errorf("kvm: statistics header: %w", err)
	}
	u32 := func(off int) uint32 { return binary.LittleEndian.Uint32(header[off:]) }
	nameSize, count, descOffset, dataOffset := u32(4), u32(8), u32(16), u32(20)
	if nameSize == 0 || nameSize > maxStatsName || count > maxStats {
		return fmt.Errorf("%w: %d names of %d bytes", ErrStats, count, nameSize)
	}
	each := statsDescSize + int(nameSize)
	block := make([]byte, int(count)*each)
	if _, err := r.ReadAt(block, int64(descOffset)); err != nil {
		return fmt.Errorf("kvm: statistics descriptors: %w", err)
	}
	s.dataOffset = int64(dataOffset)
	s.index = make(map[string]int, count)
	size := 0
	for i := range int(count) {
		d := parseStatDesc(block[i*each : (i+1)*each])
		end := d.offset + 8*d.Buckets
		if d.Buckets == 0 || end > maxStats*8 {
			return fmt.Errorf("%w: %q has %d values at %d", ErrStats, d.Name, d.Buckets, d.offset)
		}
		size = max(size, end)
		s.index[d.Name] = i
		s.descs = append(s.descs, d)
	}
	s.data = make([]byte, size)
	return nil
}

func parseStatDesc(b []byte) StatDesc {
	flags := binary.LittleEndian.Uint32(b)
	name, _, _ := bytes.Cut(b[statsDescSize:], []byte{0})
	return StatDesc{
		Name:       string(name),
		Kind:       StatKind(flags & statsTypeMask),
		Unit:       StatUnit(flags & statsUnitMask),
		Binary:     flags&statsBaseMask == statsBasePow2,
		Exponent:   int16(binary.LittleEndian.Uint16(b[4:])),
		Buckets:    int(binary.LittleEndian.Uint16(b[6:])),
		BucketSize: binary.LittleEndian.Uint32(b[12:]),
		offset:     int(binary.LittleEndian.Uint32(b[8:])),
	}
}

// Descs returns the counters' descriptions, in the order of [Stats.Read]. The
// caller does not change them.
func (s *Stats) Descs() []StatDesc { return s.descs }

// Names returns the counters' names, in the order of [Stats.Read].
func (s *Stats) Names() []string {
	names := make([]string, len(s.descs))
	for i := range s.descs {
		names[i] = s.descs[i].Name
	}
	return names
}

// Index returns the place of a counter in what [Stats.Read] stores. Which
// counters exist depends on the kernel (kvm-hosts.md §3).
func (s *Stats) Index(name string) (int, bool) {
	i, ok := s.index[name]
	return i, ok
}

// Read stores the counters' values at one moment, as many as dst has room for,
// and returns how many. A histogram is stored as the sum of its buckets: the
// number of samples. It does not allocate.
func (s *Stats) Read(dst []uint64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(); err != nil {
		return 0, err
	}
	n := min(len(dst), len(s.descs))
	for i := range n {
		dst[i] = s.sum(&s.descs[i])
	}
	return n, nil
}

// Snapshot returns the counters' values by name, as [Stats.Read] has them.
func (s *Stats) Snapshot() (map[string]uint64, error) {
	values := make([]uint64, len(s.descs))
	if _, err := s.Read(values); err != nil {
		return nil, err
	}
	m := make(map[string]uint64, len(values))
	for i, v := range values {
		m[s.descs[i].Name] = v
	}
	return m, nil
}

// Histogram returns the buckets of a histogram, nil if there is none of that
// name.
func (s *Stats) Histogram(name string) ([]uint64, error) {
	i, ok := s.index[name]
	if !ok || !s.descs[i].Histogram() {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(); err != nil {
		return nil, err
	}
	buckets := make([]uint64, s.descs[i].Buckets)
	for b := range buckets {
		buckets[b] = s.value(&s.descs[i], b)
	}
	return buckets, nil
}

// refresh reads the data block; mu is held.
func (s *Stats) refresh() error {
	n, err := unix.Pread(s.FD(), s.data, s.dataOffset)
	if err != nil {
		return fmt.Errorf("kvm: read statistics: %w", err)
	}
	if n < len(s.data) {
		return fmt.Errorf("%w: %d bytes of data, want %d", ErrStats, n, len(s.data))
	}
	return nil
}

func (s *Stats) sum(d *StatDesc) uint64 {
	var sum uint64
	for b := range d.Buckets {
		sum += s.value(d, b)
	}
	return sum
}

func (s *Stats) value(d *StatDesc, bucket int) uint64 {
	return binary.LittleEndian.Uint64(s.data[d.offset+8*bucket:])
}
