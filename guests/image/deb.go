package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ulikunitz/xz"
)

// staging is a folder for the contents of files, numbered: names, owners and modes are in
// the tree only.
type staging struct {
	dir  string
	next int
}

// keep copies content into the folder.
func (s *staging) keep(r io.Reader) (path string, size int64, err error) {
	s.next++
	path = filepath.Join(s.dir, fmt.Sprint(s.next))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, err
	}
	size, err = io.Copy(f, r)
	return path, size, errors.Join(err, f.Close())
}

// unpack adds a package's files to the tree, those that want does not refuse. A
// compressed module is unpacked too: the guest's modprobe loads only plain ones.
func (s *staging) unpack(ctx context.Context, t *tree, deb string, want func(name string) bool) error {
	cmd := command(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("image: dpkg-deb: %w", err)
	}
	err = s.untar(t, out, want)
	if err == nil {
		// What follows the archive's end: dpkg-deb must not die of a closed pipe.
		_, err = io.Copy(io.Discard, out)
	} else {
		_ = cmd.Process.Kill()
	}
	wait := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("image: %s: %w", filepath.Base(deb), err)
	case wait != nil:
		return fmt.Errorf("image: dpkg-deb: %s: %w", firstLine(stderr.String()), wait)
	}
	return nil
}

func (s *staging) untar(t *tree, r io.Reader, want func(name string) bool) error {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name, err := clean(h.Name)
		if err != nil {
			return err
		}
		if name == "" || !want(name) {
			continue
		}
		e := &entry{mode: h.FileInfo().Mode(), uid: h.Uid, gid: h.Gid, mtime: h.ModTime.Truncate(time.Second)}
		switch h.Typeflag {
		case tar.TypeDir:
		case tar.TypeSymlink:
			e.link = h.Linkname
		case tar.TypeLink:
			e.mode, e.same = e.mode.Perm(), h.Linkname
		case tar.TypeReg:
			if e.file, e.size, err = s.keepFile(&name, archive); err != nil {
				return fmt.Errorf("%s: %w", h.Name, err)
			}
		default:
			return fmt.Errorf("%w: %s: entries of type %q are not known", errTree, h.Name, h.Typeflag)
		}
		if strings.ContainsAny(e.link, "\"\n\r\x00") {
			return fmt.Errorf("%w: %s: a quotation mark or a line end in a link's target", errTree, h.Name)
		}
		if err := t.put(name, e); err != nil {
			return err
		}
	}
}

// keepFile keeps a file; a compressed module's name loses its ending.
func (s *staging) keepFile(name *string, r io.Reader) (path string, size int64, err error) {
	if plain, compressed := strings.CutSuffix(*name, ".ko.xz"); compressed {
		if r, err = xz.NewReader(r); err != nil {
			return "", 0, err
		}
		*name = plain + ".ko"
	}
	return s.keep(r)
}

// command is a tool of the host's, speaking English, asked to stop when ctx ends.
func command(ctx context.Context, name string, arg ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, arg...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 3 * time.Second
	return cmd
}

// tool is where a tool of the host's is; the folders for administrators need not be on a
// user's PATH.
func tool(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	return path, err
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}
