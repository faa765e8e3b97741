package boot

import (
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"strings"
)

// UnifiedImage is what a unified kernel image has for a loader (UAPI Group, "Unified Kernel Image").
type UnifiedImage struct {
	Kernel  Source
	Initrds []Source // microcode updates first
	Command string
	Version string // of the kernel
	System  string // that it was made for
}

// Limits of what is read from an image as text, and of its sections.
const (
	textLimit    = 64 << 10
	mostSections = 96
)

var errNoLinux = errors.New("an EFI application without a kernel in it (no .linux section), such as a boot loader; give the kernel that it starts")

// OpenUKI finds the parts of a unified kernel image, which are read from s later.
func OpenUKI(s Source) (*UnifiedImage, error) {
	u, err := openUKI(s)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrImage, s.Name, err)
	}
	return u, nil
}

func openUKI(s Source) (*UnifiedImage, error) {
	f, err := pe.NewFile(s)
	if err != nil {
		return nil, errors.New("it begins like an EFI application or a DOS program, but is neither a whole one nor a bzImage; give a Linux kernel")
	}
	switch {
	case len(f.Sections) > mostSections:
		return nil, fmt.Errorf("an EFI application of %d sections; %d are the most", len(f.Sections), mostSections)
	case f.Machine != pe.IMAGE_FILE_MACHINE_AMD64:
		return nil, fmt.Errorf("an EFI application for another machine (PE machine %#x); give one for x86-64", f.Machine)
	}
	parts, err := sections(s, f)
	if err != nil {
		return nil, err
	}
	kernel, ok := parts[".linux"]
	if !ok {
		return nil, errNoLinux
	}
	u := &UnifiedImage{Kernel: kernel}
	if !isBzImage(kernel) {
		return nil, errors.New("the .linux section of the unified kernel image holds no bzImage")
	}
	for _, name := range []string{".ucode", ".initrd"} {
		if p, ok := parts[name]; ok && p.Size > 0 {
			u.Initrds = append(u.Initrds, p)
		}
	}
	if u.Command, err = readText(parts[".cmdline"]); err != nil {
		return nil, err
	}
	if len(u.Command) > MaxCommandLine {
		return nil, fmt.Errorf("a .cmdline section of %d bytes; %d are the longest command line", len(u.Command), MaxCommandLine)
	}
	system, err := readText(parts[".osrel"])
	if err != nil {
		return nil, err
	}
	u.System = prettyName(system)
	version, err := readText(parts[".uname"])
	if err != nil {
		return nil, err
	}
	if u.Version = printable([]byte(version)); u.Version == "" {
		if h, err := readSetup(kernel); err == nil {
			u.Version = h.version(kernel)
		}
	}
	return u, nil
}

// sections are the image's by name, those of the first profile and of no profile only.
func sections(s Source, f *pe.File) (map[string]Source, error) {
	parts := make(map[string]Source)
	for _, p := range f.Sections {
		if p.Name == ".profile" {
			break // what follows is for boot menus
		}
		n := int64(p.Size) // in the file, padded; the virtual size is exact where it is smaller
		if v := int64(p.VirtualSize); v != 0 && v < n {
			n = v
		}
		if off := int64(p.Offset); n > 0 && (off > s.Size || n > s.Size-off) {
			return nil, fmt.Errorf("section %s lies at %d to %d of %d bytes; the file is cut short", printable([]byte(p.Name)), off, off+n, s.Size)
		}
		if _, twice := parts[p.Name]; !twice {
			parts[p.Name] = s.part(s.Name+" "+printable([]byte(p.Name)), int64(p.Offset), n)
		}
	}
	return parts, nil
}

// readText reads a section that holds a line or a few.
func readText(s Source) (string, error) {
	if s.Size == 0 {
		return "", nil
	}
	if s.Size > textLimit {
		return "", fmt.Errorf("%s has %d bytes; %d are the most", s.Name, s.Size, textLimit)
	}
	b := make([]byte, s.Size)
	if _, err := io.ReadFull(io.NewSectionReader(s, 0, s.Size), b); err != nil {
		return "", fmt.Errorf("%s cannot be read: %w", s.Name, err)
	}
	line, _, _ := strings.Cut(string(b), "\x00")
	return strings.TrimSpace(line), nil
}

// prettyName is PRETTY_NAME of an os-release file.
func prettyName(release string) string {
	for line := range strings.Lines(release) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return printable([]byte(strings.Trim(name, `"'`)))
		}
	}
	return ""
}
