// Package float is IEEE 754 arithmetic as x86 processors do it, in integers: binary32
// and binary64 with the results and flags of SSE, and the 80-bit double extended
// format with those of the x87 unit. Add, subtract, multiply, divide, square root,
// remainder, comparisons and conversions agree with the hardware in every bit, of
// result and of flags, in all rounding modes, with masked and unmasked exceptions.
// Transcendental functions differ from a correctly rounded result by less than one
// unit in the last place, as they do among processors.
//
// An Env is the part of MXCSR or of the x87 control and status words that arithmetic
// reads and writes. SSE operations take and give encodings (uint64, uint32) and end
// in 64 or 32; those of x87 take Nums, which are F80s or memory operands unpacked,
// and give F80s.
//
// Exceptions are told, not delivered. A caller with unmasked exceptions clears
// Flags, does one operation and looks at Raised: it decides about #XM and the
// pending x87 exception, keeps the destination unchanged as Raised says, and merges
// the flags. A caller that has all of them masked may leave Flags to accumulate; with
// Inexact among them and rounding to nearest, operations on normal numbers run
// natively. Where processors differ (SDM 1 §4.9.1, §8.3.10) the choice is
// written at the function; it is what AMD's Zen 4 does.
package float
