package image

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// moduleFile is an object file with nothing but a .modinfo section.
func moduleFile(t testing.TB, fields ...string) []byte {
	t.Helper()
	info := []byte(strings.Join(fields, "\x00") + "\x00")
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	h := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: 64, Shentsize: 64, Shnum: 3, Shstrndx: 2,
		Shoff: uint64(64 + len(info) + len(names)),
	}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	var b bytes.Buffer
	for _, part := range []any{
		h, info, names,
		elf.Section64{},
		elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: 64, Size: uint64(len(info))},
		elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: 64 + uint64(len(info)), Size: uint64(len(names))},
	} {
		require.NoError(t, binary.Write(&b, binary.LittleEndian, part))
	}
	return b.Bytes()
}

func TestModuleSaysWhatItNeedsAndDrives(t *testing.T) {
	file := moduleFile(t, "license=GPL", "alias=virtio:d00000002v*", "alias=two words", "depends=virtio_ring,virtio-x", "softdep=pre: crc32c a post: b")
	m, err := readModule("kernel/drivers/virtio-blk.ko", bytes.NewReader(file))
	require.NoError(t, err)
	require.Equal(t, module{
		name: "virtio_blk", path: "kernel/drivers/virtio-blk.ko", depends: []string{"virtio_ring", "virtio_x"},
		before: []string{"crc32c", "a"}, aliases: []string{"virtio:d00000002v*"},
	}, m)
	_, err = readModule("x.ko", strings.NewReader("no object file"))
	require.ErrorIs(t, err, errModules)
}

// someModules are modules that depend on earlier ones, and want any before them.
func someModules(t *rapid.T) *modules {
	s := &modules{byName: make(map[string]module), builtin: map[string]bool{"built_in": true}}
	n := rapid.IntRange(1, 12).Draw(t, "modules")
	for i := range n {
		m := module{name: fmt.Sprint("m", i), path: fmt.Sprintf("kernel/m%d.ko", i), depends: []string{"built_in"}, aliases: []string{fmt.Sprint("crypto-", i/2)}}
		for _, d := range rapid.SliceOfN(rapid.IntRange(0, n), 0, 3).Draw(t, "needs") {
			if d < i {
				m.depends = append(m.depends, fmt.Sprint("m", d))
			}
		}
		for _, d := range rapid.SliceOfN(rapid.IntRange(0, n), 0, 2).Draw(t, "wants") {
			m.before = append(m.before, fmt.Sprint("crypto-", d))
		}
		s.byName[m.name] = m
	}
	return s
}

func TestModulesAreLoadedAfterWhatTheyNeed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := someModules(t)
		wanted := rapid.SliceOfN(rapid.IntRange(0, len(s.byName)-1), 1, 4).Draw(t, "wanted")
		var names []string
		for _, i := range wanted {
			names = append(names, fmt.Sprint("m", i))
		}
		order, err := s.wanted(names...)
		require.NoError(t, err)
		have := make(map[string]bool)
		for _, m := range order {
			have[m.name] = true
		}
		loaded := map[string]bool{"built_in": true}
		for _, m := range order {
			require.False(t, loaded[m.name], "twice")
			for _, d := range m.depends {
				require.True(t, loaded[d], "%s before %s", m.name, d)
			}
			for _, b := range m.before {
				for _, d := range s.drives(b) {
					require.True(t, have[d], "%s wants %s", m.name, d)
				}
			}
			loaded[m.name] = true
		}
		for _, n := range names {
			require.True(t, loaded[n])
		}
	})
}

func TestModulesDepListsTheFirstToLoadLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := someModules(t)
		text, err := s.dep(s.all())
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			path, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
			files := append([]string{path}, strings.Fields(rest)...)
			loaded := map[string]bool{"built_in": true}
			for i := len(files) - 1; i >= 0; i-- { // as modprobe loads them
				m := s.byName[moduleName(files[i])]
				for _, d := range m.depends {
					require.True(t, loaded[d], "%s: %s before %s", line, m.name, d)
				}
				loaded[m.name] = true
			}
		}
	})
}

func TestModulesThatCannotBeLoadedAreNamed(t *testing.T) {
	s := &modules{builtin: map[string]bool{}, byName: map[string]module{
		"a": {name: "a", depends: []string{"b"}}, "b": {name: "b", depends: []string{"a"}}, "c": {name: "c", depends: []string{"none"}},
		"d": {name: "d", before: []string{"none", "d"}},
	}}
	for name, want := range map[string]string{"a": "depend on each other", "c": "none is needed by c", "z": "z is needed by the image"} {
		_, err := s.order(name)
		require.ErrorIs(t, err, errModules)
		require.ErrorContains(t, err, want)
	}
	_, err := s.wanted("d")
	require.NoError(t, err, "what is only wanted may be missing")
}

func FuzzModinfo(f *testing.F) {
	f.Add(moduleFile(f, "depends=a,b", "softdep=pre: x post: y", "alias=pci:v*"))
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := readModule("x.ko", bytes.NewReader(file))
		if err != nil {
			return
		}
		for _, word := range slices.Concat(m.aliases, m.depends, m.before) {
			require.Equal(t, []string{word}, strings.Fields(word), "modprobe's lists have words and lines")
		}
		parseModinfo(file)
		parseBuiltin(file)
	})
}
