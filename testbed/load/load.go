package load

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrPattern is what a wrong pattern or service is refused with.
var ErrPattern = errors.New("load: wrong pattern")

// A Kind is the form of arrivals.
type Kind string

const (
	Steady  Kind = "steady"  // equal gaps, at a random phase
	Poisson Kind = "poisson" // independent, exponential gaps
	Bursts  Kind = "bursts"  // Burst arrivals Spacing apart, then an exponential pause
	Storms  Kind = "storms"  // silent for Off, then Poisson for On, both exponential: a noisy neighbour
)

// A Pattern is how arrivals come. A Rate of zero is silence.
type Pattern struct {
	Kind    Kind          `json:"kind" yaml:"kind"`
	Rate    float64       `json:"rate" yaml:"rate"`                           // arrivals a second, in the mean over all phases
	Burst   int           `json:"burst,omitempty" yaml:"burst,omitempty"`     // Bursts: arrivals in one
	Spacing time.Duration `json:"spacing,omitempty" yaml:"spacing,omitempty"` // Bursts: from one arrival to the next within one
	On      time.Duration `json:"on,omitempty" yaml:"on,omitempty"`           // Storms: mean length of one
	Off     time.Duration `json:"off,omitempty" yaml:"off,omitempty"`         // Storms: mean silence between two
}

// A Distribution is how the work of arrivals varies.
type Distribution string

const (
	Constant    Distribution = "constant"
	Exponential Distribution = "exponential"
)

// A Service is the CPU time that one arrival asks for.
type Service struct {
	Mean         time.Duration `json:"mean" yaml:"mean"`
	Distribution Distribution  `json:"distribution" yaml:"distribution"`
}

// A Stream is arrivals and their work.
type Stream struct {
	Pattern `yaml:",inline"`
	Service Service `json:"service" yaml:"service"`
}

// Utilization is the share of one CPU that the stream asks for in the mean.
func (s Stream) Utilization() float64 { return s.Rate * s.Service.Mean.Seconds() }

// Validate says what is wrong with the stream, or nil.
func (s Stream) Validate() error {
	if err := s.Pattern.Validate(); err != nil || s.Rate == 0 {
		return err
	}
	return s.Service.Validate()
}

// Validate says what is wrong with the service, or nil.
func (s Service) Validate() error {
	if s.Distribution != Constant && s.Distribution != Exponential {
		return fmt.Errorf("%w: service distribution %q: constant or exponential", ErrPattern, s.Distribution)
	}
	if s.Mean <= 0 || s.Mean > time.Hour {
		return fmt.Errorf("%w: service mean %v: more than 0, at most 1h", ErrPattern, s.Mean)
	}
	return nil
}

// MaxRate bounds Rate: arrivals are placed to the nanosecond.
const MaxRate = 1e8

// Validate says what is wrong with the pattern, or nil.
func (p Pattern) Validate() error {
	if !(p.Rate >= 0 && p.Rate <= MaxRate) {
		return fmt.Errorf("%w: rate %v: 0 to %.0g a second", ErrPattern, p.Rate, MaxRate)
	}
	if p.Rate > 0 && p.Rate < 1e-6 {
		return fmt.Errorf("%w: rate %v: 0, or at least 1e-06 a second", ErrPattern, p.Rate)
	}
	switch p.Kind {
	case Steady, Poisson:
	case Bursts:
		if p.Burst < 1 || p.Burst > 1<<20 || p.Spacing < 0 || p.Spacing > time.Hour {
			return fmt.Errorf("%w: bursts want a burst of 1 to 1048576 and a spacing of 0 to 1h, not %d and %v", ErrPattern, p.Burst, p.Spacing)
		}
		if p.Rate > 0 && p.pause() < 0 {
			return fmt.Errorf("%w: bursts of %d, %v apart, cannot be %v a second: less spacing or a lower rate", ErrPattern, p.Burst, p.Spacing, p.Rate)
		}
		if p.Rate > 0 && p.pause() > 1e16 {
			return fmt.Errorf("%w: bursts of %d at %v a second are months apart: a higher rate", ErrPattern, p.Burst, p.Rate)
		}
	case Storms:
		if p.On <= 0 || p.Off < 0 || p.On > time.Hour || p.Off > 24*time.Hour {
			return fmt.Errorf("%w: storms want on of more than 0 to 1h and off of 0 to 24h, not %v and %v", ErrPattern, p.On, p.Off)
		}
		if each := p.Rate * (p.On + p.Off).Seconds(); p.Rate > 0 && each < 1 {
			return fmt.Errorf("%w: a storm brings %.2g arrivals in the mean, at least 1: a higher rate, or longer on and off", ErrPattern, each)
		}
		if p.stormRate() > MaxRate {
			return fmt.Errorf("%w: a storm of %.3g a second: at most %.0g", ErrPattern, p.stormRate(), MaxRate)
		}
	default:
		return fmt.Errorf("%w: kind %q: steady, poisson, bursts or storms", ErrPattern, p.Kind)
	}
	return nil
}

// pause is the mean time in ns from a burst's last arrival to the next one's first.
func (p *Pattern) pause() float64 {
	return float64(p.Burst)/p.Rate*1e9 - float64(p.Burst-1)*float64(p.Spacing)
}

// stormRate is the arrivals a second within a storm.
func (p *Pattern) stormRate() float64 { return p.Rate * float64(p.On+p.Off) / float64(p.On) }

// A State is where a tenant is in its pattern.
type State struct {
	rng   uint64
	phase int64 // Storms: ns left of this one
	left  int32 // Bursts: arrivals left of this one
	begun bool
}

// NewState is the beginning of stream number stream of a run with that seed.
func NewState(seed, stream uint64) State {
	s := State{rng: seed}
	s.rng = s.next() ^ stream
	s.rng = s.next()
	return s
}

// next is one step of SplitMix64: eight bytes of state, and any seed is a good one.
func (s *State) next() uint64 {
	s.rng += 0x9e3779b97f4a7c15
	z := s.rng
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// uniform is in [0, 1).
func (s *State) uniform() float64 { return float64(s.next()>>11) / (1 << 53) }

func (s *State) exponential(mean float64) float64 { return -mean * math.Log(1-s.uniform()) }

// round keeps the mean: the fraction is the probability of the next integer.
func (s *State) round(ns float64) int64 {
	floor := math.Floor(ns)
	if s.uniform() < ns-floor {
		floor++
	}
	return int64(floor)
}

// Never is the gap of a silent pattern.
const Never = math.MaxInt64

// Next is the gap in ns from the last arrival (at first: from the start) to the next
// one. The pattern is valid.
func (p *Pattern) Next(s *State) int64 {
	if p.Rate == 0 {
		return Never
	}
	mean := 1e9 / p.Rate
	begun := s.begun
	s.begun = true
	switch p.Kind {
	case Steady:
		if !begun {
			return s.round(s.uniform() * mean)
		}
		return s.round(mean)
	case Bursts:
		if s.left > 0 {
			s.left--
			return int64(p.Spacing)
		}
		s.left = int32(p.Burst) - 1
		return s.round(s.exponential(p.pause()))
	case Storms:
		return p.storm(s, begun)
	}
	return s.round(s.exponential(mean))
}

// storm draws gaps in storm time and adds the silences that they pass.
func (p *Pattern) storm(s *State, begun bool) int64 {
	var gap int64
	if !begun {
		// Storms and silences have no memory: a run begins in either, by their shares.
		if s.uniform() < float64(p.Off)/float64(p.On+p.Off) {
			gap = s.round(s.exponential(float64(p.Off)))
		}
		s.phase = s.round(s.exponential(float64(p.On)))
	}
	within := s.round(s.exponential(1e9 / p.stormRate()))
	for within > s.phase {
		gap += s.phase + s.round(s.exponential(float64(p.Off)))
		within -= s.phase
		s.phase = 1 + s.round(s.exponential(float64(p.On)))
	}
	s.phase -= within
	return gap + within
}

// Draw is the CPU time in ns, at least 1, that one arrival asks for.
func (v *Service) Draw(s *State) int64 {
	if v.Distribution == Constant {
		return int64(v.Mean)
	}
	return max(1, s.round(s.exponential(float64(v.Mean))))
}
