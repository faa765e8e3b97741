package vmm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
	"gvmm/vmm/boot"
	"gvmm/vmm/boot/boottest"
	"gvmm/vmm/pci"
)

func TestLinuxGetsTheWordsThatItWasNotTold(t *testing.T) {
	all := strings.Join(LinuxDefaults, " ")
	for name, c := range map[string]struct {
		kind               boot.Kind
		found, added, want string
	}{
		"nothing":              {boot.BzImage, "", "", all},
		"not Linux":            {boot.ELF, "", "depth=1", "depth=1"},
		"added":                {boot.Vmlinux, "", " root=/dev/vda1  ro ", all + " root=/dev/vda1  ro"},
		"found goes first":     {boot.UKI, "root=/dev/vda1 ro", "quiet", "root=/dev/vda1 ro " + all + " quiet"},
		"a word that is there": {boot.BzImage, "panic=10 cryptomgr.notests", "reboot=k", "panic=10 cryptomgr.notests console=ttyS0 reboot=k"},
		"the console is there": {boot.BzImage, "console=tty0 console=ttyS0,115200", "", "console=tty0 console=ttyS0,115200 " + strings.Join(LinuxDefaults[1:], " ")},
		"another console":      {boot.BzImage, "console=tty0", "", "console=tty0 " + all},
		"nor a part of one":    {boot.BzImage, "console=ttyS01 panics=1", "", "console=ttyS01 panics=1 " + all},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, commandLine(c.kind, c.found, c.added))
		})
	}
}

func TestMemoryByDefaultIsWhatTheKernelNeeds(t *testing.T) {
	kernel := filepath.Join(t.TempDir(), "kernel")
	bz := make([]byte, 8192)
	copy(bz[0x1fe:], "\x55\xaa")
	copy(bz[0x202:], "HdrS\x0f\x02")
	bz[0x236] = 1
	require.NoError(t, os.WriteFile(kernel, bz, 0o600))
	elf := filepath.Join(t.TempDir(), "elf")
	require.NoError(t, os.WriteFile(elf, []byte("text"), 0o600))
	for path, want := range map[string]uint64{kernel: 512 * MiB, elf: 64 * MiB} {
		c := Config{Image: path}
		k, err := openKernel(&c)
		require.NoError(t, err)
		require.Equal(t, want, c.Memory)
		require.NoError(t, k.close())
		c = Config{Image: path, Memory: 4 * MiB, Command: "as it is"}
		k, err = openKernel(&c)
		require.NoError(t, err)
		require.EqualValues(t, 4*MiB, c.Memory)
		require.Equal(t, "as it is", c.Command)
		require.NoError(t, k.close())
	}
}

func TestAUnifiedImageBringsItsCommandLineAndInitrds(t *testing.T) {
	bz := make([]byte, 8192)
	copy(bz[0x1fe:], "\x55\xaa")
	copy(bz[0x202:], "HdrS\x0f\x02")
	bz[0x236] = 1
	image := boot.Bytes("image", boottest.PE(boottest.Section{Name: ".linux", Data: bz}, boottest.Section{Name: ".initrd", Data: []byte("own")},
		boottest.Section{Name: ".cmdline", Data: []byte("root=/dev/vda")}))
	more := filepath.Join(t.TempDir(), "more")
	require.NoError(t, os.WriteFile(more, []byte("more"), 0o600))
	c := Config{Kernel: &image, Initrd: more, Defaults: true, Command: "added"}
	k, err := openKernel(&c)
	require.NoError(t, err)
	defer k.close()
	require.Equal(t, "root=/dev/vda "+strings.Join(LinuxDefaults, " ")+" added", c.Command)
	require.Len(t, k.initrds, 2)
	require.Equal(t, "image .initrd", k.initrds[0].Name)
	require.Equal(t, more, k.initrds[1].Name)

	c = Config{Kernel: &image, Command: "replaced"}
	k, err = openKernel(&c)
	require.NoError(t, err)
	defer k.close()
	require.Equal(t, "replaced", c.Command)
}

func TestRAMGoesOnAboveTheDevices(t *testing.T) {
	m := newMachine(t, Config{Image: guestImage(t, "guest"), Memory: 5 << 30, Accel: vcpu.AccelSoft})
	for _, c := range []struct {
		addr uint64
		ram  bool
	}{{0, true}, {3<<30 - 1, true}, {3 << 30, false}, {ecamBase, false}, {4<<30 - 1, false}, {4 << 30, true}, {6<<30 - 1, true}, {6 << 30, false}} {
		_, err := m.memory.View(c.addr, 1)
		require.Equal(t, c.ram, err == nil, "%#x", c.addr)
		require.Equal(t, c.ram, m.isRAM(c.addr), "%#x", c.addr)
		if c.ram {
			require.ErrorIs(t, m.space.Map(c.addr&^0xfff, 4096, nil), errOverlap)
		}
	}
	m.PortWrite(0x70, []byte{0x5c})
	var blocks [1]byte
	m.PortRead(0x71, blocks[:])
	require.EqualValues(t, 2<<30>>16>>8, blocks[0])
}

func TestConfigurationSpaceIsInMemoryToo(t *testing.T) {
	m := newMachine(t, Config{Image: guestImage(t, "guest"), Accel: vcpu.AccelSoft, Edu: true})
	read := func(rid pci.RequesterID, off uint64) uint32 {
		var b [4]byte
		m.MemoryRead(ecamBase+uint64(rid)<<12+off, b[:])
		return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
	}
	require.EqualValues(t, 0x11e81234, read(eduRID, 0))
	require.EqualValues(t, 0xffffffff, read(eduRID+8, 0))
	require.EqualValues(t, 0xffffffff, read(eduRID, 0x100))
	m.MemoryWrite(ecamBase+uint64(eduRID)<<12+0x3c, []byte{7})
	require.EqualValues(t, 7, read(eduRID, 0x3c)&0xff)
}

func TestWhatWouldRunIsDescribed(t *testing.T) {
	disk, _ := newDisk(t, 4096)
	image := guestImage(t, "guest")
	m := newMachine(t, Config{
		Image: image, Command: "depth=1", CPUs: 2, Accel: vcpu.AccelSoft, Edu: true, UINTR: true, Disks: []Disk{{Path: disk, ReadOnly: true}},
	})
	d := m.Describe()
	require.Equal(t, image, d.Image)
	require.Equal(t, "ELF executable", d.Kind)
	require.Equal(t, "pvh", d.Boot)
	require.Equal(t, "depth=1", d.Command)
	require.EqualValues(t, 64*MiB, d.Memory)
	require.Equal(t, Range{"0x100000", "0x3ffffff", "RAM"}, d.Map[2])
	require.Equal(t, "soft", d.Engine)
	require.Equal(t, "asked for", d.Why)
	require.Equal(t, []DescribedFunction{
		{"00:00.0", "8086:0d57", "060000", "host bridge"}, {"00:01.0", "1af4:1042", "018000", "disk0"}, {"00:1e.0", "1234:11e8", "00ff00", "edu"},
	}, d.Devices)
	b, err := json.Marshal(d)
	require.NoError(t, err)
	require.Contains(t, string(b), `"command_line":"depth=1"`)
}

func TestThePanicDeviceEndsTheMachine(t *testing.T) {
	m := deviceless(t, new(bytes.Buffer))
	var events [1]byte
	m.PortRead(portPanic, events[:])
	require.EqualValues(t, eventPanicked, events[0])
	m.PortWrite(portPanic, []byte{2})
	require.NoError(t, m.failed)
	m.PortWrite(portPanic, []byte{1})
	require.ErrorIs(t, m.failed, ErrPanic)
}

// TestLinuxsEntryIsReachedInLongMode enters code that judges the state in which Linux's protocol wants it.
func TestLinuxsEntryIsReachedInLongMode(t *testing.T) {
	const code, entry = 1024, 0x200
	image := make([]byte, code+entry)
	le := binary.LittleEndian
	image[0x1f1] = 1 // sector of setup code
	copy(image[0x1fe:], "\x55\xaa")
	image[0x201] = 0x66
	copy(image[0x202:], "HdrS\x0f\x02")
	le.PutUint16(image[0x236:], 1)
	le.PutUint32(image[0x238:], 2047)
	le.PutUint64(image[0x258:], 16<<20)
	le.PutUint32(image[0x260:], 1<<16)
	image = append(image,
		0x81, 0xbe, 0x02, 0x02, 0, 0, 'H', 'd', 'r', 'S', // cmp dword [rsi+202h], "HdrS"
		0x75, 0x13, // jne fail
		0x8c, 0xc8, // mov eax, cs
		0x3c, 0x10, // cmp al, 10h
		0x75, 0x0d, // jne fail
		0xb8, 0x18, 0, 0, 0, // mov eax, 18h
		0x8e, 0xd8, // mov ds, eax
		0x8e, 0xd0, // mov ss, eax
		0xb0, 0x20, // mov al, 20h
		0xe6, 0xf4, // out f4h, al
		0xb0, 0x01, // fail: mov al, 1
		0xe6, 0xf4, // out f4h, al
	)
	source := boot.Bytes("kernel", image)
	eachEngine(t, func(t *testing.T, e engineCase) {
		c := e.on(t, Config{Kernel: &source, Boot: boot.WayBzImage, Memory: 32 * MiB})
		c.Way = vcpu.WayNone
		_, _, status := runGuest(t, c)
		require.Equal(t, 0x41, status)
	})
}
