package bootable

import (
	"bytes"
	"fmt"
	"io/fs"
)

// ext is an ext2, ext3 or ext4 file system (the kernel's
// Documentation/filesystems/ext4).
type ext struct {
	section
	block      int64 // bytes
	perGroup   uint32
	inodes     uint32
	inodeSize  int64
	tables     int64 // of group descriptors, in bytes from the start
	descriptor int64 // bytes
	wide       bool  // block numbers of 64 bits in descriptors
}

// Features that say how it is to be read.
const (
	incompatCompression = 1 << 0
	incompatJournalDev  = 1 << 3
	incompatMetaBG      = 1 << 4
	incompatExtents     = 1 << 6
	incompat64Bit       = 1 << 7
	incompatDirData     = 1 << 12
	incompatKnown       = 1<<18 - 1

	compatJournal = 1 << 2
)

// Of an inode.
const (
	inodeRoot    = 2
	inodeBytes   = 128 // the smallest
	inodeMap     = 40  // where its blocks are
	inodeMapSize = 60

	flagEncrypted = 1 << 11
	flagExtents   = 1 << 19
	flagInline    = 1 << 28
)

func openExt(s section) (fileSystem, string, error) {
	b, err := readBytes(s, 1024, 1024)
	if err != nil {
		return nil, "", err
	}
	incompat, name := u32(b, 0x60), "ext2"
	switch {
	case incompat&incompatExtents != 0:
		name = "ext4"
	case u32(b, 0x5c)&compatJournal != 0:
		name = "ext3"
	}
	if odd := incompat & (incompatCompression | incompatJournalDev | incompatMetaBG | incompatDirData); odd != 0 || incompat&^incompatKnown != 0 {
		return nil, "", fmt.Errorf("%s with features that are not read, %#x", name, odd|incompat&^incompatKnown)
	}
	shift := u32(b, 0x18)
	if shift > 6 {
		return nil, "", fmt.Errorf("%s with blocks of 2^%d bytes", name, uint64(shift)+10)
	}
	e := &ext{
		section: s, block: 1024 << shift, perGroup: u32(b, 0x28), inodes: u32(b, 0), inodeSize: inodeBytes, descriptor: 32,
	}
	if u32(b, 0x4c) > 0 {
		e.inodeSize = int64(u16(b, 0x58))
	}
	if incompat&incompat64Bit != 0 {
		e.descriptor = int64(u16(b, 0xfe))
	}
	e.wide = e.descriptor >= 64
	e.tables = (int64(u32(b, 0x14)) + 1) * e.block
	if e.perGroup == 0 || e.inodeSize < inodeBytes || e.inodeSize > e.block || e.descriptor < 32 || e.descriptor > e.block {
		return nil, "", fmt.Errorf("%s with a damaged superblock", name)
	}
	return e, name, nil
}

func (e *ext) root() (node, error) { return e.node(inodeRoot) }

// inode reads an inode.
func (e *ext) inode(number uint64) ([]byte, error) {
	if number == 0 || number > uint64(e.inodes) {
		return nil, fmt.Errorf("%w: inode %d", ErrDisk, number)
	}
	group, index := int64((number-1)/uint64(e.perGroup)), int64((number-1)%uint64(e.perGroup))
	d, err := readBytes(e, e.tables+group*e.descriptor, int(min(e.descriptor, 64)))
	if err != nil {
		return nil, err
	}
	table := uint64(u32(d, 8))
	if e.wide {
		table |= uint64(u32(d, 0x28)) << 32
	}
	off, err := e.at(table)
	if err != nil {
		return nil, err
	}
	return readBytes(e, off+index*e.inodeSize, int(e.inodeSize))
}

// at is where a block is, in bytes.
func (e *ext) at(block uint64) (int64, error) {
	if block == 0 || block >= uint64(e.n/e.block) {
		return 0, fmt.Errorf("%w: block %d", ErrDisk, block)
	}
	return int64(block) * e.block, nil
}

func (e *ext) node(number uint64) (node, error) {
	b, err := e.inode(number)
	if err != nil {
		return node{}, err
	}
	n := node{id: number, size: int64(uint64(u32(b, 4)) | uint64(u32(b, 0x6c))<<32)}
	if n.size < 0 {
		return node{}, fmt.Errorf("%w: inode %d of %d bytes", ErrDisk, number, uint64(n.size))
	}
	switch u16(b, 0) >> 12 {
	case 8:
		n.kind = kindFile
	case 4:
		n.kind = kindDirectory
	case 10:
		n.kind = kindLink
	}
	return n, nil
}

// content implements fileSystem. Its caller has judged the size.
func (e *ext) content(n node) ([]byte, error) {
	b, err := e.inode(n.id)
	if err != nil {
		return nil, err
	}
	flags, blocks := u32(b, 0x20), b[inodeMap:][:inodeMapSize]
	switch {
	case flags&flagEncrypted != 0:
		return nil, fmt.Errorf("%w: it is encrypted", ErrDisk)
	case flags&flagInline != 0:
		return inline(b, n.size)
	case n.kind == kindLink && n.size < inodeMapSize && flags&flagExtents == 0:
		return bytes.Clone(blocks[:n.size]), nil
	}
	content := make([]byte, n.size)
	if flags&flagExtents != 0 {
		return content, e.extents(content, blocks, -1)
	}
	return content, e.mapped(content, blocks)
}

const (
	attributes     = 0xea020000 // begins those in an inode
	attributeBytes = 16         // of an entry before its name
	indexSystem    = 7          // "system."
)

// inline is the content of a file that lies in its inode: in the place of the
// map of blocks, and what does not fit in the attribute system.data.
func inline(inode []byte, size int64) ([]byte, error) {
	content := bytes.Clone(inode[inodeMap:][:inodeMapSize])
	if size <= inodeMapSize {
		return content[:size], nil
	}
	if len(inode) >= inodeBytes+4 {
		if at := inodeBytes + int(u16(inode, inodeBytes)) + 4; at <= len(inode) && u32(inode, at-4) == attributes {
			content = append(content, systemData(inode[at:])...)
		}
	}
	if int64(len(content)) < size {
		return nil, fmt.Errorf("%w: an inode with a part of its content", ErrDisk)
	}
	return content[:size], nil
}

// systemData is the value of an attribute among b; nil if it is not there.
func systemData(b []byte) []byte {
	for e := b; len(e) >= attributeBytes && u32(e, 0) != 0; {
		name, off, n := int(e[0]), int64(u16(e, 2)), int64(u32(e, 8))
		end := (attributeBytes + name + 3) &^ 3
		if end > len(e) {
			break
		}
		if e[1] == indexSystem && string(e[attributeBytes:][:name]) == "data" && off+n <= int64(len(b)) {
			return b[off : off+n]
		}
		e = e[end:]
	}
	return nil
}

const (
	extentMagic    = 0xf30a
	extentBytes    = 12
	maxExtentDepth = 5
	// unwritten is added to the length of an extent that reads as zero.
	unwritten = 32768
)

// extents fills content by the extent tree whose node b is at depth, -1 for the
// root: its own depth is then believed.
func (e *ext) extents(content, b []byte, depth int) error {
	count, here := int(u16(b, 2)), int(u16(b, 6))
	if u16(b, 0) != extentMagic || (count+1)*extentBytes > len(b) || here > maxExtentDepth || depth >= 0 && here != depth {
		return fmt.Errorf("%w: a node of an extent tree", ErrDisk)
	}
	for i := range count {
		entry := b[(i+1)*extentBytes:][:extentBytes]
		logical := int64(u32(entry, 0)) * e.block
		if here > 0 {
			child, err := e.readBlock(uint64(u32(entry, 4)) | uint64(u16(entry, 8))<<32)
			if err != nil {
				return err
			}
			if err := e.extents(content, child, here-1); err != nil {
				return err
			}
			continue
		}
		blocks := int64(u16(entry, 4))
		if blocks > unwritten || logical >= int64(len(content)) {
			continue // reads as zero, or lies behind the end
		}
		into := content[logical:]
		into = into[:min(int64(len(into)), blocks*e.block)]
		if err := e.readInto(into, uint64(u32(entry, 8))|uint64(u16(entry, 6))<<32); err != nil {
			return err
		}
	}
	return nil
}

func (e *ext) readBlock(block uint64) ([]byte, error) {
	b := make([]byte, e.block)
	return b, e.readInto(b, block)
}

func (e *ext) readInto(p []byte, block uint64) error {
	off, err := e.at(block)
	if err == nil {
		_, err = e.ReadAt(p, off)
	}
	return err
}

// mapped fills content by the block map of ext2: 12 blocks, then a tree each
// of depth 1, 2 and 3.
func (e *ext) mapped(content, blocks []byte) error {
	off := int64(0)
	for i := range inodeMapSize / 4 {
		if err := e.subtree(content, &off, u32(blocks, 4*i), max(0, i-11)); err != nil {
			return err
		}
	}
	return nil
}

// subtree fills what a block of the map stands for, from *off on.
func (e *ext) subtree(content []byte, off *int64, block uint32, depth int) error {
	if *off >= int64(len(content)) {
		return nil
	}
	if block == 0 { // a hole
		n := e.block
		for range depth {
			n *= e.block / 4
		}
		*off += n
		return nil
	}
	if depth == 0 {
		into := content[*off:]
		*off += e.block
		return e.readInto(into[:min(int64(len(into)), e.block)], uint64(block))
	}
	b, err := e.readBlock(uint64(block))
	if err != nil {
		return err
	}
	for i := range len(b) / 4 {
		if err := e.subtree(content, off, u32(b, 4*i), depth-1); err != nil {
			return err
		}
	}
	return nil
}

// each calls do for the names in a directory until it returns false. A hashed
// directory's own blocks look like empty ones.
func (e *ext) each(dir node, do func(name string, number uint64) bool) error {
	if dir.size > maxDirectory {
		return fmt.Errorf("%w: a directory of %d bytes", ErrDisk, dir.size)
	}
	content, err := e.content(dir)
	if err != nil {
		return err
	}
	inode, err := e.inode(dir.id)
	if err != nil {
		return err
	}
	size := e.block
	if u32(inode, 0x20)&flagInline != 0 && len(content) >= 4 {
		// Its parent's number, then as if two blocks: in the map's place, and
		// in the attribute.
		content, size = content[4:], inodeMapSize-4
	}
	for len(content) > 0 {
		block := content[:min(int64(len(content)), size)]
		size = e.block
		content = content[len(block):]
		for len(block) >= 8 {
			n, name := int(u16(block, 4)), int(block[6])
			if n == 0 || n == 65535 { // of blocks of 64 KiB
				n = len(block)
			}
			if n < 8 || n > len(block) || name > n-8 {
				return fmt.Errorf("%w: a directory entry of %d bytes", ErrDisk, n)
			}
			if number := u32(block, 0); number != 0 && !do(string(block[8:8+name]), uint64(number)) {
				return nil
			}
			block = block[n:]
		}
	}
	return nil
}

func (e *ext) lookup(dir node, name string) (node, error) {
	number := uint64(0)
	if err := e.each(dir, func(entry string, n uint64) bool {
		if entry == name {
			number = n
		}
		return number == 0
	}); err != nil {
		return node{}, err
	}
	if number == 0 {
		return node{}, fs.ErrNotExist
	}
	return e.node(number)
}

func (e *ext) names(dir node) (names []string, err error) {
	err = e.each(dir, func(name string, _ uint64) bool {
		names = append(names, name)
		return len(names) < maxNames
	})
	return names, err
}
