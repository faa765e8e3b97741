package vmm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"

	"gvmm/vmm/boot"
)

// kernel is what a machine boots. It stays open, so that it can be loaded again.
type kernel struct {
	identity boot.Identity
	source   boot.Source
	initrds  []boot.Source
	files    []io.Closer
}

// openKernel finds what c names, and settles what c leaves to it: the command line and the memory.
func openKernel(c *Config) (*kernel, error) {
	k := &kernel{initrds: c.Initrds}
	if err := k.open(c); err != nil {
		_ = k.close()
		return nil, err
	}
	if c.Memory == 0 {
		c.Memory = defaultMemory
		if k.identity.Kind.Linux() {
			c.Memory = linuxMemory
		}
	}
	return k, nil
}

func (k *kernel) open(c *Config) error {
	if c.Kernel != nil {
		k.source = *c.Kernel
	} else {
		f, err := boot.Open(c.Image)
		if err != nil {
			return fmt.Errorf("%w: %w", boot.ErrImage, err)
		}
		k.files = append(k.files, f)
		k.source = f.Source
	}
	if c.Image == "" {
		c.Image = k.source.Name
	}
	found := c.Found
	if k.identity = boot.Identify(k.source); k.identity.Kind == boot.UKI {
		u, err := boot.OpenUKI(k.source)
		if err != nil {
			return err
		}
		k.source = u.Kernel
		k.initrds = append(u.Initrds, k.initrds...)
		found = strings.TrimSpace(u.Command + " " + found)
	}
	if c.Defaults {
		c.Command = commandLine(k.identity.Kind, found, c.Command)
	}
	if c.Initrd == "" {
		return nil
	}
	f, err := boot.Open(c.Initrd)
	if err != nil {
		return fmt.Errorf("boot: initrd: %w", err)
	}
	k.files = append(k.files, f)
	k.initrds = append(k.initrds, f.Source)
	return nil
}

// load loads the kernel into m's memory.
func (k *kernel) load(m *Machine) (boot.Entry, error) {
	o := boot.Options{
		RAM: m.config.Memory, Way: m.config.Boot, Command: m.config.Command, Initrd: boot.InitrdBytes(k.initrds...),
	}
	if m.config.ICount > 0 { // a run that repeats
		var seed [32]byte
		binary.LittleEndian.PutUint64(seed[:], m.config.Seed)
		o.Random = rand.NewChaCha8(seed)
	}
	return boot.Load(k.source, m.memory, o)
}

func (k *kernel) close() error {
	var errs []error
	for _, f := range k.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// LinuxDefaults are the words that a Linux kernel gets which was not told a command line, unless what came with it
// has the same word already:
//
//	console=ttyS0        COM1 is what gvmm shows
//	cryptomgr.notests    no self-tests of ciphers, 60 % of the instructions of a boot
//	panic=-1             a kernel that cannot go on resets at once instead of hanging
//	reboot=panic_warm    that reset is a warm one, by which a panic is told from a restart
var LinuxDefaults = []string{"console=ttyS0", "cryptomgr.notests", "panic=-1", panicWarm}

// commandLine is what a kernel is told of what came with it, the defaults and what the user adds.
func commandLine(kind boot.Kind, found, added string) string {
	words := []string{strings.TrimSpace(found)}
	if kind.Linux() {
		given := strings.Fields(found + " " + added)
		for _, d := range LinuxDefaults {
			if !hasDefault(given, d) {
				words = append(words, d)
			}
		}
	}
	return strings.TrimSpace(strings.Join(append(words, strings.TrimSpace(added)), " "))
}

// hasDefault tells whether the words given say the same as a default, or otherwise. There can be many consoles.
func hasDefault(given []string, word string) bool {
	name, _, _ := strings.Cut(word, "=")
	for _, g := range given {
		if name == "console" && (g == word || strings.HasPrefix(g, word+",")) {
			return true
		}
		if n, _, _ := strings.Cut(g, "="); n == name && name != "console" {
			return true
		}
	}
	return false
}
