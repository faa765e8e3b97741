package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// linePrefix begins a program's lines on the console.
const linePrefix = "gvmm-bench "

// Limits of what a guest may say.
const (
	maxLine     = 8192   // bytes
	maxMeasures = 200000 // of all rounds
	tailLines   = 12     // kept for error messages
)

// errLine is a line that no program of ours prints.
var errLine = errors.New("bench: the guest's line")

// A measure is one line.
type measure struct {
	Round  int
	Labels map[string]string
	Values map[string]float64
}

// line is any line: a measure, something absent, or the end with the number of lines before it.
type line struct {
	Round  *int               `json:"round"`
	Labels map[string]string  `json:"labels"`
	Values map[string]float64 `json:"values"`
	Absent string             `json:"absent"`
	Why    string             `json:"why"`
	End    *int               `json:"end"`
}

// measures reads a console. Its first error stays.
type measures struct {
	experiment *Experiment
	began      func(round int) // if set, is told of each round's first measure

	mu      sync.Mutex
	partial []byte   // the line that is not whole yet
	others  []string // the last lines that are not a program's
	lines   int
	last    int
	all     []measure
	absent  []Absent
	ended   bool
	err     error
}

// Write implements io.Writer. A machine runs on, whatever its guest says.
func (m *measures) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		part, rest, whole := bytes.Cut(p, []byte{'\n'})
		if room := maxLine + 1 - len(m.partial); len(part) > room {
			part = part[:room]
		}
		m.partial, p = append(m.partial, part...), rest
		if whole {
			m.line(m.partial)
			m.partial = m.partial[:0]
		}
	}
	return n, nil
}

// line takes one line in. What stands before the prefix is another's, whose line had no end.
func (m *measures) line(text []byte) {
	before, object, ours := bytes.Cut(text, []byte(linePrefix))
	if other := printable(before); other != "" {
		if m.others = append(m.others, other); len(m.others) > tailLines {
			m.others = slices.Delete(m.others, 0, 1)
		}
	}
	if !ours || m.err != nil {
		return
	}
	if m.err = m.parse(object); m.err != nil {
		m.err = fmt.Errorf("%w %q: %w", errLine, printable(text), m.err)
	}
}

// printable is what of a line a terminal may be shown.
func printable(text []byte) string {
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(text[:min(len(text), 300)]), ""))
	return strings.TrimSpace(s)
}

func (m *measures) parse(object []byte) error {
	if len(object) > maxLine-len(linePrefix) {
		return errors.New("too long")
	}
	var l line
	d := json.NewDecoder(bytes.NewReader(object))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return err
	}
	if len(bytes.TrimSpace(object[d.InputOffset():])) > 0 {
		return errors.New("more than one object")
	}
	if m.ended {
		return errors.New("it comes after the end")
	}
	if len(m.all)+len(m.absent) == maxMeasures {
		return fmt.Errorf("more than %d", maxMeasures)
	}
	defer func() { m.lines++ }()
	switch {
	case l.End != nil:
		if *l.End != m.lines {
			return fmt.Errorf("%d lines have arrived", m.lines)
		}
		m.ended = true
	case l.Absent != "":
		m.absent = append(m.absent, Absent{printable([]byte(l.Absent)), printable([]byte(l.Why))})
	case l.Round != nil:
		return m.measure(measure{*l.Round, l.Labels, l.Values})
	default:
		return errors.New("no measure")
	}
	return nil
}

// measure judges whether a measure is one of the experiment's.
func (m *measures) measure(n measure) error {
	if n.Round < 0 || n.Round >= maxMeasures {
		return fmt.Errorf("round %d", n.Round)
	}
	for _, l := range m.experiment.Labels {
		if n.Labels[l] == "" || n.Labels[l] != printable([]byte(n.Labels[l])) {
			return fmt.Errorf("no label %s, or one that cannot be printed", l)
		}
	}
	if len(n.Labels) != len(m.experiment.Labels) {
		return errors.New("a label that is not known")
	}
	known := 0
	for _, v := range m.experiment.Values {
		x, there := n.Values[v.Name]
		switch {
		case !there && !v.Optional:
			return fmt.Errorf("no value %s", v.Name)
		case there && x < 0:
			return fmt.Errorf("%s below 0", v.Name)
		case there:
			known++
		}
	}
	if known != len(n.Values) {
		return errors.New("a value that is not known")
	}
	if m.began != nil && (len(m.all) == 0 || n.Round != m.last) {
		m.began(n.Round)
	}
	m.last = n.Round
	m.all = append(m.all, n)
	return nil
}

// complete judges the whole.
func (m *measures) complete(rounds int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.err != nil:
		return m.err
	case !m.ended:
		return errors.New("bench: the guest's program did not come to its end")
	case len(m.all) == 0:
		return errors.New("bench: the guest's program measured nothing")
	case m.last != rounds-1:
		return fmt.Errorf("bench: the guest's program went %d rounds, not %d", m.last+1, rounds)
	}
	return nil
}

// tail is what else the guest said last.
func (m *measures) tail() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.others
	if last := printable(m.partial); last != "" {
		all = append(slices.Clone(all), last)
	}
	return strings.Join(all, " / ")
}
