package load

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// arrivals counts what comes within d, over n tenants.
func arrivals(p Pattern, n int, d time.Duration) (total, squares float64) {
	for i := range n {
		s := NewState(7, uint64(i))
		var count float64
		for at := p.Next(&s); at <= int64(d); at += p.Next(&s) {
			count++
		}
		total += count
		squares += count * count
	}
	return total, squares
}

func TestMeanRateIsAsStated(t *testing.T) {
	for name, p := range map[string]Pattern{
		"steady":               {Kind: Steady, Rate: 1000},
		"steady, no whole gap": {Kind: Steady, Rate: 3e6},
		"poisson":              {Kind: Poisson, Rate: 1000},
		"bursts":               {Kind: Bursts, Rate: 1000, Burst: 16, Spacing: 5 * time.Microsecond},
		"bursts at once":       {Kind: Bursts, Rate: 1000, Burst: 8},
		"storms":               {Kind: Storms, Rate: 1000, On: 5 * time.Millisecond, Off: 20 * time.Millisecond},
		"storms without end":   {Kind: Storms, Rate: 1000, On: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, p.Validate())
			d := time.Duration(1000 / p.Rate * float64(time.Second))
			const tenants = 400
			total, squares := arrivals(p, tenants, d)
			mean := total / tenants
			require.InEpsilon(t, p.Rate*d.Seconds(), mean, 0.03)
			dispersion := (squares/tenants - mean*mean) / mean // 1 for Poisson
			switch p.Kind {
			case Steady:
				require.Less(t, dispersion, 0.01)
			case Bursts:
				require.InEpsilon(t, float64(p.Burst), dispersion, 0.4)
			default:
				if p.Off == 0 {
					require.InEpsilon(t, 1, dispersion, 0.3)
				} else {
					require.Greater(t, dispersion, 5.0)
				}
			}
		})
	}
}

func TestSilenceHasNoArrival(t *testing.T) {
	s := NewState(1, 1)
	p := Pattern{Kind: Poisson}
	require.NoError(t, p.Validate())
	require.EqualValues(t, Never, p.Next(&s))
}

func TestServiceMeanIsAsStated(t *testing.T) {
	for _, d := range []Distribution{Constant, Exponential} {
		v := Service{Mean: 3 * time.Microsecond, Distribution: d}
		require.NoError(t, v.Validate())
		s := NewState(1, 2)
		var sum float64
		const n = 50000
		for range n {
			sum += float64(v.Draw(&s))
		}
		require.InEpsilon(t, 3000, sum/n, 0.02)
	}
	require.InDelta(t, 0.003, Stream{Pattern: Pattern{Rate: 1000}, Service: Service{Mean: 3 * time.Microsecond}}.Utilization(), 1e-9)
}

func TestWrongPatternsAreRefused(t *testing.T) {
	good := Service{Mean: time.Microsecond, Distribution: Constant}
	for name, s := range map[string]Stream{
		"no kind":          {Pattern{Rate: 1}, good},
		"unknown kind":     {Pattern{Kind: "often", Rate: 1}, good},
		"negative rate":    {Pattern{Kind: Poisson, Rate: -1}, good},
		"NaN":              {Pattern{Kind: Poisson, Rate: math.NaN()}, good},
		"endless rate":     {Pattern{Kind: Poisson, Rate: math.Inf(1)}, good},
		"tiny rate":        {Pattern{Kind: Poisson, Rate: 1e-9}, good},
		"no burst":         {Pattern{Kind: Bursts, Rate: 1}, good},
		"burst too long":   {Pattern{Kind: Bursts, Rate: 1000, Burst: 10, Spacing: time.Second}, good},
		"negative spacing": {Pattern{Kind: Bursts, Rate: 1, Burst: 2, Spacing: -1}, good},
		"storm of nothing": {Pattern{Kind: Storms, Rate: 1, Off: 1}, good},
		"storm too strong": {Pattern{Kind: Storms, Rate: 1e7, On: 1000, Off: time.Second}, good},
		"storm of less":    {Pattern{Kind: Storms, Rate: 10, On: 1, Off: time.Millisecond}, good},
		"bursts too rare":  {Pattern{Kind: Bursts, Rate: 1e-6, Burst: 1 << 20}, good},
		"no distribution":  {Pattern{Kind: Poisson, Rate: 1}, Service{Mean: 1}},
		"no mean":          {Pattern{Kind: Poisson, Rate: 1}, Service{Distribution: Constant}},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, s.Validate(), ErrPattern) })
	}
}

func TestEqualSeedsGiveEqualArrivalsAndGapsAreNotNegative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Pattern{
			Kind:    rapid.SampledFrom([]Kind{Steady, Poisson, Bursts, Storms}).Draw(t, "kind"),
			Rate:    rapid.Float64Range(1e-3, 1e7).Draw(t, "rate"),
			Burst:   rapid.IntRange(1, 100).Draw(t, "burst"),
			Spacing: time.Duration(rapid.IntRange(0, 1000).Draw(t, "spacing")),
			On:      time.Duration(rapid.IntRange(1, 1e9).Draw(t, "on")),
			Off:     time.Duration(rapid.IntRange(0, 1e6).Draw(t, "off")),
		}
		if p.Validate() != nil {
			p = Pattern{Kind: Poisson, Rate: p.Rate}
		}
		seed, stream := rapid.Uint64().Draw(t, "seed"), rapid.Uint64().Draw(t, "stream")
		a, b := NewState(seed, stream), NewState(seed, stream)
		for range 100 {
			gap := p.Next(&a)
			require.GreaterOrEqual(t, gap, int64(0))
			require.Equal(t, gap, p.Next(&b))
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("storms", 1e3, 0, int64(0), int64(1e6), int64(1e6), uint64(1))
	f.Add("bursts", 1e5, 64, int64(100), int64(0), int64(0), uint64(2))
	f.Add("steady", 1e-6, 0, int64(0), int64(0), int64(0), uint64(3))
	f.Fuzz(func(t *testing.T, kind string, rate float64, burst int, spacing, on, off int64, seed uint64) {
		p := Pattern{Kind: Kind(kind), Rate: rate, Burst: burst, Spacing: time.Duration(spacing), On: time.Duration(on), Off: time.Duration(off)}
		if p.Validate() != nil {
			return
		}
		s := NewState(seed, 0)
		for range 20 {
			if p.Next(&s) < 0 {
				t.Fatal("a gap below zero")
			}
		}
	})
}
