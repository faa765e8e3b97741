package bench

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// errTranscript is text of the loops image that says something else than it should.
var errTranscript = errors.New("bench: the guest's text is not that of the loops image")

// A loopTime is one loop as the guest timed it.
type loopTime struct {
	name         string
	operations   uint64
	instructions uint64 // 0 if their number is the engine's matter: traps
	ticks        uint64 // of the guest's TSC
	checksum     string
}

// A transcript is what a guest of the loops image wrote, with the wall time of its marks. It implements io.Writer for
// one goroutine.
type transcript struct {
	text       bytes.Buffer
	begin, end time.Time
}

// Write implements io.Writer.
func (t *transcript) Write(p []byte) (int, error) {
	t.text.Write(p)
	if b := t.text.Bytes(); t.begin.IsZero() && bytes.Contains(b, []byte("begin\n")) {
		t.begin = time.Now()
	} else if _, end, found := bytes.Cut(b, []byte("\nend: ")); found && t.end.IsZero() && bytes.Contains(end, []byte("\n")) {
		t.end = time.Now()
	}
	return len(p), nil
}

var (
	loopLine = regexp.MustCompile(`(?m)^loop (.+): operations (\d+) instructions (\d+) ticks (\d+) checksum ([0-9a-f]+)\r?$`)
	endLine  = regexp.MustCompile(`(?m)^end: ticks (\d+)\r?$`)
)

// loops reads the transcript. hz is the frequency of the guest's TSC, from the wall time between the marks.
func (t *transcript) loops() (loops []loopTime, hz float64, err error) {
	end := endLine.FindSubmatch(t.text.Bytes())
	if end == nil || t.begin.IsZero() || t.end.IsZero() {
		return nil, 0, fmt.Errorf("%w: %s", errTranscript, bytes.TrimSpace(t.text.Bytes()))
	}
	number := func(b []byte) uint64 {
		n, bad := strconv.ParseUint(string(b), 10, 64)
		err = errors.Join(err, bad)
		return n
	}
	for _, m := range loopLine.FindAllSubmatch(t.text.Bytes(), -1) {
		loops = append(loops, loopTime{string(m[1]), number(m[2]), number(m[3]), number(m[4]), string(m[5])})
	}
	hz = float64(number(end[1])) / t.end.Sub(t.begin).Seconds()
	return loops, hz, err
}

// median of values, which it sorts; of an even number the upper one of the middle.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func geometricMean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += math.Log(v)
	}
	return math.Exp(sum / float64(max(1, len(values))))
}
