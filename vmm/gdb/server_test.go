package gdb

import (
	"bytes"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu"
)

func TestASessionBeginsWithWhatIsSupported(t *testing.T) {
	c := dial(t, newFake())
	require.Contains(t, c.say("qSupported:swbreak+;hwbreak+;xmlRegisters=i386"), "QStartNoAckMode+")
	c.script("QStartNoAckMode", "OK")
	c.ack = false
	c.script(
		"vMustReplyEmpty", "", "!", "", "qTStatus", "", "qXfer:auxv:read::0,100", "",
		"qAttached", "1", "qC", "QC1", "qfThreadInfo", "m1,2", "qsThreadInfo", "l", "qSymbol::", "OK",
		"qThreadExtraInfo,2", hex.EncodeToString([]byte("second")), "qThreadExtraInfo,3", "E01",
		"T1", "OK", "T3", "E01", "Hg2", "OK", "qC", "QC2", "Hg3", "E01", "Hc-1", "OK", "H", "E01",
		"vCont?", "vCont;c;C;s;S", "qRcmd,"+hex.EncodeToString([]byte("uintr")), hex.EncodeToString([]byte("2 uintr\n")),
		"qRcmd,"+hex.EncodeToString([]byte("quiet")), "OK", "qRcmd,xx", "E01",
	)
}

func TestTheTargetDescriptionFitsTheRegisters(t *testing.T) {
	c := dial(t, newFake())
	var text strings.Builder
	for {
		part := c.say(fmt.Sprintf("qXfer:features:read:target.xml:%x,%x", text.Len(), 1000))
		raw, ok := unescaped([]byte(part[1:]))
		require.True(t, ok)
		text.Write(raw)
		if part[0] == 'l' {
			break
		}
	}
	require.Equal(t, description, text.String())
	var d struct {
		Architecture string `xml:"architecture"`
		Features     []struct {
			Name string `xml:"name,attr"`
			Regs []struct {
				Name string `xml:"name,attr"`
				Bits int    `xml:"bitsize,attr"`
			} `xml:"reg"`
		} `xml:"feature"`
	}
	require.NoError(t, xml.Unmarshal([]byte(text.String()), &d))
	require.Equal(t, "i386:x86-64", d.Architecture)
	n, bytes := 0, 0
	for _, f := range d.Features {
		for _, r := range f.Regs {
			require.Equal(t, registers[n].name, r.Name)
			require.Equal(t, registers[n].size*8, r.Bits)
			n, bytes = n+1, bytes+r.Bits/8
		}
	}
	require.Len(t, registers, n)
	require.Len(t, c.say("g"), 2*bytes)
	require.Equal(t, "rsp", registers[numberRSP].name)
	require.Equal(t, "rip", registers[numberRIP].name)
	c.script("qXfer:features:read:other.xml:0,100", "E00", "qXfer:features:read:target.xml:zz", "E01",
		"qXfer:features:read:target.xml:ffffff,10", "l")
}

func TestRegistersAreReadAndWritten(t *testing.T) {
	f := newFake()
	f.threads[1].General[3] = 0x1122334455667788 // RBX is register 1
	f.threads[1].X87.ST[0] = [10]byte{0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f}
	f.threads[1].X87.Status, f.threads[1].X87.Tag = 7<<11, 0x80
	c := dial(t, f)
	c.script("Hg2", "OK", "p1", "8877665544332211", "P1=0102030405060708", "OK", "p1", "0102030405060708",
		"p10", "0000000000000000", "pff", "E01", "p", "E01", "P1=01", "E01", "Pff=01", "E01",
		"p22", "ff3f0000") // ftag: the register at the top holds 1, the others are empty
	require.Equal(t, uint64(0x0807060504030201), f.threads[1].General[3])

	image := c.say("g")
	require.Equal(t, "0102030405060708", image[16:32])
	c.script("G"+strings.Repeat("00", 8)+image[16:], "OK", "G00", "E01", "Gxy", "E01")
	changed := strings.Repeat("11", 8) + image[16:]
	before := f.threads[1]
	c.script("G"+changed, "OK", "g", changed)
	before.General[0] = 0x1111111111111111
	require.Equal(t, before, f.threads[1], "nothing else changed")
	f.refuse = errNo
	c.script("G"+image, "E16", "P0=0102030405060708", "E16")
}

func TestMemoryIsReadAndWritten(t *testing.T) {
	f := newFake()
	c := dial(t, f)
	c.script("M1000,4:01020304", "OK", "m1000,4", "01020304", "m1002,2", "0304",
		"X1001,3:}\x03a}\x5d", "OK", "m1000,4", "0123617d", "X1000,0:", "OK",
		"m4fff,4", "00", "m5000,4", "E0e", "m0,1", "E0e", "M5000,1:00", "E0e", "M4fff,2:0000", "E0e",
		"m1000", "E01", "mx,1", "E01", "M1000,2:00", "E01", "M1000,1:0", "E01", "X1000,1:}", "E01", "M1000", "E01", "m1000,0", "")
	require.Len(t, c.say("m1000,ffffffff"), MaxPacket, "as much as a packet holds")
}

func TestBreakpointsStopThreads(t *testing.T) {
	f := newFake()
	c := dial(t, f)
	stop := func(rip string, thread int, reason string) string {
		return fmt.Sprintf("T0507:%s;10:%s;thread:%x;%s", strings.Repeat("00", 8), rip+strings.Repeat("00", 6), thread, reason)
	}
	c.script("Z0,2000,1", "OK", "Z0,2000,1", "OK", "Z1,1800,1", "OK", "?", strings.Replace(stop("0000", 1, ""), "T05", "T02", 1))
	require.Equal(t, []uint64{0x1800, 0x2000}, f.breaks)
	require.Equal(t, stop("0018", 1, ""), c.say("c"), "a debugger that knows no reasons is told none")
	c.say("qSupported:swbreak+;hwbreak+")
	c.script("?", stop("0018", 1, "hwbreak:;"), "vCont;c", stop("0020", 1, "swbreak:;"), "s", stop("0120", 1, ""))
	c.script("z0,2000,1", "OK", "z0,2000,1", "OK", "z1,1800,1", "OK")
	require.Empty(t, f.breaks)
	c.script("Z5,0,0", "", "Z0", "E01", "Z0,x,1", "E01", "Z2,1000,0", "E01", "Z0,1000,1;X1,00", "E16")
	f.refuse = errNo
	c.script("Z0,1000,1", "E16")
}

func TestWatchpointsAreNamedByTheirKind(t *testing.T) {
	for kind, want := range map[string]struct {
		name        string
		read, write bool
	}{"2": {"watch", false, true}, "3": {"rwatch", true, false}, "4": {"awatch", true, true}} {
		f := newFake()
		c := dial(t, f)
		c.script("Z"+kind+",1008,4", "OK")
		require.Equal(t, []vcpu.Watch{{Addr: 0x1008, Size: 4, Read: want.read, Write: want.write}}, f.watches)
		require.Contains(t, c.say("c"), "thread:1;"+want.name+":1008;")
		c.script("z"+kind+",1008,4", "OK")
		require.Empty(t, f.watches)
	}
}

func TestThreadsRunAsTheyAreTold(t *testing.T) {
	for packets, want := range map[string][]Action{
		"vCont;c":           {Continue, Continue},
		"vCont;s:1":         {Step, Stay},
		"vCont;s:2;c":       {Continue, Step},
		"vCont;s:2;c:-1":    {Continue, Step},
		"vCont;S05:1;C05":   {Step, Continue},
		"s":                 {Step, Continue},
		"Hc2 c":             {Stay, Continue},
		"Hg2 s":             {Continue, Step},
		"Hc2 S05;1234":      {Stay, Step},
		"Hc2 Hc0 c":         {Continue, Continue},
		"c1000":             {Continue, Continue},
		"vCont;c:2;s:2;s:1": {Step, Continue},
	} {
		f := newFake()
		f.breaks = []uint64{1 << 40}
		c := dial(t, f)
		for p := range strings.FieldsSeq(packets) {
			c.say(p)
		}
		require.Equal(t, [][]Action{want}, f.resumed, packets)
	}
	f := newFake()
	c := dial(t, f)
	for _, p := range []string{"vCont", "vCont;", "vCont;x", "vCont;c:9", "vCont;c:", "cxyz"} {
		require.Equal(t, "E01", c.say(p), p)
	}
	require.Empty(t, f.resumed)
	c.say("s1234")
	require.Equal(t, uint64(0x1235), f.threads[0].RIP)
}

func TestCtrlCStopsWhatRuns(t *testing.T) {
	f := newFake()
	f.endless = true
	c := dial(t, f)
	c.raw("\x03") // nothing runs
	c.script("qC", "QC1")
	c.raw(string(frame([]byte("c"))) + string(frame([]byte("g"))) + "\x03")
	require.Regexp(t, "^T02.*thread:2;$", c.next())
	c.script("qC", "QC2")
}

func TestTheMachinesEndIsTold(t *testing.T) {
	c := dial(t, newFake())
	require.Equal(t, "W07", c.say("c"))
	require.NoError(t, c.ended())

	f := newFake()
	f.endless = true
	c = dial(t, f)
	c.resume(f)
	f.stops <- Stop{Exited: true, Status: -1}
	require.Equal(t, "X06", c.next())
	require.NoError(t, c.ended())

	f = newFake()
	c = dial(t, f)
	c.script("qC", "QC1")
	f.stops <- Stop{Exited: true}
	require.NoError(t, c.ended(), "nobody waits for a reply")
}

func TestAProcessorThatCannotGoOnIsShown(t *testing.T) {
	f := newFake()
	f.endless = true
	c := dial(t, f)
	c.resume(f)
	f.stops <- Stop{Thread: 1, Failed: true}
	require.Regexp(t, "^T06.*thread:2;$", c.next())
}

func TestADebuggerLeaves(t *testing.T) {
	for name, leave := range map[string]func(c *client){
		"D":    func(c *client) { c.script("D", "OK") },
		"lost": func(c *client) { c.script("qC", "QC1"); c.conn.Close() },
		"lost while it runs": func(c *client) {
			c.script("qC", "QC1")
			c.raw(string(frame([]byte("c"))))
			c.conn.Close()
		},
	} {
		f := newFake()
		f.endless = true
		c := dial(t, f)
		leave(c)
		require.NoError(t, c.ended())
		require.Equal(t, 1, f.detached, name)
		require.False(t, f.killed, name)
	}
	for _, p := range []string{"k", "vKill;1"} {
		f := newFake()
		c := dial(t, f)
		c.raw(string(frame([]byte(p))))
		if p == "k" {
			m, err := c.in.next()
			require.NoError(t, err)
			require.Equal(t, ack, m.kind)
		} else {
			require.Equal(t, "OK", c.next())
		}
		require.NoError(t, c.ended())
		require.True(t, f.killed)
		require.Zero(t, f.detached)
	}
}

func TestAConnectionThatSaysNothingDoesNothing(t *testing.T) {
	f := newFake()
	c := dial(t, f)
	c.conn.Close()
	require.NoError(t, c.ended())
	require.Zero(t, f.attached+f.detached)

	c = dial(t, f)
	f.stops <- Stop{Thread: 1} // of a debugger before
	f.stops <- Stop{Exited: true}
	require.NoError(t, c.ended(), "the machine ends beside it")
	require.Zero(t, f.attached+f.detached)

	f.gone = errNo
	c = dial(t, f)
	c.raw("+")
	require.NoError(t, c.ended(), "a machine that has ended")
}

func TestADamagedPacketIsAskedForAgain(t *testing.T) {
	c := dial(t, newFake())
	c.raw("$qC#00")
	require.Equal(t, "-", c.next())
	c.script("qC", "QC1")
	c.raw("-")
	require.Equal(t, "QC1", c.next(), "the last reply, once more")
	c.raw(string(frame(bytes.Repeat([]byte{'a'}, MaxPacket+1)))[:MaxPacket+2])
	require.ErrorIs(t, c.ended(), ErrProtocol)
}

func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"qSupported:swbreak+", "Hg2", "g", "m1000,10", "X1000,1:}\x03", "Z2,1000,8", "vCont;s:1;c", "c", "p10", "P0=0000000000000000",
		"qXfer:features:read:target.xml:0,40", "qRcmd,75", "k", "D", "s1000", "C05;10", "vCont;c:-1",
	} {
		f.Add([]byte(s), []byte("?"))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var stream []byte
		for _, p := range [][]byte{[]byte("QStartNoAckMode"), first, second, []byte("g")} {
			stream = append(stream, frame(p)...)
		}
		target := newFake()
		_ = Serve(&hostile{in: bytes.NewReader(stream)}, target)
	})
}
