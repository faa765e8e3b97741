package vmm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vmm/memory"
)

// codePages is a codeOwner with code in one page that writes down what it is told.
type codePages struct {
	page uint64
	told []dmaRange
}

func (p *codePages) Code(addr, n uint64) bool { return addr < p.page+4096 && addr+n > p.page }

func (p *codePages) Written(addr, n uint64) { p.told = append(p.told, dmaRange{addr, n}) }

func newCodeDMA(t *testing.T) (*codeDMA, *codePages) {
	mem := memory.New()
	require.NoError(t, mem.AddRAM(0, 1<<20))
	t.Cleanup(func() { require.NoError(t, mem.Close()) })
	p := &codePages{page: 0x8000}
	return &codeDMA{Physical: mem.DMA(), machine: p}, p
}

func TestADevicesWriteToCodeIsToldBeforeItsRingIsWritten(t *testing.T) {
	d, p := newCodeDMA(t)
	_, err := d.Segments(nil, 0x7f00, 0x200, true)
	require.NoError(t, err)
	require.Empty(t, p.told, "the data are yet to come")
	_, err = d.View(0x1000, 8, false)
	require.NoError(t, err)
	require.Empty(t, p.told, "reading a ring tells nothing")
	_, err = d.View(0x1000, 8, true)
	require.NoError(t, err)
	require.Equal(t, []dmaRange{{0x7f00, 0x200}}, p.told)
}

func TestWhatADeviceReadsOrWritesElsewhereIsNotTold(t *testing.T) {
	d, p := newCodeDMA(t)
	for _, err := range []error{
		second(d.Segments(nil, 0x8000, 512, false)), second(d.Segments(nil, 0x9000, 512, true)), second(d.View(0x1000, 8, true)),
	} {
		require.NoError(t, err)
	}
	require.Empty(t, p.told)
	require.Error(t, second(d.Segments(nil, 1<<20, 512, true)))
	require.False(t, d.armed.Load())
}

func second[T any](_ T, err error) error { return err }

func TestACopyIntoCodeIsToldAtOnce(t *testing.T) {
	d, p := newCodeDMA(t)
	require.NoError(t, d.WriteAt([]byte{1, 2, 3}, 0x8ffe))
	require.Equal(t, []dmaRange{{0x8ffe, 3}}, p.told)
	require.Error(t, d.WriteAt([]byte{1}, 1<<20))
	require.Len(t, p.told, 1)
}

func TestWritesInFlightAreBounded(t *testing.T) {
	d, _ := newCodeDMA(t)
	for i := range uint64(maxRanges + 10) {
		require.NoError(t, second(d.Segments(nil, 0x8000+i%4096, 1, true)))
	}
	require.Len(t, d.ranges, maxRanges)
}
