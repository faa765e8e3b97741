// Package jit translates blocks of decoded 64-bit instructions into machine code of
// an x86-64 host.
//
// A guest instruction becomes, but for its registers and its memory operand, itself:
// the host computes the guest's results and flags. Twelve of the guest's registers
// live in the host's, the other four in memory, and the host's flags are the guest's
// at every instruction: what is emitted between guest instructions changes none.
// A memory operand goes through the processor's own TLB; each access first assumes
// the slot that it found last time.
//
// Whatever is not translated, misses the TLB or has to be looked at leaves the code by
// an exit, with the registers, the flags and the instruction exactly as they were before it.
// Who entered executes that instruction and comes back behind it.
//
// RSP is the processor's state while its code runs, so nothing that is translated has a
// stack; offsets into the state are a Layout's. Code lies in a file mapped twice:
// what is executed is never writable at the same address. It touches no pointer of the Go
// runtime and calls nothing, and is as bounded as the budget that it counts down.
package jit
