package bench

import (
	"bytes"
	"context"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func measured(t *testing.T, text string, rounds int) *ExperimentResult {
	t.Helper()
	m, err := read(text, rounds)
	require.NoError(t, err)
	r := new(ExperimentResult)
	require.NoError(t, pair.tabulate(r, m.all))
	return r
}

func TestRatiosAreOfNeighboursAndTheirMedianCounts(t *testing.T) {
	// The host is ten times slower in the second round, for both.
	r := measured(t, said(0, "old", "1", 10, "")+said(0, "new", "1", 2, `,"extra":3`)+said(1, "old", "1", 100, "")+said(1, "new", "1", 20, "")+
		said(2, "old", "1", 12, "")+said(2, "new", "1", 2, "")+said(2, "new", "9", 2, "")+end(7), 3)
	require.Len(t, r.Rows, 3)
	require.Equal(t, "old", r.Rows[0].Labels["way"], "in the order of arrival")
	require.Equal(t, Spread{Median: 12, Min: 10, Max: 100}, r.Rows[0].Values["time_ns"])
	require.InDelta(t, 1, r.Rows[0].Ratio, 1e-9)
	require.InDelta(t, 5, r.Rows[1].Ratio, 1e-9)
	require.Zero(t, r.Rows[2].Ratio, "the control was not measured at that size")

	require.True(t, r.Claims[0].Holds && r.Claims[0].Measured)
	require.InDelta(t, 5, r.Claims[0].Value, 1e-9)
	require.True(t, !r.Claims[1].Holds && r.Claims[1].Measured)
	require.InDelta(t, 3, r.Claims[2].Value, 1e-9)
	require.True(t, !r.Claims[3].Holds && !r.Claims[3].Measured)
}

func TestTheSameMeasureTwiceInARoundIsRefused(t *testing.T) {
	m, err := read(said(0, "old", "1", 10, "")+said(0, "old", "1", 11, "")+end(2), 1)
	require.NoError(t, err)
	require.ErrorIs(t, pair.tabulate(new(ExperimentResult), m.all), errTwice)
}

func TestACrossoverIsWhereAWayBeginsToStayBetter(t *testing.T) {
	e := *pair
	e.Crossover = "size"
	var text strings.Builder
	for size, ns := range []float64{20, 5, 20, 5, 10, 4, 3} { // against 10: better by chance at 1, equal at 4, and from 5 on
		text.WriteString(said(0, "old", strconv.Itoa(size), 10, "") + said(0, "new", strconv.Itoa(size), ns, "") + said(0, "worse", strconv.Itoa(size), 11, ""))
	}
	m, err := read(text.String()+end(21), 1)
	require.NoError(t, err)
	r := new(ExperimentResult)
	require.NoError(t, e.tabulate(r, m.all))
	require.Equal(t, []Crossover{{"new", "size", 5, true}, {"worse", "size", 0, false}}, r.Crossovers)
}

func TestAPictureIsDrawnInEachFormat(t *testing.T) {
	r := measured(t, said(0, "old", "1", 10, "")+said(0, "new", "1", 2, "")+said(0, "new", "4096", 0, "")+end(3), 1)
	numeric := *pair
	numeric.Picture.Numeric = true
	for _, e := range []*Experiment{pair, &numeric} {
		for format, magic := range map[string]string{"svg": "<?xml", "png": "\x89PNG", "pdf": "%PDF"} {
			path := filepath.Join(t.TempDir(), "p."+format)
			require.NoError(t, e.Draw(r, path))
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(data), magic), format)
			if format == "png" {
				_, err = png.Decode(bytes.NewReader(data))
				require.NoError(t, err)
			}
		}
	}
	require.ErrorContains(t, pair.Draw(r, "p.gif"), "ends in .svg, .png, .pdf")
	require.Error(t, pair.Draw(r, filepath.Join(t.TempDir(), "none", "p.svg")))
}

func TestExperimentsAreSound(t *testing.T) {
	for _, e := range Experiments {
		t.Run(e.Name, func(t *testing.T) {
			require.NotEmpty(t, e.Program)
			require.NotEmpty(t, e.Labels)
			require.NotEmpty(t, e.Picture.Panels)
			names := []string{}
			for _, v := range e.Values {
				require.NotContains(t, names, v.Name)
				names = append(names, v.Name)
			}
			require.Contains(t, names, e.Picture.Value)
			for _, c := range e.Claims {
				require.Contains(t, names, c.Value)
				require.Len(t, c.Of, len(e.Labels), c.Text)
				require.Contains(t, []int{0, len(e.Labels)}, len(c.To), c.Text)
			}
			for _, p := range e.Picture.Panels {
				for label := range p.Where {
					require.Contains(t, e.Labels, label)
				}
			}
			for _, label := range e.Picture.Across {
				require.Contains(t, e.Labels, label)
			}
		})
	}
}

func TestAnArgumentThatTheGuestsShellWouldReadIsRefused(t *testing.T) {
	for _, a := range []string{"x", "x=", "x=1;reboot", "x='", "=1", "x=-1"} {
		_, err := pair.Run(context.Background(), ExperimentOptions{Image: "none", CPUs: 1, Rounds: 1, Arguments: []string{a}})
		require.ErrorContains(t, err, "NAME=NUMBER", a)
	}
}

// imageFileEnv names an image of gvmm image build debian --uintr, in which the tests below run the programs.
const imageFileEnv = "GVMM_IMAGE_FILE"

// quick are arguments that have a program measure little.
var quick = map[string][]string{
	"ipc": {"messages=20"}, "wake": {"samples=20"}, "flip": {"samples=3"}, "rings": {"requests=256"}, "storm": {"items=500"},
	"aio": {"reads=12", "tasks=24"},
}

func TestExperimentsRunInALinuxGuest(t *testing.T) {
	image := os.Getenv(imageFileEnv)
	if image == "" {
		t.Skip(imageFileEnv, " is not set: it names an image of gvmm image build debian --uintr")
	}
	for _, e := range Experiments {
		for _, resident := range []bool{false, true} {
			t.Run(e.Name+map[bool]string{false: ", native", true: ", resident"}[resident], func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				r, err := e.Run(ctx, ExperimentOptions{Image: image, CPUs: 2, Memory: 512 << 20, Rounds: 1, Arguments: quick[e.Name], Resident: resident})
				require.NoError(t, err)
				require.Empty(t, r.Absent)
				for _, c := range r.Claims {
					require.True(t, c.Measured, c.Text)
				}
				require.True(t, slices.ContainsFunc(r.Rows, func(row ExperimentRow) bool { return row.Labels[e.Labels[0]] == e.Control }))
			})
		}
	}
}
