package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gvmm/guests/linux"
	"gvmm/vmm/disk"
)

// Errors of Build.
var (
	// ErrExists is a file in the way that Build would destroy.
	ErrExists = errors.New("image: the file is in the way")
	// ErrOption is an Options that cannot be built from.
	ErrOption = errors.New("image: option")
)

// Limits of Options.
const (
	DefaultSize = 1 << 30
	minSize     = 64 << 20
	maxSize     = 1 << 40
)

// Options is what to build. Output is required.
type Options struct {
	Output      string
	Flavour     Flavour  // [Cloud]
	Packages    []string // Debian packages besides, with what they depend on
	Size        int64    // of the disk, bytes, whole MiB [DefaultSize]
	UINTR       bool     // add the driver of user interrupts, and programs that use them, with their sources
	CommandLine string   // what follows root= ["rw console=ttyS0", and with UINTR " pti=off"]
	Force       bool     // replace whatever is at Output
	Cache       string   // folder for downloads, which may be removed at any time [gvmm in the user's cache folder]
	// Progress is told what goes on, and how much of it is done; both numbers are 0 where that is not known.
	Progress func(stage string, done, total int)
}

// A Result is a built image.
type Result struct {
	Manifest   *Manifest `json:"manifest"`
	Reused     bool      `json:"reused"`     // an image of the same inputs was there
	Used       bool      `json:"used"`       // and has been mounted since it was built
	Downloaded int64     `json:"downloaded"` // bytes
	Allocated  int64     `json:"allocated"`  // bytes that the sparse file takes
}

// build is one build as it goes on.
type build struct {
	Options
	apt      apt
	manifest Manifest
	own      map[string][]byte
	tree     *tree
}

// Build makes an image at o.Output, unless the one that is there has the same inputs. On an
// error, or when ctx ends, what was at o.Output is as before. A file there that Build did
// not make, or that was used since and would be replaced, is ErrExists.
func Build(ctx context.Context, o Options) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	distribution, err := host()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Cache, 0o755); err != nil {
		return nil, fmt.Errorf("image: cache: %w", err)
	}
	sweep(o.Cache)
	dir, err := os.MkdirTemp(o.Cache, "build-*")
	if err != nil {
		return nil, fmt.Errorf("image: cache: %w", err)
	}
	defer os.RemoveAll(dir)
	if strings.ContainsAny(dir, "\"\n?") {
		return nil, fmt.Errorf("%w: the cache's path %q has a character that debugfs cannot take", ErrOption, dir)
	}
	b := &build{Options: o, apt: apt{cache: o.Cache, dir: filepath.Join(dir, "apt")}, tree: newTree(time.Time{})}
	if err := os.Mkdir(b.apt.dir, 0o755); err != nil {
		return nil, err
	}
	b.Progress("resolving packages", 0, 0)
	if err := b.inputs(ctx, distribution); err != nil {
		return nil, err
	}
	r, err := b.present()
	if err != nil || r != nil {
		return r, err
	}
	downloaded, err := b.apt.fetch(ctx, slices.Concat(b.manifest.Packages, b.manifest.Headers), func(done, total int) { b.Progress("downloading", done, total) })
	if err != nil {
		return nil, err
	}
	if err := b.root(ctx, &staging{dir: dir}); err != nil {
		return nil, err
	}
	b.Progress("writing the file system", 0, 0)
	r = &Result{Manifest: &b.manifest, Downloaded: downloaded}
	r.Allocated, err = b.write(ctx, dir)
	return r, err
}

// sweep removes what builds staged that were killed, not stopped: none takes a day.
func sweep(cache string) {
	left, _ := filepath.Glob(filepath.Join(cache, "build-*"))
	for _, dir := range left {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() && time.Since(info.ModTime()) > 24*time.Hour {
			_ = os.RemoveAll(dir)
		}
	}
}

// check fills defaults in and judges the rest.
func (o *Options) check() (err error) {
	if o.Flavour == "" {
		o.Flavour = Cloud
	}
	if o.Size == 0 {
		o.Size = DefaultSize
	}
	if o.CommandLine == "" {
		o.CommandLine = defaultCommandLine
		if o.UINTR {
			o.CommandLine = uintrCommandLine
		}
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	if o.Cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("%w: no folder for downloads: %w", ErrOption, err)
		}
		o.Cache = filepath.Join(user, "gvmm")
	}
	if o.Cache, err = filepath.Abs(o.Cache); err != nil {
		return err
	}
	if _, err := o.Flavour.metapackage(); err != nil {
		return err
	}
	switch {
	case o.Output == "":
		return fmt.Errorf("%w: no output", ErrOption)
	case strings.ContainsAny(o.Output, "?\n"):
		return fmt.Errorf("%w: output %q: e2fsprogs takes no such name", ErrOption, o.Output)
	case o.Size%(1<<20) != 0 || o.Size < minSize || o.Size > maxSize:
		return fmt.Errorf("%w: a disk of %d bytes; whole MiB from %d to %d can be had", ErrOption, o.Size, minSize>>20, maxSize>>20)
	case strings.ContainsAny(o.CommandLine, "\n\x00"):
		return fmt.Errorf("%w: a command line is one line", ErrOption)
	}
	for _, p := range o.Packages {
		if !packageName.MatchString(p) {
			return fmt.Errorf("%w: %q is no package's name", ErrOption, p)
		}
	}
	return nil
}

var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9.+-]+$`)

// inputs fills the manifest in: what the image will be made from.
func (b *build) inputs(ctx context.Context, distribution string) (err error) {
	m := &b.manifest
	m.Distribution, m.Flavour, m.CommandLine, m.Size = distribution, b.Flavour, b.CommandLine, b.Size
	if m.Packages, m.Kernel, err = b.apt.resolve(ctx, b.Flavour, b.Packages); err != nil {
		return err
	}
	if b.own, err = own(); err != nil {
		return err
	}
	init, err := linux.InitramfsInit()
	if err != nil {
		return err
	}
	version, err := b.version(ctx)
	if err != nil {
		return err
	}
	m.Tools = map[string]string{"e2fsprogs": version}
	if b.UINTR {
		if err := b.uintrInputs(ctx); err != nil {
			return err
		}
	}
	m.Files = map[string]string{"initrd:/init": sum(init)}
	for path, data := range b.own {
		m.Files[path] = sum(data)
	}
	if text := os.Getenv("SOURCE_DATE_EPOCH"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return fmt.Errorf("%w: SOURCE_DATE_EPOCH=%s: seconds since 1970", ErrOption, text)
		}
		epoch := time.Unix(int64(seconds), 0).UTC()
		m.Epoch = &epoch
	}
	return m.seal()
}

// version is e2fsprogs's.
func (b *build) version(ctx context.Context) (string, error) {
	path, err := tool("mke2fs")
	if err != nil {
		return "", fmt.Errorf("%w: mke2fs; install e2fsprogs", ErrHost)
	}
	out, err := command(ctx, path, "-V").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("image: mke2fs: %w", err)
	}
	return firstLine(string(out)), nil
}

// runFile is the output of a program that was staged: one that apt has verified.
func (b *build) runFile(ctx context.Context, file string, arg ...string) ([]byte, error) {
	if err := os.Chmod(file, 0o700); err != nil {
		return nil, err
	}
	cmd := command(ctx, file, arg...)
	cmd.Args[0] = "busybox" // which applet it is, it tells by its name
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return nil, fmt.Errorf("image: busybox: %s: %w", firstLine(string(exit.Stderr)), err)
	}
	return out, err
}

// present judges what is at Output already: a result if it can stay, an error if it must.
func (b *build) present() (*Result, error) {
	info, err := os.Stat(b.Output)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(b.Output)); err != nil {
			return nil, fmt.Errorf("%w: output: %w", ErrOption, err)
		}
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("image: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s is no file", ErrExists, b.Output)
	case b.Force:
		return nil, nil
	}
	found, err := Inspect(b.Output)
	if errors.Is(err, disk.ErrLocked) {
		return nil, fmt.Errorf("%w: %w", ErrExists, err)
	}
	if err != nil || found.Manifest == nil {
		return nil, fmt.Errorf("%w: %s was not made by gvmm; --force replaces it", ErrExists, b.Output)
	}
	m, used := found.Manifest, found.Used
	if m.Inputs == b.manifest.Inputs && info.Size() == b.Size {
		return &Result{Manifest: m, Reused: true, Used: used, Allocated: allocated(info)}, nil
	}
	if used {
		return nil, fmt.Errorf("%w: %s is of other inputs, and a guest has written to it since; --force replaces it", ErrExists, b.Output)
	}
	return nil, nil
}

// write makes the disk beside Output and renames it, so that nobody sees a half one.
func (b *build) write(ctx context.Context, dir string) (int64, error) {
	part := filepath.Join(filepath.Dir(b.Output), "."+filepath.Base(b.Output)+"-"+filepath.Base(dir))
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return 0, fmt.Errorf("image: %w", err)
	}
	defer os.Remove(part)
	defer f.Close()
	if err := f.Truncate(b.Size); err != nil {
		return 0, fmt.Errorf("image: %w", err)
	}
	x := filesystem{
		path: part, offset: gap, bytes: b.Size - 2*gap, uuid: b.manifest.Filesystem, label: "gvmm", epoch: b.tree.epoch,
	}
	if err := x.make(ctx, b.tree, dir); err != nil {
		return 0, err
	}
	if err := partition(part, b.Size, b.manifest.Disk, b.manifest.Partition); err != nil {
		return 0, err
	}
	text, err := b.manifest.text()
	if err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("image: %w", err)
	}
	if err := os.Rename(part, b.Output); err != nil {
		return 0, fmt.Errorf("image: %w", err)
	}
	return allocated(info), os.WriteFile(b.Output+ManifestSuffix, text, 0o666)
}

// allocated is what a sparse file takes on the host, in bytes.
func allocated(info fs.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Blocks * 512
	}
	return info.Size()
}
