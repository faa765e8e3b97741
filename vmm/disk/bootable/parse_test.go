package bootable

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func on(files tree) (*disk, *volume) {
	v := &volume{fs: fake{files}, kind: "fake"}
	return &disk{volumes: []*volume{v}}, v
}

func TestVersionsAreOrderedByValue(t *testing.T) {
	want := []string{
		"vmlinuz-6.10", "vmlinuz-6.9.1", "vmlinuz-6.9", "vmlinuz-6.9~rc1", "vmlinuz-6.1.0-56-amd64", "vmlinuz-6.1.0-9-amd64", "vmlinuz-6.1.0-9",
		"vmlinuz", "vmlinuz-6.11.old", "vmlinuz-0-rescue-1",
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	newest(got)
	require.Equal(t, want, got)
}

func TestExtlinuxDefaultComesFirst(t *testing.T) {
	d, v := on(tree{
		"/boot/extlinux/extlinux.conf": "DEFAULT l1\nTIMEOUT 3\nLABEL menu\n KERNEL vesamenu.c32\nLABEL l0\n LINUX ../vmlinuz-old\nLABEL l1\n" +
			" KERNEL ../vmlinuz\n APPEND initrd=../initrd root=/dev/sda1\n",
		"/boot/vmlinuz": "k", "/boot/vmlinuz-old": "o", "/boot/initrd": "i",
	})
	f, err := d.extlinux(v)
	require.NoError(t, err)
	require.Equal(t, "k", string(f.Kernel))
	require.Equal(t, "i\x00\x00\x00", string(f.Initrd))
	require.Equal(t, "initrd=../initrd root=/dev/sda1", f.Command)
}

func TestFedoraEntriesTakeVariablesFromTheEnvironment(t *testing.T) {
	d, v := on(tree{
		"/loader/entries/x-5.0-rescue.conf": "linux /rescue\n",
		"/loader/entries/x-4.18.conf":       "version 4.18\nlinux /vmlinuz-4.18\ninitrd /initramfs-4.18.img $tuned_initrd\noptions $kernelopts ${tuned_params} x\n",
		"/grub2/grubenv":                    "# GRUB Environment Block\nkernelopts=root=/dev/mapper/rhel-root ro\n####",
		"/vmlinuz-4.18":                     "k", "/initramfs-4.18.img": "i", "/rescue": "r",
	})
	f, err := d.entries(v)
	require.NoError(t, err)
	require.Equal(t, "root=/dev/mapper/rhel-root ro  x", f.Command)
	require.Equal(t, "k", string(f.Kernel))
}

func TestGRUBEntryWithoutItsKernelIsSkipped(t *testing.T) {
	d, v := on(tree{
		"/boot/grub/grub.cfg": "set k=vmlinuz\nset two=\"a b\"\nmenuentry xen {\n multiboot /xen\n module /boot/vmlinuz\n}\nmenuentry gone {\n linux /gone\n}\n" +
			"menuentry it {\n linux ($root)/boot/${k} $two \"$two\" # no more\n initrd /boot/a /boot/b\n}\n",
		"/boot/vmlinuz": "k", "/boot/a": "aaaa", "/boot/b": "bbbb",
	})
	f, err := d.grub(v)
	require.NoError(t, err)
	require.Equal(t, `a b "a b"`, f.Command)
	require.Equal(t, "aaaabbbb", string(f.Initrd))
}

func TestLinksEnd(t *testing.T) {
	_, v := on(tree{"/a": link("/b"), "/b": link("a"), "/d/up": link("../../../e/f"), "/e/f": "content", "/long": link(strings.Repeat("x/", 3000))})
	for _, path := range []string{"/a", "/long", "/e/f/g"} {
		_, err := v.read(path, 10)
		require.ErrorIs(t, err, os.ErrNotExist, path)
	}
	b, err := v.read("/d/up", 10)
	require.NoError(t, err)
	require.Equal(t, "content", string(b))
	_, err = v.read("/e/f", 6)
	require.ErrorIs(t, err, ErrDisk)
}

// A configuration cannot grow what is kept of it.
func FuzzConfigurations(f *testing.F) {
	f.Add(debianGRUB)
	f.Add("set a=$a$a\nmenuentry x {\nlinux $a ${a\ninitrd '$a\n")
	f.Add("default x\nlabel x\nkernel a\nappend initrd=b\nlinux /k\ninitrd a b,c\noptions $x\n")
	f.Fuzz(func(t *testing.T, text string) {
		env := variables{}
		for _, c := range parseGRUB(text, env) {
			require.NotEmpty(t, c.kernel)
			require.LessOrEqual(t, len(c.command), 4*(len(text)+maxExpanded))
			require.LessOrEqual(t, len(c.initrds), maxEntries+len(text)+maxExpanded)
		}
		for name, value := range env {
			require.LessOrEqual(t, len(value), maxValue, name)
		}
		require.LessOrEqual(t, len(parseExtlinux(text, "/")), maxEntries)
		parseEntry(text, env)
		lines := strings.Fields(text)
		newest(lines)
		require.True(t, slices.IsSortedFunc(lines, func(a, b string) int {
			if spare(a) != spare(b) {
				return 0
			}
			return compareVersions(b, a)
		}))
	})
}
