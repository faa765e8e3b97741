package bootable

import (
	"fmt"
	"io/fs"
	"math/bits"
	"strings"
	"unicode/utf16"
)

// fat is a FAT12, FAT16 or FAT32 file system.
type fat struct {
	section
	width    int   // bits of a table's entry
	table    int64 // where the first one is, in bytes
	fixed    int64 // where the root directory is, of FAT12 and FAT16
	fixedLen int64
	data     int64 // where cluster 2 is
	cluster  int64 // bytes
	clusters uint32
	start    uint32 // the root directory's cluster, of FAT32

	window   []byte // of the table
	windowAt int64
}

const (
	firstCluster = 2
	fatWindow    = 4096
	fatEntry     = 32

	attrVolume    = 1 << 3
	attrDirectory = 1 << 4
	attrLong      = 0x0f

	// fixedRoot is the id of a root directory that is not in clusters.
	fixedRoot = 1 << 32
)

// isFAT tells a FAT boot sector by its fields: the names in it are not to be
// relied on (Microsoft's FAT specification, §3.1).
func isFAT(b []byte) bool {
	if len(b) < sector || b[510] != 0x55 || b[511] != 0xaa || b[0] != 0xeb && b[0] != 0xe9 {
		return false
	}
	bytes, perCluster, media := u16(b, 11), b[13], b[21]
	return bytes >= 512 && bytes <= 4096 && bits.OnesCount16(bytes) == 1 && bits.OnesCount8(perCluster) == 1 &&
		u16(b, 14) != 0 && b[16] >= 1 && b[16] <= 4 && (media == 0xf0 || media >= 0xf8) &&
		(u16(b, 22) != 0 || u32(b, 36) != 0)
}

func openFAT(s section) (fileSystem, string, error) {
	b, err := readBytes(s, 0, sector)
	if err != nil {
		return nil, "", err
	}
	size := int64(u16(b, 11))
	sectors, perTable := int64(u16(b, 19)), int64(u16(b, 22))
	if sectors == 0 {
		sectors = int64(u32(b, 32))
	}
	f := &fat{section: s, cluster: size * int64(b[13]), windowAt: -1}
	if perTable == 0 {
		f.width, perTable, f.start = 32, int64(u32(b, 36)), u32(b, 44)
	}
	f.table = int64(u16(b, 14)) * size
	f.fixed = f.table + int64(b[16])*perTable*size
	f.fixedLen = int64(u16(b, 17)) * fatEntry
	f.data = f.fixed + (f.fixedLen+size-1)/size*size
	clusters := (min(sectors*size, s.n) - f.data) / f.cluster
	if clusters <= 0 || clusters > 1<<28 {
		return nil, "", fmt.Errorf("FAT with a damaged boot sector")
	}
	if f.width == 0 {
		f.width = 16
		if clusters < 4085 {
			f.width = 12
		}
	}
	// A table that is too short has no entries for the last clusters.
	f.clusters = uint32(max(0, min(clusters, perTable*size*8/int64(f.width)-firstCluster)))
	return f, fmt.Sprintf("FAT%d", f.width), nil
}

func (f *fat) root() (node, error) {
	n := node{kind: kindDirectory, id: uint64(f.start)}
	if f.width != 32 {
		n.id, n.size = fixedRoot, f.fixedLen
	}
	return n, nil
}

func (f *fat) valid(c uint32) bool { return c >= firstCluster && c-firstCluster < f.clusters }

// next is the cluster behind c; one that is not valid is the end.
func (f *fat) next(c uint32) (uint32, error) {
	at := int64(c) * int64(f.width) / 8
	b, err := f.tableAt(at)
	if err != nil {
		return 0, err
	}
	switch f.width {
	case 32:
		return (uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24) & 0x0fffffff, nil
	case 16:
		return uint32(b[0]) | uint32(b[1])<<8, nil
	}
	v := uint32(b[0]) | uint32(b[1])<<8
	if c%2 != 0 {
		return v >> 4, nil
	}
	return v & 0xfff, nil
}

// tableAt is 4 bytes of the table. It keeps a window of it.
func (f *fat) tableAt(at int64) (b [4]byte, err error) {
	if f.windowAt < 0 || at < f.windowAt || at+4 > f.windowAt+int64(len(f.window)) {
		f.windowAt = -1
		f.window, err = readBytes(f, f.table+at, int(min(fatWindow, f.n-f.table-at)))
		if err != nil {
			return b, err
		}
		f.windowAt = at
	}
	copy(b[:], f.window[at-f.windowAt:])
	return b, nil
}

// chain reads up to limit bytes of the clusters from c on. It returns less if
// the chain ends.
func (f *fat) chain(c uint32, limit int64) ([]byte, error) {
	content := []byte{}
	for int64(len(content)) < limit && f.valid(c) {
		first, count, follow := c, int64(0), uint32(0)
		for {
			var err error
			count++
			if follow, err = f.next(c); err != nil {
				return nil, err
			}
			if follow != c+1 || !f.valid(follow) || int64(len(content))+count*f.cluster >= limit || count*f.cluster >= 4<<20 {
				break
			}
			c = follow
		}
		have := int64(len(content))
		content = append(content, make([]byte, min(count*f.cluster, limit-have))...)
		if _, err := f.ReadAt(content[have:], f.data+int64(first-firstCluster)*f.cluster); err != nil {
			return nil, err
		}
		c = follow
	}
	return content, nil
}

func (f *fat) content(n node) ([]byte, error) {
	if n.id == fixedRoot {
		return readBytes(f, f.fixed, int(n.size))
	}
	if n.kind == kindDirectory {
		return f.chain(uint32(n.id), maxDirectory)
	}
	b, err := f.chain(uint32(n.id), n.size)
	if err == nil && int64(len(b)) < n.size {
		err = fmt.Errorf("%w: it has %d bytes of clusters for %d bytes", ErrDisk, len(b), n.size)
	}
	return b, err
}

// each calls do for the entries of a directory until it returns false.
func (f *fat) each(dir node, do func(name string, n node) bool) error {
	content, err := f.content(dir)
	if err != nil {
		return err
	}
	var long longName
	for ; len(content) >= fatEntry; content = content[fatEntry:] {
		e := content[:fatEntry]
		switch {
		case e[0] == 0:
			return nil
		case e[0] == 0xe5:
			long = longName{}
			continue
		case e[11]&0x3f == attrLong:
			long.add(e)
			continue
		case e[11]&attrVolume != 0:
			long = longName{}
			continue
		}
		n := node{kind: kindFile, size: int64(u32(e, 28)), id: uint64(u16(e, 26))}
		if f.width == 32 {
			n.id |= uint64(u16(e, 20)) << 16
		}
		if e[11]&attrDirectory != 0 {
			n.kind, n.size = kindDirectory, 0
		}
		if !do(long.or(e), n) {
			return nil
		}
		long = longName{}
	}
	return nil
}

// longName gathers a long name, whose parts come last first.
type longName struct {
	units []uint16
	next  byte // the number of the part that is expected; 0 is none
	sum   byte
}

func (l *longName) add(e []byte) {
	number := e[0] & 0x3f
	if e[0]&0x40 != 0 {
		*l = longName{next: number, sum: e[13]}
	}
	if number == 0 || number > 20 || number != l.next || e[13] != l.sum {
		*l = longName{}
		return
	}
	var part []uint16
	for _, span := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
		for at := span[0]; at < span[1]; at += 2 {
			part = append(part, u16(e, at))
		}
	}
	l.units = append(part, l.units...)
	l.next--
}

// or is the long name if it is whole and e's, else e's short one.
func (l *longName) or(e []byte) string {
	sum := byte(0)
	for _, c := range e[:11] {
		sum = sum<<7 | sum>>1
		sum += c
	}
	if len(l.units) > 0 && l.next == 0 && sum == l.sum {
		units := l.units
		for i, u := range units {
			if u == 0 {
				units = units[:i]
				break
			}
		}
		return string(utf16.Decode(units))
	}
	name, suffix := strings.TrimRight(string(e[:8]), " "), strings.TrimRight(string(e[8:11]), " ")
	if e[12]&0x08 != 0 {
		name = strings.ToLower(name)
	}
	if e[12]&0x10 != 0 {
		suffix = strings.ToLower(suffix)
	}
	if suffix != "" {
		name += "." + suffix
	}
	return name
}

func (f *fat) lookup(dir node, name string) (found node, err error) {
	ok := false
	if err := f.each(dir, func(entry string, n node) bool {
		if ok = strings.EqualFold(entry, name); ok {
			found = n
		}
		return !ok
	}); err != nil {
		return node{}, err
	}
	if !ok {
		return node{}, fs.ErrNotExist
	}
	return found, nil
}

func (f *fat) names(dir node) (names []string, err error) {
	err = f.each(dir, func(name string, _ node) bool {
		names = append(names, name)
		return len(names) < maxNames
	})
	return names, err
}
