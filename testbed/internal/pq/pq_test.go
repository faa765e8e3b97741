package pq

import (
	"cmp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The oracle is a sorted slice.
func TestHeapDoesAsASortedSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const ids = 40
		var h Heap
		var model []Item
		pos := slices.Repeat([]int32{-1}, ids)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			id := int32(rapid.IntRange(0, ids-1).Draw(t, "id"))
			key := int64(rapid.IntRange(0, 9).Draw(t, "key"))
			at := slices.IndexFunc(model, func(it Item) bool { return it.ID == id })
			switch op := rapid.IntRange(0, 2).Draw(t, "op"); {
			case at < 0:
				h.Push(pos, id, key)
				model = append(model, Item{key, id})
			case op == 0:
				h.Remove(pos, id)
				model = slices.Delete(model, at, at+1)
			case op == 1:
				h.Fix(pos, id, key)
				model[at].Key = key
			default:
				require.Equal(t, model[0], h.Pop(pos))
				model = model[1:]
			}
			slices.SortFunc(model, func(a, b Item) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.ID, b.ID)) })
			require.Equal(t, len(model), h.Len())
			if len(model) > 0 {
				require.Equal(t, model[0], h.Min())
			}
			for i := range h.Len() {
				require.EqualValues(t, i, pos[h.At(i).ID])
			}
		}
	})
}
