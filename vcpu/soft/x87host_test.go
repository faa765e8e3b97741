package soft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/float"
)

// query87 is one instruction for the host's CPU, answer87 what it did: see
// testdata/x87oracle.c.
type (
	query87 struct {
		State  image87
		Code   [8]byte
		Memory [16]byte
		Flags  uint32
	}
	answer87 struct {
		State  image87
		Memory [16]byte
		Flags  uint32
		RAX    uint64
	}
)

func askHost87(t *testing.T, qs []query87) []answer87 {
	t.Helper()
	if runtime.GOARCH != "amd64" || runtime.GOOS != "linux" {
		t.Skip("the oracle needs Linux on amd64")
	}
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("the oracle needs gcc")
	}
	path := filepath.Join(t.TempDir(), "x87oracle")
	if out, err := exec.Command(gcc, "-O1", "-mno-red-zone", "-o", path, "testdata/x87oracle.c").CombinedOutput(); err != nil {
		t.Skipf("gcc cannot make the oracle: %s", out)
	}
	var in bytes.Buffer
	require.NoError(t, binary.Write(&in, binary.LittleEndian, qs))
	cmd := exec.Command(path)
	cmd.Stdin = &in
	out, err := cmd.Output()
	require.NoError(t, err)
	as := make([]answer87, len(qs))
	require.NoError(t, binary.Read(bytes.NewReader(out), binary.LittleEndian, as))
	return as
}

// roughly says that an operation's last bit may differ, c1 that C1 may.
func roughly(op decode.Op) (rough, c1 bool) {
	switch op {
	case decode.FCOMI, decode.FCOMIP, decode.FUCOMI, decode.FUCOMIP:
		return false, true // AMD's leave it
	case decode.F2XM1, decode.FYL2X, decode.FYL2XP1, decode.FPTAN, decode.FPATAN, decode.FSIN, decode.FCOS, decode.FSINCOS:
		return true, true
	}
	return false, false
}

// same compares two registers, of which the last place may differ if rough is set.
func same(a, b float.F80, rough bool) bool {
	if a == b {
		return true
	}
	d := int64(a.Man - b.Man)
	switch {
	case !rough:
		return false
	case a.SE == b.SE:
		return d >= -1 && d <= 1
	}
	return a.SE == b.SE+1 && a.Man == 1<<63 && b.Man == 1<<64-1 || b.SE == a.SE+1 && b.Man == 1<<63 && a.Man == 1<<64-1
}

// codes87 gives every x87 instruction but those that load and store environments:
// with a memory operand at [rdi], and with registers.
func codes87(t *testing.T) (codes [][8]byte) {
	for op := 0xd8; op <= 0xdf; op++ {
		for modrm := range 0x100 {
			if modrm < 0xc0 && modrm&0xc7 != 7 {
				continue
			}
			if op == 0xdb && modrm == 0xe5 {
				continue // FRSTPM: not every processor ignores it
			}
			if op == 0xd9 && modrm&^7 == 0xd8 {
				continue // an alias of FSTP that knows no stack underflow
			}
			code := [8]byte{byte(op), byte(modrm), 0x90, 0x90, 0x90, 0x90, 0x90, 0x90}
			switch in := decode87(t, code[:]); in.Op {
			case decode.UD, decode.FLDENV, decode.FNSTENV, decode.FRSTOR, decode.FNSAVE:
			default:
				codes = append(codes, code)
			}
		}
	}
	return codes
}

func TestX87InstructionsAgreeWithTheHost(t *testing.T) {
	g := newGen87(1)
	var qs []query87
	for _, code := range codes87(t) {
		for range 250 {
			qs = append(qs, query87{State: g.state(), Code: code, Memory: g.memory(), Flags: g.Uint32() & flagsArith})
		}
	}
	c, ram := x87Rig(t)
	bad := map[string]int{}
	for i, want := range askHost87(t, qs) {
		q := &qs[i]
		in := decode87(t, q.Code[:])
		q.State.load(c)
		copy(ram[x87RAM:], q.Memory[:])
		c.r[rax] = 0
		c.setArith(uint64(q.Flags))
		require.True(t, run87(t, c, ram, q.Code[:]...), "%v", in.Op)

		var got answer87
		got.State.save(c)
		copy(got.Memory[:], ram[x87RAM:])
		got.Flags = uint32(c.arith())
		got.RAX = c.r[rax]
		rough, anyC1 := roughly(in.Op)
		if why := differ87(&got, &want, rough, anyC1); why != "" {
			name := fmt.Sprintf("%v %X", in.Op, q.Code[:2])
			if bad[in.Op.String()]++; bad[in.Op.String()] <= 2 {
				t.Errorf("%s: %s\nbefore %s\n   got %s\n  host %s", name, why, show(&q.State, q.Memory), show(&got.State, got.Memory), show(&want.State, want.Memory))
			}
		}
	}
	t.Logf("%d instructions", len(qs))
}

func show(p *image87, m [16]byte) string {
	s := fmt.Sprintf("CW %04X SW %04X TW %04X M %X", p.control(), p.status(), p.word(8), m)
	for i := range 8 {
		s += fmt.Sprintf(" %04X:%016X", p.reg(i).SE, p.reg(i).Man)
	}
	return s
}

func differ87(got, want *answer87, rough, anyC1 bool) string {
	ignore := uint16(0)
	if anyC1 {
		ignore = swC1
	}
	switch {
	case got.State.control() != want.State.control():
		return "control"
	case (got.State.status()^want.State.status())&^ignore != 0:
		return "status"
	case got.State.word(8) != want.State.word(8):
		return "tags"
	case got.Memory != want.Memory:
		return "memory"
	case got.RAX != want.RAX:
		return "RAX"
	case got.Flags != want.Flags&flagsArith:
		return "RFLAGS"
	}
	for i := range 8 {
		if !same(got.State.reg(i), want.State.reg(i), rough) {
			return fmt.Sprintf("ST%d", i)
		}
	}
	return ""
}
