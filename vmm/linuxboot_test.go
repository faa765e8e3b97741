package vmm

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
	"gvmm/vmm/boot"
	"gvmm/vmm/boot/boottest"
)

const linkedAt = 0xffffffff81000000

// linuxReport is what an init says that only reports.
const linuxReport = linuxMounts + `echo "text $(grep ' [Tt] _text$' /proc/kallsyms)"
echo "command $(cat /proc/cmdline)"
echo "memory $(grep MemTotal /proc/meminfo)"
echo "initrd $(dmesg | grep RAMDISK)"
echo "extra $(cat /extra)"
for m in %s; do insmod /modules/$m.ko; done
[ -e /dev/vda ] && echo "disk $(sha256sum < /dev/vda)"
echo "warnings $(dmesg | grep -c -e WARNING -e BUG -e 'Call Trace' -e 'ACPI.*Error' -e 'ACPI.*Warning')"
echo "ecam $(dmesg | grep -c 'MMCONFIG at .*reserved')"
%s
`

// reportingInitrd ends with a command of its own.
func reportingInitrd(t *testing.T, last string) (data []byte, disks bool) {
	t.Helper()
	path, disks := linuxInitrd(t, []byte("blob"))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var modules []string
	if disks {
		for _, m := range linuxModules {
			modules = append(modules, filepath.Base(m))
		}
	}
	// The last of two files of one name counts.
	var a archive
	a.add("init", 0o100755, fmt.Appendf(nil, linuxReport, strings.Join(modules, " "), last))
	a.add("TRAILER!!!", 0, nil)
	return append(data, a.Bytes()...), disks
}

// extraInitrd is another archive, to lie behind the first.
func extraInitrd() []byte {
	var a archive
	a.add("extra", 0o100644, []byte("there"))
	a.add("TRAILER!!!", 0, nil)
	return a.Bytes()
}

func testKernel(t *testing.T) []byte {
	t.Helper()
	path := os.Getenv(linuxEnv)
	if path == "" {
		t.Skip("no kernel in ", linuxEnv)
	}
	kernel, err := os.ReadFile(path)
	require.NoError(t, err)
	if boot.Identify(boot.Bytes(path, kernel)).Kind != boot.BzImage {
		t.Skip(path, " is no bzImage")
	}
	return kernel
}

// unpackedKernel is the vmlinux that a machine has loaded, as an ELF file: its segments are its memory.
func unpackedKernel(t *testing.T, kernel []byte) []byte {
	t.Helper()
	source := boot.Bytes("kernel", kernel)
	m := newMachine(t, Config{Image: "kernel", Kernel: &source, Accel: vcpu.AccelSoft, Memory: 512 * MiB, Command: "nokaslr"})
	r := m.entry.Range()
	text, err := m.memory.View(r.Base, r.Size)
	require.NoError(t, err)
	const head = 64 + 56
	var b bytes.Buffer
	require.NoError(t, binary.Write(&b, binary.LittleEndian, elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1,
		Entry: m.entry.Address(), Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
	}))
	require.NoError(t, binary.Write(&b, binary.LittleEndian, elf.Prog64{
		Type: uint32(elf.PT_LOAD), Off: head, Vaddr: linkedAt, Paddr: r.Base, Filesz: r.Size, Memsz: r.Size,
	}))
	return append(b.Bytes(), text...)
}

func TestLinuxIsEnteredInEveryWay(t *testing.T) {
	kernel := testKernel(t)
	initrd, disks := reportingInitrd(t, "poweroff -f")
	low := bytes.Clone(kernel) // wants its initial RAM disk where there is none: above 4 GiB then
	binary.LittleEndian.PutUint32(low[0x22c:], 20<<20)
	for name, c := range map[string]struct {
		image  []byte
		way    boot.Way
		want   boot.Way
		memory uint64
		append string
		kaslr  bool
		inUKI  bool
	}{
		"unpacked":              {kernel, boot.WayAuto, boot.WayLinux, 512 * MiB, "", true, false},
		"unpacked, nokaslr":     {kernel, boot.WayLinux, boot.WayLinux, 4096 * MiB, "nokaslr", false, false},
		"unpacked, initrd high": {low, boot.WayLinux, boot.WayLinux, 6144 * MiB, "", true, false},
		"by its own code":       {kernel, boot.WayBzImage, boot.WayBzImage, 6144 * MiB, "", true, false},
		"by its note":           {kernel, boot.WayPVH, boot.WayPVH, 4096 * MiB, "", false, false},
		"vmlinux":               {unpackedKernel(t, kernel), boot.WayAuto, boot.WayLinux, 4096 * MiB, "", false, false},
		"unified kernel image": {
			boottest.PE(boottest.Section{Name: ".cmdline", Data: []byte("from=uki\x00")}, boottest.Section{Name: ".initrd", Data: initrd},
				boottest.Section{Name: ".linux", Data: kernel}), boot.WayAuto, boot.WayLinux, 6144 * MiB, "", true, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			source := boot.Bytes("kernel", c.image)
			config := Config{
				Kernel: &source, Boot: c.way, Memory: c.memory, Command: c.append, Defaults: true, Accel: vcpu.AccelSoft, Serial: &out,
				Initrds: []boot.Source{boot.Bytes("extra", extraInitrd())},
			}
			command := "command " + strings.Join(LinuxDefaults, " ")
			if c.inUKI {
				command = "command from=uki " + strings.Join(LinuxDefaults, " ")
			} else {
				config.Initrds = append([]boot.Source{boot.Bytes("initrd", initrd)}, config.Initrds...)
			}
			want := []string{command, "extra there", "warnings 0\r\n", "ecam 1\r\n"}
			if disks {
				disk, sum := newDisk(t, 32<<20)
				config.Disks = []Disk{{Path: disk, ReadOnly: true}}
				want = append(want, "disk "+sum)
			}
			m := newMachine(t, config)
			require.Equal(t, c.want, m.entry.Way)
			require.Equal(t, name == "unpacked, initrd high", m.initrd.Base >= boot.HighBase)
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			status, err := m.Run(ctx)
			require.NoError(t, err, out.String())
			require.Zero(t, status)
			for _, w := range want {
				require.Contains(t, out.String(), w)
			}
			text := linuxWord(t, out.String(), "text ", 16)
			require.Equal(t, c.kaslr, text != linkedAt, "%#x", text)
			if m.entry.KASLR != 0 {
				require.EqualValues(t, linkedAt+m.entry.KASLR, text)
			}
			_, kilobytes, _ := strings.Cut(out.String(), "MemTotal:")
			n, err := strconv.ParseUint(strings.Fields(kilobytes)[0], 10, 64)
			require.NoError(t, err)
			require.InDelta(t, c.memory>>10, n, float64(c.memory>>10)/20+100<<10)
		})
	}
}

// linuxWord is the number behind what the guest printed.
func linuxWord(t *testing.T, out, name string, base int) uint64 {
	t.Helper()
	_, rest, found := strings.Cut(out, "\n"+name)
	require.True(t, found, out)
	n, err := strconv.ParseUint(strings.Fields(rest)[0], base, 64)
	require.NoError(t, err)
	return n
}

func TestALinuxPanicIsTold(t *testing.T) {
	kernel := boot.Bytes("kernel", testKernel(t))
	modules := os.Getenv(modulesEnv)
	for name, c := range map[string]struct{ command, last string }{
		"by a warm reset":     {strings.Join(LinuxDefaults, " "), "echo c > /proc/sysrq-trigger"},
		"by the panic device": {"console=ttyS0 cryptomgr.notests", "insmod /modules/pvpanic.ko; insmod /modules/pvpanic-mmio.ko; echo c > /proc/sysrq-trigger"},
	} {
		t.Run(name, func(t *testing.T) {
			if modules == "" {
				t.Skip("no modules in ", modulesEnv)
			}
			initrd, _ := reportingInitrd(t, c.last)
			var a archive
			for _, m := range []string{"pvpanic", "pvpanic-mmio"} {
				data, err := os.ReadFile(filepath.Join(modules, "kernel/drivers/misc/pvpanic", m+".ko"))
				require.NoError(t, err)
				a.add("modules/"+m+".ko", 0o100644, data)
			}
			a.add("TRAILER!!!", 0, nil)
			var out bytes.Buffer
			m := newMachine(t, Config{
				Kernel: &kernel, Command: c.command, Memory: 512 * MiB, Accel: vcpu.AccelSoft, Serial: &out,
				Initrds: []boot.Source{boot.Bytes("initrd", initrd), boot.Bytes("pvpanic", a.Bytes())},
			})
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			_, err := m.Run(ctx)
			require.ErrorIs(t, err, ErrPanic, out.String())
			require.Contains(t, out.String(), "Kernel panic")
		})
	}
}

// lines tells when what is written has a line for the nth time.
type lines struct {
	bytes.Buffer
	line string
	n    int
	told func()
}

func (l *lines) Write(p []byte) (int, error) {
	n, err := l.Buffer.Write(p)
	if bytes.Count(l.Bytes(), []byte(l.line)) >= l.n {
		l.told()
	}
	return n, err
}

func TestLinuxThatRestartsIsLoadedAnew(t *testing.T) {
	kernel := boot.Bytes("kernel", testKernel(t))
	initrd, _ := reportingInitrd(t, "reboot -f")
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	defer cancel()
	out := &lines{line: "\necam 1", n: 2, told: cancel}
	m := newMachine(t, Config{
		Kernel: &kernel, Defaults: true, Accel: vcpu.AccelSoft, Serial: out, Initrds: []boot.Source{boot.Bytes("initrd", initrd)},
	})
	_, err := m.Run(ctx)
	require.ErrorIs(t, err, context.Canceled, out.String())
	require.Equal(t, 1, m.Report().Resets)
	var places []uint64
	rest := out.String()
	for range 2 {
		places = append(places, linuxWord(t, rest, "text ", 16))
		_, rest, _ = strings.Cut(rest, "\ntext ")
	}
	require.NotEqual(t, places[0], places[1], "one of 500 runs may draw the same place twice")
	require.EqualValues(t, linkedAt+m.entry.KASLR, places[1])
}
