package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// Geometry of the file system.
const (
	blockSize     = 4096
	inodeSize     = 256
	bytesPerInode = 16384 // mke2fs's own ratio
	journalBytes  = 8 << 20
	mountedOffset = 1024 + 0x2c // s_mtime of the superblock, the time of the last mount
)

// errSpace is a disk too small for its files.
var errSpace = errors.New("image: the files do not fit")

// A filesystem is ext4 in a part of a host file.
type filesystem struct {
	path          string
	offset, bytes int64
	uuid, label   string
	epoch         time.Time
}

// make creates the file system and fills it with the tree's files. Every time in it is the
// epoch or a file's own, every UUID given, so that the same tree makes the same bytes.
func (x *filesystem) make(ctx context.Context, t *tree, dir string) error {
	if err := x.fits(t); err != nil {
		return err
	}
	inodes := max(int(x.bytes/bytesPerInode), len(t.entries)*5/4+64)
	options := fmt.Sprintf("offset=%d,hash_seed=%s,root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard", x.offset, x.uuid)
	err := x.tool(ctx, "mke2fs", "-q", "-F", "-t", "ext4", "-b", strconv.Itoa(blockSize), "-I", strconv.Itoa(inodeSize),
		"-N", strconv.Itoa(inodes), "-m", "0", "-J", fmt.Sprintf("size=%d", journalBytes>>20), "-U", x.uuid, "-L", x.label,
		"-E", options, x.path, strconv.FormatInt(x.bytes/blockSize, 10))
	if err != nil {
		return err
	}
	script, err := x.script(t, dir)
	if err != nil {
		return err
	}
	return x.tool(ctx, "debugfs", "-w", "-f", script, fmt.Sprintf("%s?offset=%d", x.path, x.offset))
}

// fits judges the size before anything is written.
func (x *filesystem) fits(t *tree) error {
	_, files := t.bytes()
	inodes := max(x.bytes/bytesPerInode, int64(len(t.entries)*5/4+64)) * inodeSize
	const slack = 4 << 20 // block groups' descriptors and bitmaps, room to live
	if need := files + inodes + journalBytes + slack; need > x.bytes {
		return fmt.Errorf("%w: they need %d MiB, the disk has %d", errSpace, (need+gap*2)>>20+1, (x.bytes+gap*2)>>20)
	}
	return nil
}

// script is debugfs's commands for the tree, in a file. A file's content is copied from the
// host; what is not in another file already is put into dir.
func (x *filesystem) script(t *tree, dir string) (path string, err error) {
	var b, links bytes.Buffer
	count := make(map[string]int)
	set := func(name, field string, value any) {
		fmt.Fprintf(&b, "set_inode_field \"/%s\" %s %v\n", name, field, value)
	}
	for _, name := range t.names() {
		e := t.entries[name]
		var kind uint32
		switch {
		case e.same != "":
			fmt.Fprintf(&links, "ln \"/%s\" \"/%s\"\n", e.same, name)
			count[e.same]++
			continue
		case e.mode.IsDir():
			kind = 0o040000
			fmt.Fprintf(&b, "mkdir \"/%s\"\n", name)
		case e.mode&fs.ModeSymlink != 0:
			kind = 0o120000
			fmt.Fprintf(&b, "symlink \"/%s\" \"%s\"\n", name, e.link)
		default:
			kind = 0o100000
			file := e.file
			if file == "" {
				file = fmt.Sprintf("%s/own-%d", dir, b.Len())
				if err := os.WriteFile(file, e.data, 0o600); err != nil {
					return "", err
				}
			}
			fmt.Fprintf(&b, "write \"%s\" \"/%s\"\n", file, name)
		}
		set(name, "mode", fmt.Sprintf("0%o", kind|permissions(e.mode)))
		if e.uid != 0 {
			set(name, "uid", e.uid)
		}
		if e.gid != 0 {
			set(name, "gid", e.gid)
		}
		if !e.mtime.Equal(x.epoch) {
			set(name, "mtime", fmt.Sprintf("@%d", e.mtime.Unix()))
		}
	}
	b.Write(links.Bytes())
	for _, name := range t.names() {
		if count[name] > 0 {
			set(name, "links_count", count[name]+1)
		}
	}
	path = dir + "/debugfs"
	return path, os.WriteFile(path, b.Bytes(), 0o600)
}

// permissions are a mode's low twelve bits, as inodes have them.
func permissions(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for _, special := range []struct {
		mode fs.FileMode
		bit  uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if mode&special.mode != 0 {
			bits |= special.bit
		}
	}
	return bits
}

// tool runs a program of e2fsprogs at the epoch. debugfs carries on after an error and
// tells it on standard error only, below a line with its version.
func (x *filesystem) tool(ctx context.Context, name string, arg ...string) error {
	path, err := tool(name)
	if err != nil {
		return fmt.Errorf("%w: %s; install e2fsprogs", ErrHost, name)
	}
	cmd := command(ctx, path, arg...)
	cmd.Env = append(cmd.Env, fmt.Sprintf("E2FSPROGS_FAKE_TIME=%d", x.epoch.Unix()), "MKE2FS_CONFIG="+x.path+".no-such-file")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err = cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := stderr.String()
	if name == "debugfs" {
		if _, rest, ok := strings.Cut(text, "\n"); ok && strings.HasPrefix(text, "debugfs ") {
			text = rest
		}
		if err == nil && text != "" {
			err = errors.New("not all files could be written")
		}
	}
	if err != nil {
		return fmt.Errorf("image: %s: %s: %w", name, firstLine(text), err)
	}
	return nil
}
