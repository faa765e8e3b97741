package platform

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatResetsAPC(t *testing.T) {
	type write struct {
		port uint16
		data []byte
	}
	w := func(port uint16, data ...byte) write { return write{port, data} }
	for name, c := range map[string]struct {
		writes []write
		resets int
	}{
		"8042 pulse":                {[]write{w(PortKeyboardCommand, 0xfe)}, 1},
		"8042 pulse of all":         {[]write{w(PortKeyboardCommand, 0xf0)}, 1},
		"8042 pulse of others":      {[]write{w(PortKeyboardCommand, 0xfd), w(PortKeyboardCommand, 0xff)}, 0},
		"8042 output port":          {[]write{w(PortKeyboardCommand, 0xd1), w(PortKeyboard, 0x02)}, 1},
		"8042 A20":                  {[]write{w(PortKeyboardCommand, 0xd1), w(PortKeyboard, 0xdf)}, 0},
		"data without a command":    {[]write{w(PortKeyboard, 0)}, 0},
		"one datum a command":       {[]write{w(PortKeyboardCommand, 0xd1), w(PortKeyboard, 0xdf), w(PortKeyboard, 0)}, 0},
		"fast reset":                {[]write{w(PortFastReset, 1)}, 1},
		"fast reset by a rise only": {[]write{w(PortFastReset, 1), w(PortFastReset, 1), w(PortFastReset, 2), w(PortFastReset, 3)}, 2},
		"A20 by port 92H":           {[]write{w(PortFastReset, 2)}, 0},
		"reset control, hard":       {[]write{w(PortResetControl, 2), w(PortResetControl, 6)}, 1},
		"reset control, soft":       {[]write{w(PortResetControl, 4)}, 1},
		"reset control, kind only":  {[]write{w(PortResetControl, 0x0a)}, 0},
		"reset control, held":       {[]write{w(PortResetControl, 6), w(PortResetControl, 6)}, 1},
		"PCI's dword":               {[]write{w(PortResetControl, 6, 0), w(PortResetControl-1, 0, 6, 0, 0)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			r := NewReset(func() { n++ })
			for _, w := range c.writes {
				r.Write(w.port, w.data)
			}
			require.Equal(t, c.resets, n)
		})
	}
}

func TestTheResetPortsReadBack(t *testing.T) {
	r := NewReset(nil)
	out(r, PortFastReset, 0x10)
	require.EqualValues(t, 0x12, in(r, PortFastReset), "A20 is open")
	out(r, PortResetControl, 0xfa)
	require.EqualValues(t, 0x0a, in(r, PortResetControl))
}

func TestTheKeyboardControllerNeverKeepsADriverWaiting(t *testing.T) {
	r := NewReset(nil)
	const inputFull = 1 << 1
	ask := func(command byte) byte {
		out(r, PortKeyboardCommand, command)
		require.NotZero(t, in(r, PortKeyboardCommand)&statusFull)
		require.NotZero(t, in(r, PortKeyboardCommand)&statusCommand)
		v := in(r, PortKeyboard)
		require.Zero(t, in(r, PortKeyboardCommand)&statusFull)
		return v
	}
	require.EqualValues(t, statusSystem|statusNoLock, in(r, PortKeyboardCommand))
	require.EqualValues(t, selfTestPassed, ask(commandSelfTest))
	require.Zero(t, ask(commandTestPort))
	require.EqualValues(t, outRun|outA20, ask(commandReadOut))
	out(r, PortKeyboardCommand, commandWriteByte)
	out(r, PortKeyboard, 0x45)
	require.EqualValues(t, 0x45, ask(commandReadByte))
	out(r, PortKeyboardCommand, commandNoPort)
	require.EqualValues(t, 0x55, ask(commandReadByte))
	out(r, PortKeyboardCommand, commandPort)
	require.EqualValues(t, 0x45, ask(commandReadByte))
	for v := range 256 {
		out(r, PortKeyboardCommand, byte(v))
		require.Zero(t, in(r, PortKeyboardCommand)&inputFull)
	}
}

func TestADebugExitIsOdd(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		want int
	}{
		{[]byte{0}, 1},
		{[]byte{0x10}, 0x21},
		{[]byte{1, 2}, 0x403},
		{[]byte{0xff, 0xff, 0xff, 0xff}, 0x1ffffffff},
	} {
		require.Equal(t, c.want, DebugExitStatus(c.b))
	}
}
