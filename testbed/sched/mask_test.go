package sched

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAfterGoesRoundTheSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.IntRange(1, 3).Draw(t, "words")
		sets := make([]Mask, 3)
		for i := range sets {
			sets[i] = rapid.SliceOfN(rapid.Uint64(), words, words).Draw(t, "set")
		}
		from := rapid.IntRange(0, 64*words-1).Draw(t, "from")
		want := -1
		for i := 1; i <= 64*words && want < 0; i++ {
			if c := (from + i) % (64 * words); sets[0].Has(c) && sets[1].Has(c) && sets[2].Has(c) {
				want = c
			}
		}
		require.Equal(t, want, after(sets[0], sets[1], sets[2], from))
	})
}

func TestAffinityBeyondTheFirstWord(t *testing.T) {
	r := newRig(t, plain(130))
	a, b := r.add(VCPU{Affinity: MaskOf(129)}), r.add(VCPU{Affinity: MaskOf(64, 129)})
	r.give(a, -1)
	r.give(b, -1)
	require.Equal(t, []ID{b, a}, []ID{r.run[64], r.run[129]})
}
