package platform

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// item reads n bytes of an item by the ports.
func item(f *FwCfg, key uint16, n int) []byte {
	out(f, PortFwCfg, byte(key), byte(key>>8))
	b := make([]byte, n)
	for i := range b {
		b[i] = in(f, PortFwCfg+1)
	}
	return b
}

func TestItemsSayWhatTheMachineIs(t *testing.T) {
	f := NewFwCfg(FwCfgConfig{
		CPUs: 3, MaxCPUs: 8, RAM: 5 << 30,
		Kernel: &Blob{0x100000, []byte("kernel")}, KernelEntry: 0x100040,
		Initrd: &Blob{0x200000, []byte("initrd!")}, Command: &Blob{0x20000, []byte("a=b")},
	})
	le := binary.LittleEndian
	for key, want := range map[uint16][]byte{
		FwCfgSignature:   []byte("QEMU"),
		FwCfgID:          {1, 0, 0, 0},
		FwCfgRAMSize:     le.AppendUint64(nil, 5<<30),
		FwCfgCPUs:        {3, 0},
		FwCfgMaxCPUs:     {8, 0},
		FwCfgKernelAddr:  {0, 0, 0x10, 0},
		FwCfgKernelSize:  {6, 0, 0, 0},
		FwCfgKernelEntry: {0x40, 0, 0x10, 0},
		FwCfgKernelData:  []byte("kernel"),
		FwCfgInitrdAddr:  {0, 0, 0x20, 0},
		FwCfgInitrdSize:  {7, 0, 0, 0},
		FwCfgInitrdData:  []byte("initrd!"),
		FwCfgCmdlineAddr: {0, 0, 2, 0},
		FwCfgCmdlineSize: {4, 0, 0, 0},
		FwCfgCmdlineData: []byte("a=b\x00"),
		FwCfgFileDir:     {0, 0, 0, 0},
		0x7777:           {},
	} {
		require.Equal(t, append(want, 0, 0, 0), item(f, key, len(want)+3), "key %#x, with zeros past its end", key)
	}
	require.Equal(t, []byte{3, 0}, item(NewFwCfg(FwCfgConfig{CPUs: 3}), FwCfgMaxCPUs, 2))
}

func TestWiderReadsGiveTheNextBytes(t *testing.T) {
	f := NewFwCfg(FwCfgConfig{})
	require.EqualValues(t, 'Q', in(f, PortFwCfg+1), "the signature is selected first")
	b := make([]byte, 4)
	f.Read(PortFwCfg+1, b[:2])
	require.Equal(t, "EM", string(b[:2]))
	f.Read(PortFwCfg+1, b)
	require.Equal(t, []byte{'U', 0, 0, 0}, b)
	out(f, PortFwCfg, FwCfgCPUs) // a byte selects nothing
	out(f, PortFwCfg+1, 1)
	f.Read(PortFwCfg, b)
	require.Equal(t, []byte{0xff, 0xff, 0xff, 0xff}, b, "the selector is write only")
}

func TestFilesAreFoundByName(t *testing.T) {
	f := NewFwCfg(FwCfgConfig{})
	for i, name := range []string{"etc/e820", "opt/" + strings.Repeat("x", 51)} {
		key, err := f.AddFile(name, []byte(name))
		require.NoError(t, err)
		require.EqualValues(t, FwCfgFileFirst+i, key)
		require.Equal(t, name, string(item(f, key, len(name))))
		dir := item(f, FwCfgFileDir, 4+64*(i+1))
		be := binary.BigEndian
		require.EqualValues(t, i+1, be.Uint32(dir))
		entry := dir[4+64*i:]
		require.EqualValues(t, len(name), be.Uint32(entry))
		require.Equal(t, key, be.Uint16(entry[4:]))
		require.Equal(t, name+"\x00", string(entry[8:8+len(name)+1]))
	}
	for _, bad := range []string{"", strings.Repeat("x", 56), "a\x00b"} {
		_, err := f.AddFile(bad, nil)
		require.ErrorIs(t, err, ErrFwCfg)
	}
	f.files = fwCfgLastFile - FwCfgFileFirst + 1
	_, err := f.AddFile("one more", nil)
	require.ErrorIs(t, err, ErrFwCfg)
}

// dma makes a request at 0x100 and gives its control word afterwards.
func dma(f *FwCfg, m ram, control, length uint32, addr uint64) uint32 {
	be := binary.BigEndian
	be.PutUint32(m[0x100:], control)
	be.PutUint32(m[0x104:], length)
	be.PutUint64(m[0x108:], addr)
	out(f, PortFwCfgDMA, 0, 0, 0, 0)
	out(f, PortFwCfgDMA+4, 0, 0, 1, 0)
	return be.Uint32(m[0x100:])
}

func TestDMAReadsAndSkips(t *testing.T) {
	m := make(ram, 1<<16)
	f := NewFwCfg(FwCfgConfig{Memory: m})
	require.Equal(t, []byte{3, 0, 0, 0}, item(f, FwCfgID, 4), "it is announced")
	b := make([]byte, 4)
	f.Read(PortFwCfgDMA, b)
	require.Equal(t, "QEMU", string(b))
	f.Read(PortFwCfgDMA+4, b)
	require.Equal(t, " CFG", string(b))

	data := make([]byte, 10000)
	for i := range data {
		data[i] = byte(i%255) + 1
	}
	key, err := f.AddFile("data", data)
	require.NoError(t, err)
	for i := range m[0x1000:] {
		m[0x1000+i] = 0xaa
	}
	require.Zero(t, dma(f, m, dmaSelect|dmaSkip|uint32(key)<<16, 1000, 0))
	require.Zero(t, dma(f, m, dmaRead, 5000, 0x1ff0))
	require.Equal(t, data[1000:6000], []byte(m[0x1ff0:0x1ff0+5000]))
	require.EqualValues(t, 0xaa, m[0x1ff0+5000])
	require.Equal(t, data[6000], in(f, PortFwCfg+1), "the ports go on from there")
	require.Zero(t, dma(f, m, dmaRead, 5000, 0x1001))
	require.Equal(t, data[6001:], []byte(m[0x1001:0x1001+3999]))
	require.Equal(t, make([]byte, 1001), []byte(m[0x1001+3999:0x1001+5000]), "zeros past the end")
	require.EqualValues(t, dmaError, dma(f, m, dmaSelect|dmaWrite|uint32(key)<<16, 4, 0x1000), "read only")
	require.Zero(t, dma(f, m, dmaSkip, 0xffffffff, 0))
	require.Zero(t, in(f, PortFwCfg+1))
}

func TestDMAOutsideRAMIsAnError(t *testing.T) {
	m := make(ram, 1<<16)
	f := NewFwCfg(FwCfgConfig{Memory: m})
	require.EqualValues(t, dmaError, dma(f, m, dmaRead, 4, 1<<20))
	require.EqualValues(t, dmaError, dma(f, m, dmaRead, 16, ^uint64(0)-3))
	require.EqualValues(t, dmaError, dma(f, m, dmaSelect|dmaRead|FwCfgSignature<<16, 0xffffffff, 0x8000), "ends with RAM")
	require.Equal(t, "QEMU", string(m[0x8000:0x8004]))
	out(f, PortFwCfgDMA, 0xff, 0xff, 0xff, 0xff)
	out(f, PortFwCfgDMA+4, 0xff, 0xff, 0xff, 0xfc) // no request there: lost
	out(f, PortFwCfgDMA, 0, 0, 0, 1)
	out(f, PortFwCfgDMA+4, 0, 0)
	require.EqualValues(t, 1, f.dmaHigh)
}

func TestWithoutMemoryThereIsNoDMA(t *testing.T) {
	f := NewFwCfg(FwCfgConfig{})
	b := []byte{0, 0, 0, 0}
	f.Read(PortFwCfgDMA, b)
	require.Equal(t, []byte{0xff, 0xff, 0xff, 0xff}, b)
	out(f, PortFwCfgDMA+4, 0, 0, 1, 0)
}

// FuzzFwCfg gives the device any request, with any accesses around it.
func FuzzFwCfg(f *testing.F) {
	f.Add(uint32(dmaRead|dmaSelect|FwCfgFileDir<<16), uint32(68), uint64(0x2000), uint16(3))
	f.Add(uint32(dmaSkip|dmaRead), uint32(1<<31), uint64(1<<63), uint16(0xffff))
	m := make(ram, 1<<16)
	f.Fuzz(func(t *testing.T, control, length uint32, addr uint64, key uint16) {
		d := NewFwCfg(FwCfgConfig{Memory: m, CPUs: 2})
		_, err := d.AddFile("file", bytes.Repeat([]byte("x"), 5000))
		require.NoError(t, err)
		item(d, key, 3)
		before := bytes.Clone(m)
		dma(d, m, control, length, addr)
		item(d, key, 3)
		clear(before[0x100:0x110])
		after := bytes.Clone(m)
		clear(after[0x100:0x110])
		if addr < uint64(len(m)) {
			end := min(addr+uint64(length), uint64(len(m)))
			clear(before[addr:end])
			clear(after[addr:end])
		}
		require.True(t, bytes.Equal(before, after), "written outside the request")
	})
}
