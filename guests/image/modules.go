package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

// errModules wraps what cannot be made of a kernel's modules.
var errModules = errors.New("image: kernel modules")

// A module is one of a kernel's, by what its .modinfo section says.
type module struct {
	name    string   // with underscores
	path    string   // below lib/modules/VERSION
	depends []string // names
	before  []string // names or aliases that it wants loaded before it, where they exist
	aliases []string // patterns of what it drives
}

// moduleName is the name that a module's file has; dashes are underscores.
func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(path.Base(file), ".ko"), "-", "_")
}

// parseModinfo reads a .modinfo section: strings KEY=VALUE, each ended by a zero byte.
func parseModinfo(section []byte) module {
	var m module
	for field := range bytes.SplitSeq(section, []byte{0}) {
		key, value, _ := strings.Cut(string(field), "=")
		switch key {
		case "depends":
			for d := range strings.SplitSeq(value, ",") {
				if f := strings.Fields(d); len(f) == 1 {
					m.depends = append(m.depends, strings.ReplaceAll(f[0], "-", "_"))
				}
			}
		case "alias":
			if f := strings.Fields(value); len(f) == 1 {
				m.aliases = append(m.aliases, f[0])
			}
		case "softdep":
			m.before = append(m.before, softBefore(value)...)
		}
	}
	return m
}

// softBefore are the names after "pre:" in a softdep.
func softBefore(value string) (names []string) {
	before := false
	for _, word := range strings.Fields(value) {
		switch word {
		case "pre:":
			before = true
		case "post:":
			before = false
		default:
			if before {
				names = append(names, word)
			}
		}
	}
	return names
}

// readModule reads what a module's file says of itself.
func readModule(file string, r io.ReaderAt) (module, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return module{}, fmt.Errorf("%w: %s: %w", errModules, file, err)
	}
	s := f.Section(".modinfo")
	if s == nil {
		return module{}, fmt.Errorf("%w: %s has no .modinfo section", errModules, file)
	}
	data, err := s.Data()
	if err != nil {
		return module{}, fmt.Errorf("%w: %s: %w", errModules, file, err)
	}
	m := parseModinfo(data)
	m.name, m.path = moduleName(file), file
	return m, nil
}

// modules are a kernel's, by name.
type modules struct {
	byName  map[string]module
	builtin map[string]bool // what is part of the kernel itself
}

// order puts the modules named, and those that they need, in an order to load them in:
// each after what it depends on. Names that are built in drop out.
func (s *modules) order(names ...string) ([]module, error) {
	const visiting, done = 1, 2
	state := make(map[string]int)
	var out []module
	var visit func(name, from string) error
	visit = func(name, from string) error {
		m, known := s.byName[name]
		switch {
		case state[name] == done, !known && s.builtin[name]:
			return nil
		case !known:
			return fmt.Errorf("%w: %s is needed by %s, and is not there", errModules, name, from)
		case state[name] == visiting:
			return fmt.Errorf("%w: %s and %s depend on each other", errModules, name, from)
		}
		state[name] = visiting
		for _, d := range m.depends {
			if err := visit(d, name); err != nil {
				return err
			}
		}
		state[name] = done
		out = append(out, m)
		return nil
	}
	for _, name := range names {
		if err := visit(moduleName(name), "the image"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// wanted is order with what the modules only want before them, where it exists. Kernels
// ask for that when they need it, by its alias.
func (s *modules) wanted(names ...string) ([]module, error) {
	for {
		out, err := s.order(names...)
		if err != nil {
			return nil, err
		}
		have := make(map[string]bool, len(out))
		for _, m := range out {
			have[m.name] = true
		}
		complete := true
		for _, m := range out {
			for _, b := range m.before {
				for _, d := range s.drives(b) {
					if !have[d] {
						have[d], complete = true, false
						names = append(names, d)
					}
				}
			}
		}
		if complete {
			return out, nil
		}
	}
}

// drives are the modules that a name or an alias without wildcards stands for, in order.
func (s *modules) drives(alias string) (names []string) {
	if name := moduleName(alias); s.byName[name].name != "" {
		return []string{name}
	}
	for _, name := range slices.Sorted(maps.Keys(s.byName)) {
		if slices.Contains(s.byName[name].aliases, alias) {
			names = append(names, name)
		}
	}
	return names
}

// all are a kernel's modules, by name.
func (s *modules) all() (list []module) {
	for _, name := range slices.Sorted(maps.Keys(s.byName)) {
		list = append(list, s.byName[name])
	}
	return list
}

// dep is modules.dep: a line a module, with all that it needs, what is loaded first last
// (modules.dep(5)).
func (s *modules) dep(list []module) ([]byte, error) {
	var b bytes.Buffer
	for _, m := range list {
		order, err := s.order(m.name)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s:", m.path)
		for _, d := range slices.Backward(order[:len(order)-1]) {
			fmt.Fprintf(&b, " %s", d.path)
		}
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

// alias is modules.alias: patterns, and the modules that they stand for.
func alias(list []module) []byte {
	var b bytes.Buffer
	for _, m := range list {
		for _, a := range m.aliases {
			fmt.Fprintf(&b, "alias %s %s\n", a, m.name)
		}
	}
	return b.Bytes()
}

// parseBuiltin reads modules.builtin: paths of modules that are part of the kernel.
func parseBuiltin(text []byte) map[string]bool {
	names := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" {
			names[moduleName(line)] = true
		}
	}
	return names
}

// index reads every module in the tree below lib/modules/VERSION, and puts the lists there
// that modprobe reads.
func index(t *tree, version string) (*modules, error) {
	base := "usr/lib/modules/" + version + "/"
	text, err := t.read(base + "modules.builtin")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errModules, err)
	}
	s := &modules{byName: make(map[string]module), builtin: parseBuiltin(text)}
	for _, name := range t.names() {
		file, ours := strings.CutPrefix(name, base)
		if !ours || !strings.HasSuffix(file, ".ko") {
			continue
		}
		m, err := t.readModule(name, file)
		if err != nil {
			return nil, err
		}
		s.byName[m.name] = m
	}
	dep, err := s.dep(s.all())
	if err != nil {
		return nil, err
	}
	return s, errors.Join(
		t.write(base+"modules.dep", 0o644, dep),
		t.write(base+"modules.alias", 0o644, alias(s.all())))
}

func (t *tree) readModule(name, file string) (module, error) {
	r, err := t.entries[name].open()
	if err != nil {
		return module{}, fmt.Errorf("%w: %w", errModules, err)
	}
	defer r.Close()
	return readModule(file, r)
}
