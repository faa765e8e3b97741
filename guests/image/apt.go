package image

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// ErrHost is a host that lacks what a build needs; the text says what.
var ErrHost = errors.New("image: this host lacks what a build needs")

// maxPackages bounds what one --package may pull in.
const maxPackages = 1000

// A Package is a Debian package that went into an image.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	File    string `json:"file"` // its name in the cache
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256"`
}

// A Flavour is one of Debian's kernels.
type Flavour string

// Flavours.
const (
	Cloud   Flavour = "cloud"   // drivers of virtual machines only
	Generic Flavour = "generic" // every driver
)

// metapackage depends on the newest kernel of the flavour.
func (f Flavour) metapackage() (string, error) {
	switch f {
	case Cloud:
		return "linux-image-cloud-amd64", nil
	case Generic:
		return "linux-image-amd64", nil
	}
	return "", fmt.Errorf("%w: flavour %q: %s or %s", ErrOption, f, Cloud, Generic)
}

// apt asks the host's package manager. Nothing of it needs root.
type apt struct {
	cache string // folder of packages
	dir   string // an empty folder: apt does not list what lies in its own
}

// run is a query's standard output.
func (a *apt) run(ctx context.Context, name string, arg ...string) ([]byte, error) {
	cmd := command(ctx, name, arg...)
	cmd.Dir = a.dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, aptError(name, stderr.String(), err)
	}
	return out, nil
}

// aptError is the first error that apt tells of, and what helps.
func aptError(name, stderr string, err error) error {
	text := firstLine(stderr)
	for line := range strings.Lines(stderr) {
		if e, ok := strings.CutPrefix(line, "E: "); ok {
			text = strings.TrimSpace(e)
			break
		}
	}
	help := ""
	for _, stale := range []string{"Unable to locate", "No packages found", "404", "has no installation candidate", "Can't find a source", "Unable to fetch", "Failed to fetch"} {
		if strings.Contains(text, stale) {
			help = " (where apt's lists are old or missing, `apt-get update` as root renews them)"
		}
	}
	return fmt.Errorf("image: %s: %s%s: %w", name, text, help, err)
}

// resolve finds the flavour's kernel, busybox-static and the packages asked for with all
// that they depend on; kernel is the release, as uname says it.
func (a *apt) resolve(ctx context.Context, flavour Flavour, extra []string) (packages []Package, kernel string, err error) {
	meta, err := flavour.metapackage()
	if err != nil {
		return nil, "", err
	}
	text, err := a.run(ctx, "apt-cache", "show", "--no-all-versions", meta)
	if err != nil {
		return nil, "", err
	}
	name, version, err := parseKernel(text)
	if err != nil {
		return nil, "", err
	}
	want := []string{name + "=" + version, "busybox-static"}
	if len(extra) > 0 {
		// A system with nothing installed: apt then lists every dependency.
		arg := append([]string{"install", "--print-uris", "-qq", "-y", "--no-install-recommends",
			"-o", "Dir::State::status=/dev/null", "-o", "Debug::NoLocking=1", "--"}, extra...)
		if text, err = a.run(ctx, "apt-get", arg...); err != nil {
			return nil, "", err
		}
		all, err := parseURIs(text)
		if err != nil {
			return nil, "", err
		}
		for _, p := range all {
			if p.Name != "busybox-static" {
				want = append(want, p.Name+"="+p.Version)
			}
		}
	}
	if packages, err = a.list(ctx, want); err != nil {
		return nil, "", err
	}
	return packages, strings.TrimPrefix(name, "linux-image-"), nil
}

// list asks for size and sum of packages, each a NAME or NAME=VERSION.
func (a *apt) list(ctx context.Context, want []string) ([]Package, error) {
	text, err := a.run(ctx, "apt-get", append([]string{"download", "--print-uris", "-qq", "--"}, want...)...)
	if err != nil {
		return nil, err
	}
	packages, err := parseURIs(text)
	if err != nil {
		return nil, err
	}
	for _, p := range packages {
		if p.SHA256 == "" {
			return nil, fmt.Errorf("image: apt knows no SHA-256 of %s", p.File)
		}
	}
	if len(packages) != len(want) {
		return nil, fmt.Errorf("image: apt lists %d packages of %d", len(packages), len(want))
	}
	return packages, nil
}

var kernelDepends = regexp.MustCompile(`(?m)^Depends:.*?\b(linux-image-[0-9][a-z0-9.+~-]*) \(= ([0-9][A-Za-z0-9.+:~-]*)\)`)

// parseKernel reads which kernel a metapackage depends on.
func parseKernel(text []byte) (name, version string, err error) {
	m := kernelDepends.FindSubmatch(text)
	if m == nil {
		return "", "", errors.New("image: apt-cache: the metapackage names no kernel")
	}
	return string(m[1]), string(m[2]), nil
}

var (
	uriLine = regexp.MustCompile(`^'[^']*' ([A-Za-z0-9.+%~_-]+\.deb) ([0-9]+) ?(\S*)$`)
	debName = regexp.MustCompile(`^([a-z0-9][a-z0-9.+-]*)_([A-Za-z0-9.+:~-]+)_[a-z0-9-]+\.deb$`)
)

// parseURIs reads apt's --print-uris: 'URI' FILE SIZE and a sum, which may be missing or of
// another kind than SHA-256.
func parseURIs(text []byte) (packages []Package, err error) {
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "'") {
			continue
		}
		m := uriLine.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("image: apt: %q is no URI, file and size", line)
		}
		plain, err := url.PathUnescape(m[1])
		if err != nil {
			return nil, fmt.Errorf("image: apt: %q: %w", m[1], err)
		}
		parts := debName.FindStringSubmatch(plain)
		if parts == nil {
			return nil, fmt.Errorf("image: apt: %q is no package's file", m[1])
		}
		p := Package{Name: parts[1], Version: parts[2], File: m[1]}
		if p.Size, err = strconv.ParseInt(m[2], 10, 64); err != nil {
			return nil, fmt.Errorf("image: apt: size of %s: %w", m[1], err)
		}
		if sum, ok := strings.CutPrefix(m[3], "SHA256:"); ok && len(sum) == 2*sha256.Size {
			p.SHA256 = strings.ToLower(sum)
		}
		if packages = append(packages, p); len(packages) > maxPackages {
			return nil, fmt.Errorf("image: more than %d packages", maxPackages)
		}
	}
	return packages, nil
}

// fetch brings into the cache what is not there yet, and returns how many bytes that was.
// apt checks its lists' signatures, and the packages against the lists.
func (a *apt) fetch(ctx context.Context, packages []Package, progress func(done, total int)) (downloaded int64, err error) {
	var missing []Package
	for _, p := range packages {
		if !a.cached(p, a.cache) {
			missing = append(missing, p)
			downloaded += p.Size
		}
	}
	if len(missing) == 0 {
		return 0, nil
	}
	arg := []string{"download", "-qq", "-o", "APT::Sandbox::User=root", "-o", "APT::Status-Fd=3", "--"}
	for _, p := range missing {
		arg = append(arg, p.Name+"="+p.Version)
	}
	cmd := command(ctx, "apt-get", arg...)
	cmd.Dir = a.dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	cmd.ExtraFiles = []*os.File{w}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return 0, fmt.Errorf("image: apt-get: %w", err)
	}
	followStatus(r, func(fraction float64) { progress(int(fraction*float64(downloaded)), int(downloaded)) })
	if err = cmd.Wait(); ctx.Err() != nil {
		return 0, ctx.Err()
	} else if err != nil {
		return 0, aptError("apt-get", stderr.String(), err)
	}
	for _, p := range missing {
		if !a.cached(p, a.dir) {
			return 0, fmt.Errorf("image: %s is not what apt said that it would be", p.File)
		}
		if err := os.Rename(filepath.Join(a.dir, p.File), filepath.Join(a.cache, p.File)); err != nil {
			return 0, err
		}
	}
	progress(int(downloaded), int(downloaded))
	return downloaded, nil
}

// followStatus reads apt's status lines, dlstatus:N:PERCENT:TEXT, to their end.
func followStatus(r io.Reader, tell func(fraction float64)) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		field := strings.SplitN(lines.Text(), ":", 4)
		if len(field) < 3 || field[0] != "dlstatus" {
			continue
		}
		if percent, err := strconv.ParseFloat(field[2], 64); err == nil && percent >= 0 && percent <= 100 {
			tell(percent / 100)
		}
	}
	_, _ = io.Copy(io.Discard, r)
}

// cached tells whether a package lies in a folder, whole.
func (a *apt) cached(p Package, dir string) bool {
	f, err := os.Open(filepath.Join(dir, p.File))
	if err != nil {
		return false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != p.Size {
		return false
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return err == nil && hex.EncodeToString(h.Sum(nil)) == p.SHA256
}
