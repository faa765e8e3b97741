// Package memory is a machine's guest-physical memory: RAM slots backed by memfd mappings, bounds-checked views of them, and atomic words in them.
//
// Slots are added before the machine runs; afterwards the table is read-only and every access is lock-free and allocates nothing. A range must lie
// inside one slot: whatever wraps, crosses a slot's end or hits a hole is ErrUnmapped. The access paths return the bare sentinel errors, so that a
// guest which asks for nonsense cannot make the VMM allocate; callers wrap them with what they were doing.
//
// A view aliases memory that the guest and its devices write at any time: copy once, then judge the copy. Words that both sides touch go through the
// atomic operations. The guest's memory is little-endian, and so is every host that this package builds for (amd64).
package memory
