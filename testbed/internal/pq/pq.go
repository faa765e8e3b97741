// Package pq is a priority queue of small integers with 64-bit keys: a 4-ary heap
// in one slice, so that a million entries cost few cache lines an operation. Equal
// keys leave in the order of their ids. Push, Pop, Fix and Remove are O(log n) and
// allocate only where the heap grows beyond what it once held.
package pq

// An Item is an id and its key.
type Item struct {
	Key int64
	ID  int32
}

func less(a, b Item) bool { return a.Key < b.Key || a.Key == b.Key && a.ID < b.ID }

// A Heap's items know their places through a slice that the caller owns: pos[id] is
// the place of id, or -1. Heaps whose ids are never in two of them at once share one.
type Heap struct{ items []Item }

// Len is the number of items.
func (h *Heap) Len() int { return len(h.items) }

// Min is the item with the smallest key. The heap is not empty.
func (h *Heap) Min() Item { return h.items[0] }

// At is the item at place i of the heap's order: place 0 is the minimum, and the few
// places after it hold small keys, though not sorted.
func (h *Heap) At(i int) Item { return h.items[i] }

// Push adds id, which is in no heap of pos.
func (h *Heap) Push(pos []int32, id int32, key int64) {
	h.items = append(h.items, Item{key, id})
	h.up(pos, len(h.items)-1)
}

// Pop removes the minimum.
func (h *Heap) Pop(pos []int32) Item {
	top := h.items[0]
	h.Remove(pos, top.ID)
	return top
}

// Remove takes id out, wherever it is.
func (h *Heap) Remove(pos []int32, id int32) {
	i, last := int(pos[id]), len(h.items)-1
	moved := h.items[last]
	h.items = h.items[:last]
	pos[id] = -1
	if i == last {
		return
	}
	h.items[i] = moved
	h.restore(pos, i)
}

// Fix gives id, which is in the heap, a new key.
func (h *Heap) Fix(pos []int32, id int32, key int64) {
	i := int(pos[id])
	h.items[i].Key = key
	h.restore(pos, i)
}

func (h *Heap) restore(pos []int32, i int) {
	if i > 0 && less(h.items[i], h.items[(i-1)/4]) {
		h.up(pos, i)
	} else {
		h.down(pos, i)
	}
}

func (h *Heap) up(pos []int32, i int) {
	it := h.items[i]
	for i > 0 {
		parent := (i - 1) / 4
		if !less(it, h.items[parent]) {
			break
		}
		h.items[i] = h.items[parent]
		pos[h.items[i].ID] = int32(i)
		i = parent
	}
	h.items[i] = it
	pos[it.ID] = int32(i)
}

func (h *Heap) down(pos []int32, i int) {
	it := h.items[i]
	for {
		first := 4*i + 1
		if first >= len(h.items) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(h.items)); c++ {
			if less(h.items[c], h.items[least]) {
				least = c
			}
		}
		if !less(h.items[least], it) {
			break
		}
		h.items[i] = h.items[least]
		pos[h.items[i].ID] = int32(i)
		i = least
	}
	h.items[i] = it
	pos[it.ID] = int32(i)
}
