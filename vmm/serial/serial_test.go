package serial

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatIsTransmittedArrives(t *testing.T) {
	var out bytes.Buffer
	p := New(&out)
	for _, c := range []byte("hello\n") {
		require.NotZero(t, p.Read(regLSR)&0x20, "ready to transmit")
		p.Write(regData, c)
	}
	require.Equal(t, "hello\n", out.String())
	require.Zero(t, p.Read(regLSR)&1, "nothing was received")
}

func TestTheDivisorLatchTransmitsNothing(t *testing.T) {
	var out bytes.Buffer
	p := New(&out)
	p.Write(regIER, 5)
	p.Write(regLCR, lcrDLAB|3)
	p.Write(regData, 1)
	p.Write(regIER, 2)
	require.EqualValues(t, 1, p.Read(regData))
	require.EqualValues(t, 2, p.Read(regIER))
	p.Write(regLCR, 3)
	require.EqualValues(t, 5, p.Read(regIER))
	require.Empty(t, out.Bytes())
}

func TestRegistersReadBackAsADriverProbesThem(t *testing.T) {
	p := New(&bytes.Buffer{})
	p.Write(regScratch, 0x5a)
	require.EqualValues(t, 0x5a, p.Read(regScratch))
	require.EqualValues(t, iirNone, p.Read(regIIR))
	p.Write(regIIR, fcrEnable)
	require.EqualValues(t, iirNone|iirFIFO, p.Read(regIIR))
	p.Write(regLSR, 0)
	require.EqualValues(t, lsrIdle, p.Read(regLSR), "read only")
	p.Write(regMSR, 0)
	require.EqualValues(t, msrConnected, p.Read(regMSR), "read only")
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("nobody listens") }

func TestALineWithNobodyAtItsEndLosesOutput(t *testing.T) {
	p := New(broken{})
	p.Write(regData, 'x')
	require.EqualValues(t, lsrIdle, p.Read(regLSR))
}
