package serial

import (
	"bytes"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// wired is a port with its interrupt line.
type wired struct {
	*Port
	out   bytes.Buffer
	high  bool
	rises int
	rooms int
}

func newWired() *wired {
	w := &wired{}
	w.Port = NewPort(Config{
		Out: &w.out,
		IRQ: func(high bool) {
			if high && !w.high {
				w.rises++
			}
			w.high = high
		},
		Room: func() { w.rooms++ },
	})
	return w
}

const fifos = fcrEnable | 2<<fcrTrigger // trigger at 8

func TestReceivedBytesAreReadInOrder(t *testing.T) {
	p := newWired()
	p.Write(regIIR, fifos)
	require.Equal(t, 5, p.Receive([]byte("hello")))
	for _, c := range []byte("hello") {
		require.NotZero(t, p.Read(regLSR)&lsrReady)
		require.Equal(t, c, p.Read(regData))
	}
	require.Zero(t, p.Read(regLSR)&lsrReady)
	require.Zero(t, p.Read(regData))
	require.Zero(t, p.rises, "nobody asked for interrupts")
}

func TestWhatThereIsNoRoomForIsNotTaken(t *testing.T) {
	p := newWired()
	require.Equal(t, 1, p.Receive([]byte("ab")), "without FIFOs")
	require.Zero(t, p.Receive([]byte("b")))
	require.Zero(t, p.rooms)
	require.EqualValues(t, 'a', p.Read(regData))
	require.Equal(t, 1, p.rooms, "told once")
	p.Write(regIIR, fifos)
	require.Equal(t, 16, p.Receive(make([]byte, 20)))
	p.Read(regData)
	require.Equal(t, 2, p.rooms)
	p.Read(regData)
	require.Equal(t, 2, p.rooms)
	require.Zero(t, p.Read(regLSR)&lsrOverrun)
	require.Zero(t, p.Receive(nil))
}

func TestReceivingInterruptsByTriggerAndTimeout(t *testing.T) {
	p := newWired()
	p.Write(regIER, ierReceived)
	p.Receive([]byte("x"))
	require.True(t, p.high)
	require.EqualValues(t, iirReceived, p.Read(regIIR), "without FIFOs")
	p.Read(regData)
	require.False(t, p.high)

	p.Write(regIIR, fifos)
	p.Receive(make([]byte, 7))
	require.EqualValues(t, iirFIFO|iirTimeout, p.Read(regIIR), "below the trigger")
	p.Receive(make([]byte, 1))
	require.EqualValues(t, iirFIFO|iirReceived, p.Read(regIIR))
	p.Write(regIIR, fifos|fcrClear)
	require.False(t, p.high, "emptied")
	require.EqualValues(t, iirFIFO|iirNone, p.Read(regIIR))
	require.Equal(t, 2, p.rises)
}

func TestTurningFIFOsOffEmptiesThem(t *testing.T) {
	p := newWired()
	p.Write(regIIR, fifos)
	p.Receive([]byte("abc"))
	p.Write(regIIR, fcrEnable|3<<fcrTrigger)
	require.NotZero(t, p.Read(regLSR)&lsrReady, "a new trigger does not")
	p.Write(regIIR, 0xc0)
	require.Zero(t, p.Read(regLSR)&lsrReady)
	require.EqualValues(t, iirNone, p.Read(regIIR))
	require.Equal(t, 1, p.Receive([]byte("ab")))
}

func TestAnEmptyTransmitterInterruptsOnceForEachReason(t *testing.T) {
	p := newWired()
	p.Write(regIER, ierTransmitted)
	require.Equal(t, 1, p.rises, "enabled while empty")
	require.EqualValues(t, iirTransmitted, p.Read(regIIR))
	require.False(t, p.high, "reading it ends it")
	require.EqualValues(t, iirNone, p.Read(regIIR))
	p.Write(regIER, ierTransmitted)
	require.False(t, p.high, "it was enabled")
	p.Write(regData, 'a')
	p.Write(regData, 'b')
	require.Equal(t, 3, p.rises, "an edge for each byte")
	p.Write(regIER, 0)
	require.False(t, p.high)
	p.Write(regIER, ierTransmitted)
	require.True(t, p.high, "as drivers test for")
	require.Equal(t, "ab", p.out.String())
}

func TestInterruptsComeByTheirUrgency(t *testing.T) {
	p := newWired()
	p.Write(regIER, ierBits)
	p.Write(regMCR, mcrLoop)
	p.Write(regData, 'a')
	p.Write(regData, 'b') // overrun
	require.EqualValues(t, iirLine, p.Read(regIIR))
	require.EqualValues(t, lsrIdle|lsrOverrun|lsrReady, p.Read(regLSR))
	require.EqualValues(t, iirReceived, p.Read(regIIR))
	require.EqualValues(t, 'a', p.Read(regData))
	require.EqualValues(t, iirTransmitted, p.Read(regIIR))
	require.EqualValues(t, iirModem, p.Read(regIIR))
	require.True(t, p.high)
	require.EqualValues(t, msrConnected>>msrDelta, p.Read(regMSR))
	require.EqualValues(t, iirNone, p.Read(regIIR))
	require.False(t, p.high)
	require.Equal(t, 1, p.rises, "one reason after the other holds the line")
	require.Empty(t, p.out.Bytes(), "looped back")
}

func TestLoopbackTurnsOutputsIntoInputs(t *testing.T) {
	p := newWired()
	for mcr, want := range map[byte]byte{1: 0x20, 2: 0x10, 4: 0x40, 8: 0x80, 15: 0xf0, 10: 0x90, 0: 0} {
		p.Write(regMCR, mcrLoop|mcr)
		require.Equal(t, want, p.Read(regMSR)&msrInputs, "MCR %#x", mcr)
		require.Equal(t, mcrLoop|mcr, p.Read(regMCR))
	}
	p.Write(regMCR, mcrLoop|4)
	p.Read(regMSR)
	p.Write(regMCR, mcrLoop)
	require.EqualValues(t, msrRing>>msrDelta, p.Read(regMSR), "RI's fall")
	p.Write(regMCR, mcrLoop|4)
	require.EqualValues(t, msrRing, p.Read(regMSR), "not its rise")
	require.Zero(t, p.Receive([]byte("x")), "the line is not connected")
	p.Write(regMCR, 0xff&^mcrLoop)
	require.EqualValues(t, 0x0f, p.Read(regMCR))
	require.Equal(t, 1, p.rooms)
}

func TestNothingReceivedIsLostOrReordered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newWired()
		if rapid.Bool().Draw(t, "FIFOs") {
			p.Write(regIIR, byte(rapid.IntRange(0, 3).Draw(t, "trigger"))<<fcrTrigger|fcrEnable)
		}
		p.Write(regIER, ierReceived)
		var sent, got []byte
		for range 100 {
			if rapid.Bool().Draw(t, "receive") {
				b := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "bytes")
				sent = append(sent, b[:p.Receive(b)]...)
			} else if p.Read(regLSR)&lsrReady != 0 {
				got = append(got, p.Read(regData))
			}
			require.Equal(t, len(sent) > len(got), p.high, "the line says whether something waits")
		}
		for p.high {
			got = append(got, p.Read(regData))
		}
		require.Equal(t, sent, got)
	})
}

func TestPortsWithoutAnyoneWork(t *testing.T) {
	p := NewPort(Config{})
	p.Write(regIER, ierBits)
	p.Write(regData, 'x')
	p.Receive([]byte("ab"))
	p.Read(regData)
	require.EqualValues(t, 0x0f, p.Read(regIER))
	p.Write(regLCR, 0x1b)
	require.EqualValues(t, 0x1b, p.Read(regLCR))
}

func TestInputAndProcessorsAtOnce(t *testing.T) {
	p := NewPort(Config{IRQ: func(bool) {}, Room: func() {}})
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			for i := range 3000 {
				p.Write(uint16(i), byte(i))
				p.Read(uint16(i))
				p.Receive([]byte("xy"))
			}
		})
	}
	wait.Wait()
}

// FuzzPort gives the port any accesses: two bytes each.
func FuzzPort(f *testing.F) {
	f.Add([]byte{1, 0xff, 4, 0x1f, 0, 7, 8, 9, 0x88, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		p := newWired()
		for ; len(b) >= 2; b = b[2:] {
			switch {
			case b[0]&0x10 != 0:
				require.LessOrEqual(t, p.Receive(b), len(b))
			case b[0]&8 != 0:
				p.Read(uint16(b[0]))
			default:
				p.Write(uint16(b[0]), b[1])
			}
			require.LessOrEqual(t, p.held, p.depth())
			require.Equal(t, p.cause() != iirNone, p.high)
		}
	})
}
