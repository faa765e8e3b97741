package console

// inputBytes is how much input waits for the guest.
const inputBytes = 4096

// input is a ring of bytes for the guest.
type input struct {
	ring    [inputBytes]byte
	head    int
	held    int
	refused bool // somebody waits for room
}

// put appends what fits of b.
func (in *input) put(b []byte) int {
	n := min(len(b), inputBytes-in.held)
	tail := (in.head + in.held) % inputBytes
	copy(in.ring[:], b[copy(in.ring[tail:], b[:n]):n])
	in.held += n
	in.refused = n < len(b)
	return n
}

// take moves the oldest bytes to b.
func (in *input) take(b []byte) int {
	n := min(len(b), in.held)
	first := copy(b[:n], in.ring[in.head:])
	copy(b[first:n], in.ring[:])
	in.head = (in.head + n) % inputBytes
	in.held -= n
	return n
}

// hasRoom reports, once for each refusal, that put would take a byte again.
func (in *input) hasRoom() bool {
	if !in.refused || in.held == inputBytes {
		return false
	}
	in.refused = false
	return true
}
