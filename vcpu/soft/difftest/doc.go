// Package difftest compares an x86-64 in software with the host's processor: a child
// process executes the same bytes natively, from the same registers and memory.
//
// A Case is up to 64 bytes of unprivileged code at Code, with all registers; the
// memory at Scratch is the same for all cases of a batch. An Oracle runs batches and
// tells for each case where it ended, by which exception, and what changed. A
// Generator makes cases: random instructions of the legacy and VEX maps, whose
// registers are chosen so that memory operands hit Scratch, or just miss it.
//
// The package is for tests. It needs gcc and an amd64 Linux host; elsewhere Start
// fails with ErrUnavailable.
package difftest
