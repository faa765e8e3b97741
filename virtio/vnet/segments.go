package vnet

// total is the bytes in segments.
func total(segments [][]byte) (n int) {
	for _, s := range segments {
		n += len(s)
	}
	return n
}

// gather copies the first bytes of segments to p and returns how many.
func gather(p []byte, segments [][]byte) (n int) {
	for _, s := range segments {
		if n == len(p) {
			break
		}
		n += copy(p[n:], s)
	}
	return n
}

// take copies the first bytes of segments to p, and returns how many there were
// and what is left. It changes segments.
func take(p []byte, segments [][]byte) (int, [][]byte) {
	n := 0
	for len(segments) > 0 {
		m := copy(p[n:], segments[0])
		n += m
		segments[0] = segments[0][m:]
		if len(segments[0]) > 0 {
			break
		}
		segments = segments[1:]
	}
	return n, segments
}

// put copies p to the start of segments, of which it is the rest that it
// returns, with what of p did not fit. It changes segments.
func put(segments [][]byte, p []byte) (rest [][]byte, left []byte) {
	for len(segments) > 0 && len(p) > 0 {
		n := copy(segments[0], p)
		p = p[n:]
		if segments[0] = segments[0][n:]; len(segments[0]) == 0 {
			segments = segments[1:]
		}
	}
	return segments, p
}
