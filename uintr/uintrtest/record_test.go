package uintrtest

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write uintrtest.h")

func TestHeaderIsCurrent(t *testing.T) {
	if *update {
		require.NoError(t, os.WriteFile("uintrtest.h", []byte(Header()), 0o644))
	}
	have, err := os.ReadFile("uintrtest.h")
	require.NoError(t, err)
	require.Equal(t, Header(), string(have), "go generate ./uintr/uintrtest")
}

func TestHeaderCompiles(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	source := filepath.Join(t.TempDir(), "h.c")
	require.NoError(t, os.WriteFile(source, []byte(Header()), 0o644))
	out, err := exec.Command(cc, "-std=c11", "-Wall", "-Werror", "-fsyntax-only", source).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestLayoutHasNoOverlap(t *testing.T) {
	for _, s := range layout {
		end := 0
		for _, m := range s.members {
			require.GreaterOrEqual(t, m.offset, end, "%s.%s", s.name, m.name)
			end = m.offset + m.size
		}
		require.LessOrEqual(t, end, s.size, s.name)
	}
}

func TestEncodeResolvesAddresses(t *testing.T) {
	c := newCase("x", UIRET, func(c *Case) {
		c.Operand, c.Vector, c.Flags, c.NoHardware = 0x1122, 0x33, FlagPlaceFrame, "reason"
		c.Before.UIRR, c.Before.UIF = 5, true
		c.RFLAGS = flagCF
		c.Frame = ReturnFrame{KindAfter.At(0), 0x44, KindUnmapped.At(8)}
	}, nil)
	p := Encode(c, FlatBases)
	require.Len(t, p, CaseSize)
	for _, row := range []struct {
		off  int
		want uint64
	}{
		{0, 4 | 0x33<<32}, {8, uint64(FlagPlaceFrame | FlagNoGuest)}, {16, 0x1122},
		{24, 5}, {32, 1}, {40, FlatBases.Handler}, {48, redZone},
		{56, FlatBases.UPIDArray}, {64, FlatBases.UITTArray + 1}, {72, uinv | 3<<32},
		{80, c.UPID[0].Low}, {88, 0}, {96, c.UPID[1].Low}, {104, 0},
		{112, target(5)}, {120, FlatBases.UPIDArray + 64}, {168, FlatBases.UPIDArray + 64},
		{176, 0x203}, {184, FlatBases.StackTop - 256},
		{192, FlatBases.After[UIRET]}, {200, 0x44}, {208, FlatBases.Unmapped + 8}, {216, 0}, {248, 0},
	} {
		require.Equal(t, row.want, le.Uint64(p[row.off:]), "offset %d", row.off)
	}
}

func TestResultSurvivesItsRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Make[Result]().Draw(t, "result")
		got, err := Decode(EncodeResult(want))
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func TestResultsOfTheTableSurviveTheirRecord(t *testing.T) {
	for _, c := range Cases() {
		result, err := Run(c)
		require.NoError(t, err)
		got, err := Decode(EncodeResult(result))
		require.NoError(t, err)
		require.Equal(t, result, got, c.Name)
	}
}

func TestRecordsOfWrongLengthAreRefused(t *testing.T) {
	for _, n := range []int{0, ResultSize - 1, ResultSize + 1} {
		_, err := Decode(make([]byte, n))
		require.ErrorIs(t, err, ErrRecord)
	}
	_, err := DecodeBases(make([]byte, BasesSize-1))
	require.ErrorIs(t, err, ErrRecord)
}

func TestDecodeBases(t *testing.T) {
	p := make([]byte, BasesSize)
	for i := range BasesSize / 8 {
		le.PutUint64(p[8*i:], uint64(i))
	}
	b, err := DecodeBases(p)
	require.NoError(t, err)
	require.Equal(t, Bases{
		UPIDArray: 0, UITTArray: 1, Handler: 2, StackTop: 3, Unmapped: 4,
		Op: [Ops]uint64{6, 7, 8, 9, 10, 11}, After: [Ops]uint64{12, 13, 14, 15, 16, 17},
	}, b)
}

func TestCompareWantsACompleteRecord(t *testing.T) {
	require.Equal(t, []string{"no result"}, Compare(Cases()[0], FlatBases, Result{}))
}

// Every word of a result counts: one bit flipped in the record of a delivery and of a page fault is a difference.
func TestCompareSeesEveryBit(t *testing.T) {
	for _, name := range []string{"SENDUIPI to itself, delivered", "SENDUIPI UPID not present"} {
		c := caseByName(t, name)
		result, err := Run(c)
		require.NoError(t, err)
		record := EncodeResult(result)
		for bit := range 8 * ResultSize {
			if !counts(bit/8, bit%8, result.Delivered) {
				continue
			}
			record[bit/8] ^= 1 << (bit % 8)
			got, err := Decode(record)
			require.NoError(t, err)
			require.NotEmpty(t, Compare(c, FlatBases, got), "%s: byte %d bit %d", name, bit/8, bit%8)
			record[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// counts reports whether a bit of a result's record has a meaning: booleans by their first bit, no frame without
// delivery, no CR2 without a page fault, RFLAGS but RF.
func counts(byteOff, bit int, delivered bool) bool {
	for _, boolean := range []int{resultDone, resultDelivered, resultIPISent, resultIdentified} {
		if byteOff >= boolean && byteOff < boolean+4 {
			return byteOff == boolean && bit == 0
		}
	}
	switch {
	case byteOff >= resultFaultAddress && byteOff < resultFaultAddress+8:
		return !delivered
	case byteOff >= resultFrame && byteOff < resultRIP:
		return delivered
	case byteOff >= resultRFLAGS:
		pos := 8*(byteOff-resultRFLAGS) + bit
		return pos < 22 && pos != 16
	}
	return true
}

func caseByName(t *testing.T, name string) Case {
	for _, c := range Cases() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no case %q", name)
	return Case{}
}
