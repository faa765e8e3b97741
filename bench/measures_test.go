package bench

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// pair is an experiment with one label besides the way.
var pair = &Experiment{
	Name: "pair", Program: "pair", Title: "a pair", Labels: []string{"way", "size"}, Control: "old",
	Values: []Value{{Name: "time_ns", Header: "time", Unit: Nanoseconds}, {Name: "extra", Header: "extra", Unit: Count, Optional: true}},
	Claims: []Claim{
		{Text: "new to old, times", Value: "time_ns", Of: []string{"new", "1"}, To: []string{"old", "1"}, AtLeast: 2},
		{Text: "new to old, times, much", Value: "time_ns", Of: []string{"new", "1"}, To: []string{"old", "1"}, AtLeast: 20},
		{Text: "extra", Value: "extra", Of: []string{"new", "1"}, AtLeast: 1},
		{Text: "never measured", Value: "extra", Of: []string{"none", "1"}, AtLeast: 1},
	},
	Picture: Picture{Value: "time_ns", Axis: "time", Across: []string{"size"}, Panels: []Panel{{Title: "all"}, {Title: "none", Where: map[string]string{"size": "7"}}}},
}

func said(round int, way, size string, ns float64, more string) string {
	return fmt.Sprintf("gvmm-bench {\"round\":%d,\"labels\":{\"way\":%q,\"size\":%q},\"values\":{\"time_ns\":%g%s}}\r\n", round, way, size, ns, more)
}

func end(lines int) string { return fmt.Sprintf("gvmm-bench {\"end\":%d}\n", lines) }

func read(text string, rounds int) (*measures, error) {
	m := &measures{experiment: pair}
	_, _ = m.Write([]byte(text)) // never fails
	return m, m.complete(rounds)
}

func TestMeasuresAreReadAmongOtherTextHoweverItArrives(t *testing.T) {
	text := "[    1.0] booting\r\nold words" + said(0, "old", "1", 10, "") + said(0, "new", "1", 2, `,"extra":3`) +
		"noise\ngvmm-bench {\"absent\":\"third\",\"why\":\"no device\"}\n" + said(1, "old", "1", 11, "") + end(4) + "reboot: Power down"
	rapid.Check(t, func(t *rapid.T) {
		var begun []int
		m := &measures{experiment: pair, began: func(round int) { begun = append(begun, round) }}
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			k, err := m.Write([]byte(rest[:n]))
			require.NoError(t, err)
			require.Equal(t, n, k)
			rest = rest[n:]
		}
		require.NoError(t, m.complete(2))
		require.Equal(t, []int{0, 1}, begun)
		require.Equal(t, []Absent{{"third", "no device"}}, m.absent)
		require.Len(t, m.all, 3)
		require.Equal(t, measure{0, map[string]string{"way": "new", "size": "1"}, map[string]float64{"time_ns": 2, "extra": 3}}, m.all[1])
		require.Equal(t, "[    1.0] booting / old words / noise / reboot: Power down", m.tail())
	})
}

func TestLinesThatNoProgramPrintsAreRefused(t *testing.T) {
	good := said(0, "old", "1", 10, "")
	for name, c := range map[string]struct{ text, want string }{
		"nothing":                 {"", "did not come to its end"},
		"no end":                  {good, "did not come to its end"},
		"an end only":             {end(0), "measured nothing"},
		"a lost line":             {good + end(2), "1 lines have arrived"},
		"a line too much":         {good + good + end(1), "2 lines have arrived"},
		"too few rounds":          {good + end(1), "went 1 rounds, not 2"},
		"after the end":           {good + end(1) + good, "after the end"},
		"half a line":             {"gvmm-bench {\"round\":0,\"lab\n" + good + end(1), "unexpected"},
		"two objects":             {strings.TrimSpace(good) + "{}\n", "more than one object"},
		"an empty object":         {"gvmm-bench {}\n", "no measure"},
		"an unknown field":        {"gvmm-bench {\"end\":0,\"x\":1}\n", "unknown field"},
		"a round below 0":         {said(-1, "old", "1", 10, ""), "round -1"},
		"no label":                {said(0, "", "1", 10, ""), "no label way"},
		"a label to the terminal": {said(0, "\x1b[2J", "1", 10, ""), "invalid"},
		"an unknown label":        {"gvmm-bench {\"round\":0,\"labels\":{\"way\":\"a\",\"size\":\"b\",\"c\":\"d\"},\"values\":{\"time_ns\":1}}\n", "a label that is not known"},
		"no value":                {"gvmm-bench {\"round\":0,\"labels\":{\"way\":\"a\",\"size\":\"b\"},\"values\":{}}\n", "no value time_ns"},
		"an unknown value":        {said(0, "old", "1", 1, `,"y":1`), "a value that is not known"},
		"a time before now":       {said(0, "old", "1", -1, ""), "time_ns below 0"},
		"no number":               {said(0, "old", "1", 1, `,"extra":1e999`), "1e999"},
		"a long line":             {"gvmm-bench " + strings.Repeat(" ", maxLine) + "\n", "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(c.text, 2)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\x1b")
		})
	}
}

func FuzzMeasures(f *testing.F) {
	f.Add([]byte(said(0, "old", "1", 10, "")+end(1)), 7)
	f.Add([]byte("gvmm-bench {\"absent\":\"a\",\"why\":\"\\u001b\"}\n"+end(1)), 1)
	f.Add([]byte("x gvmm-bench gvmm-bench {\n\n\r"), 3)
	f.Fuzz(func(t *testing.T, text []byte, piece int) {
		m := &measures{experiment: pair}
		for rest := text; len(rest) > 0; {
			n := min(len(rest), max(1, piece))
			_, _ = m.Write(rest[:n])
			rest = rest[n:]
		}
		require.LessOrEqual(t, len(m.others), tailLines)
		require.LessOrEqual(t, len(m.partial), maxLine+1)
		for _, n := range m.all {
			require.Len(t, n.Labels, 2)
			require.GreaterOrEqual(t, n.Values["time_ns"], 0.0)
		}
		if err := m.complete(1); err != nil {
			for _, r := range m.tail() + err.Error() {
				require.False(t, r < ' ', "%q", r)
			}
			return
		}
		result := new(ExperimentResult)
		if err := pair.tabulate(result, m.all); err == nil {
			_, _, _ = pair.points(result, pair.Picture.Panels[0])
		}
	})
}
