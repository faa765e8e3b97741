package vmm

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gvmm/kvm"
	"gvmm/vcpu"
	"gvmm/vcpu/hw"
	"gvmm/vmm/gdb"
)

// debugged is a machine that runs under a debugger.
type debugged struct {
	t      *testing.T
	socket string
	serial syncBuffer
	done   chan struct{}
	status int
	err    error
	cancel context.CancelFunc
}

// syncBuffer is what a guest prints, while it does.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// debugMachine starts a machine that waits for its debugger.
func debugMachine(t *testing.T, c Config) *debugged {
	t.Helper()
	d := &debugged{t: t, socket: filepath.Join(t.TempDir(), "gdb"), done: make(chan struct{})}
	var err error
	c.GDB, err = gdb.Listen("unix:" + d.socket)
	require.NoError(t, err)
	if c.Accel == vcpu.AccelAuto {
		c.Accel = vcpu.AccelSoft
	}
	c.Serial = &d.serial
	m, err := New(c)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	d.cancel = cancel
	go func() {
		defer close(d.done)
		d.status, d.err = m.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-d.done
		require.NoError(t, m.Close())
	})
	return d
}

// wait returns how the machine ended.
func (d *debugged) wait() (int, error) {
	d.t.Helper()
	select {
	case <-d.done:
	case <-time.After(50 * time.Second):
		require.Fail(d.t, "the machine does not end", d.serial.String())
	}
	return d.status, d.err
}

// session is a debugger.
type session struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (d *debugged) dial() *session {
	d.t.Helper()
	conn, err := net.Dial("unix", d.socket)
	require.NoError(d.t, err)
	d.t.Cleanup(func() { conn.Close() })
	require.NoError(d.t, conn.SetDeadline(time.Now().Add(50*time.Second)))
	s := &session{d.t, conn, bufio.NewReader(conn)}
	require.Equal(d.t, "OK", s.say("QStartNoAckMode"))
	return s
}

func (s *session) send(text string) {
	s.t.Helper()
	var sum uint8
	for i := range len(text) {
		sum += text[i]
	}
	_, err := fmt.Fprintf(s.conn, "$%s#%02x", text, sum)
	require.NoError(s.t, err)
}

func (s *session) next() string {
	s.t.Helper()
	_, err := s.in.ReadString('$')
	require.NoError(s.t, err)
	text, err := s.in.ReadString('#')
	require.NoError(s.t, err)
	_, err = io.ReadFull(s.in, make([]byte, 2))
	require.NoError(s.t, err)
	return strings.TrimSuffix(text, "#")
}

func (s *session) say(text string) string {
	s.t.Helper()
	s.send(text)
	return s.next()
}

func (s *session) ok(text string) {
	s.t.Helper()
	require.Equal(s.t, "OK", s.say(text), text)
}

// rip is the program counter of a thread.
func (s *session) rip(thread int) uint64 {
	s.t.Helper()
	s.ok(fmt.Sprintf("Hg%x", thread))
	raw, err := hex.DecodeString(s.say("p10"))
	require.NoError(s.t, err)
	require.Len(s.t, raw, 8)
	return binary.LittleEndian.Uint64(raw)
}

func (s *session) interrupt() {
	s.t.Helper()
	_, err := s.conn.Write([]byte{3})
	require.NoError(s.t, err)
}

// symbol is the address of a symbol of an image's, and the bytes that are there.
func symbol(t *testing.T, image, name string) (addr uint64, code []byte) {
	t.Helper()
	f, err := elf.Open(image)
	require.NoError(t, err)
	defer f.Close()
	all, err := f.Symbols()
	require.NoError(t, err)
	for _, s := range all {
		if s.Name == name {
			section := f.Sections[s.Section]
			code = make([]byte, 8)
			_, err := section.ReadAt(code, int64(s.Value-section.Addr))
			require.NoError(t, err)
			return s.Value, code
		}
	}
	require.Fail(t, "no symbol", name)
	return 0, nil
}

func TestADebuggerSeesTheGuestFromItsFirstInstruction(t *testing.T) {
	image := guestImage(t, "guest")
	disk, sum := newDisk(t, 64<<10)
	d := debugMachine(t, Config{Image: image, UINTR: true, Posted: true, Disks: []Disk{{Path: disk, ReadOnly: true}}})
	s := d.dial()
	require.Contains(t, s.say("?"), "thread:1;")
	require.Equal(t, uint64(0x10002c), s.rip(1))
	require.Contains(t, s.say("vCont;s:1"), "T05")
	require.Equal(t, uint64(0x10002e), s.rip(1))
	require.Empty(t, d.serial.String())

	// In the kernel, and in the program, through its page tables.
	for _, name := range []string{"devices_init", "disk_read"} {
		addr, code := symbol(t, image, name)
		s.ok(fmt.Sprintf("Z0,%x,1", addr))
		require.Contains(t, s.say("vCont;c"), "T05", name)
		require.Equal(t, addr, s.rip(1), name)
		require.Equal(t, hex.EncodeToString(code), s.say(fmt.Sprintf("m%x,8", addr)), "memory is as it was")
		s.ok(fmt.Sprintf("z0,%x,1", addr))
	}
	require.Contains(t, decodeHex(t, s.say("qRcmd,"+hex.EncodeToString([]byte("uintr")))), "handler 0x")
	require.Contains(t, decodeHex(t, s.say("qRcmd,"+hex.EncodeToString([]byte("cpus")))), "CPL 3")
	require.Contains(t, decodeHex(t, s.say("qRcmd,"+hex.EncodeToString([]byte("help")))), "monitor uintr")

	s.ok("D")
	status, err := d.wait()
	require.NoError(t, err)
	require.Zero(t, status, d.serial.String())
	require.Contains(t, d.serial.String(), "sha256 "+sum)
}

func decodeHex(t *testing.T, text string) string {
	t.Helper()
	b, err := hex.DecodeString(text)
	require.NoError(t, err, text)
	return string(b)
}

func TestProcessorsStopAndGoOnTogether(t *testing.T) {
	image := guestImage(t, "ipi")
	d := debugMachine(t, Config{Image: image, UINTR: true, CPUs: 4, Command: "rounds=50 soak=100"})
	s := d.dial()
	require.Equal(t, "m1,2,3,4", s.say("qfThreadInfo"))
	for range 20 {
		s.send("vCont;c")
		time.Sleep(2 * time.Millisecond)
		s.interrupt()
		if reply := s.next(); reply[0] == 'W' {
			t.Skip("the guest was done before it was stopped often enough")
		}
		for cpu := range 4 {
			s.rip(cpu + 1)
		}
		require.Contains(t, s.say("vCont;s:1"), "T05", "one processor runs by itself")
		require.Contains(t, s.say("vCont;s:1;c"), "T05", "the others go on beside it")
	}
	s.ok("D")
	status, err := d.wait()
	require.NoError(t, err)
	require.Zero(t, status, d.serial.String())
	require.Contains(t, d.serial.String(), "4 CPUs, 50 round trips")
}

func TestAWatchpointFindsWhoWrites(t *testing.T) {
	image := guestImage(t, "guest")
	disk, _ := newDisk(t, 64<<10)
	d := debugMachine(t, Config{Image: image, UINTR: true, Posted: true, Disks: []Disk{{Path: disk, ReadOnly: true}}})
	s := d.dial()
	program, err := elf.Open(image)
	require.NoError(t, err)
	defer program.Close()
	all, err := program.Symbols()
	require.NoError(t, err)
	var index, size uint64
	for _, sym := range all {
		if sym.Name == "avail_idx" {
			index, size = sym.Value, sym.Size
		}
	}
	require.NotZero(t, index)
	s.ok(fmt.Sprintf("Z2,%x,%x", index, size))
	for want := uint16(1); want <= 3; {
		require.Contains(t, s.say("vCont;c"), fmt.Sprintf("watch:%x;", index))
		raw, err := hex.DecodeString(s.say(fmt.Sprintf("m%x,2", index)))
		require.NoError(t, err)
		if v := binary.LittleEndian.Uint16(raw); v != 0 { // else the clearing of .bss
			require.Equal(t, want, v)
			want++
		}
	}
	s.send("k")
	_, err = d.wait()
	require.ErrorIs(t, err, context.Canceled)
}

func TestAKillEndsTheMachine(t *testing.T) {
	d := debugMachine(t, Config{Image: guestImage(t, "guest")})
	s := d.dial()
	s.send("k")
	_, err := d.wait()
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "the debugger ended the machine")
}

func TestAnotherDebuggerMayComeWhenTheFirstIsGone(t *testing.T) {
	disk, _ := newDisk(t, 64<<10)
	d := debugMachine(t, Config{
		Image: guestImage(t, "guest"), UINTR: true, Posted: true, Command: "requests=4000000000 hash=0",
		Disks: []Disk{{Path: disk, ReadOnly: true}},
	})
	quiet, err := net.Dial("unix", d.socket)
	require.NoError(t, err)
	require.NoError(t, quiet.Close()) // one that says nothing

	s := d.dial()
	require.Equal(t, uint64(0x10002c), s.rip(1), "nothing has run")
	s.ok("Z0,10002e,1")
	for goesOn := false; !goesOn; { // its breakpoint must not stop it
		s.conn.Close()
		s = d.dial()
		require.Contains(t, s.say("?"), "thread:1;")
		goesOn = s.rip(1) > 0x10002e
	}
	s.send("vCont;c")
	s.interrupt()
	require.Contains(t, s.next(), "T02")
	s.send("vKill;1")
	require.Equal(t, "OK", s.next())
	_, err = d.wait()
	require.ErrorIs(t, err, context.Canceled)
}

func TestTheEndOfAGuestIsTold(t *testing.T) {
	d := debugMachine(t, Config{Image: guestImage(t, "guest")}) // no user interrupts: it says so and ends
	require.Equal(t, "W01", d.dial().say("vCont;c"))
	status, err := d.wait()
	require.NoError(t, err)
	require.Equal(t, 1, status)

	d = debugMachine(t, Config{Image: guestImage(t, "guest")})
	quiet, err := net.Dial("unix", d.socket)
	require.NoError(t, err)
	defer quiet.Close()
	d.cancel()
	_, err = d.wait()
	require.ErrorIs(t, err, context.Canceled, "a connection that says nothing holds nobody up")

	d = debugMachine(t, Config{Image: guestImage(t, "guest")})
	s := d.dial()
	s.ok("qSymbol::")
	d.cancel()
	_, err = d.wait()
	require.ErrorIs(t, err, context.Canceled)
}

func TestAGuestThatCannotGoOnIsShownAndThenEnds(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	d := debugMachine(t, Config{Image: guestImage(t, "guest")})
	s := d.dial()
	s.ok("M10002e,2:0f0b") // UD2 without an IDT
	require.Contains(t, s.say("vCont;c"), "T06")
	require.Equal(t, uint64(0x10002e), s.rip(1))
	require.Contains(t, decodeHex(t, s.say("qThreadExtraInfo,1")), "triple fault")
	require.Equal(t, "X06", s.say("vCont;c"))
	_, err := d.wait()
	require.ErrorIs(t, err, vcpu.ErrGuest)
}

func TestAnEngineThatCannotBeDebuggedIsRefused(t *testing.T) {
	image := guestImage(t, "guest")
	guestKVM(t)
	if hw.ProbeDebug(kvm.DefaultPath) == nil {
		t.Skip("this host's KVM can be debugged")
	}
	l, err := gdb.Listen("unix:" + filepath.Join(t.TempDir(), "gdb"))
	require.NoError(t, err)
	defer l.Close()
	_, err = New(Config{Image: image, Accel: vcpu.AccelKVM, GDB: l})
	require.ErrorIs(t, err, hw.ErrDebug)
	require.ErrorContains(t, err, "--accel soft")

	m := newMachine(t, Config{Image: image, GDB: l})
	require.Equal(t, vcpu.AccelSoft, m.config.Accel, "where the choice is free")
}

func TestGDBDebugsAGuest(t *testing.T) {
	program, err := exec.LookPath("gdb")
	if err != nil {
		t.Skip("needs gdb")
	}
	image := guestImage(t, "guest")
	disk, sum := newDisk(t, 64<<10)
	d := debugMachine(t, Config{Image: image, UINTR: true, Posted: true, Disks: []Disk{{Path: disk, ReadOnly: true}}})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	args := []string{"-nx", "-batch"}
	for _, line := range []string{
		"set confirm off", "file " + image, "target remote " + d.socket,
		"break devices_init", "continue", "printf \"first %lx\\n\", $rip - (long)&devices_init", "delete",
		"hbreak disk_read", "continue", "printf \"second %lx cpl %d\\n\", $rip - (long)&disk_read, $cs & 3",
		"stepi", "set $before = $rip", "stepi", "printf \"stepped %d\\n\", $rip != $before", "info threads", "p $xmm0.uint128", "p $ftag", "p $cr3 != 0",
		"monitor cpus", "watch *(unsigned short *)&avail_idx", "continue", "p *(unsigned short *)&avail_idx", "delete", "continue",
	} {
		args = append(args, "-ex", line)
	}
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	text := string(out)
	require.NoError(t, err, text)
	for _, want := range []string{
		"first 0\n", "second 0 cpl 3\n", "stepped 1\n", "CPU 0 [CPL 3]", "CS:RIP 0033:", "Hardware watchpoint", "New value = 1\n", "exited normally",
	} {
		require.Contains(t, text, want)
	}
	status, err := d.wait()
	require.NoError(t, err)
	require.Zero(t, status)
	require.Contains(t, d.serial.String(), "sha256 "+sum)
}

// guestKVM skips the test where KVM cannot be opened.
func guestKVM(t *testing.T) {
	t.Helper()
	s, err := kvm.Open(kvm.DefaultPath)
	if err != nil {
		t.Skip(errors.Join(errors.New("needs KVM"), err))
	}
	require.NoError(t, s.Close())
}
