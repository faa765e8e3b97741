package disk

// length is the bytes in segments.
func length(segments [][]byte) int64 {
	n := int64(0)
	for _, s := range segments {
		n += int64(len(s))
	}
	return n
}

// cursor is a place in segments.
type cursor struct {
	segments [][]byte
	off      int // in the first of them
}

// skip goes n bytes on.
func (c *cursor) skip(n int) {
	for c.off += n; len(c.segments) > 0 && c.off >= len(c.segments[0]); {
		c.off -= len(c.segments[0])
		c.segments = c.segments[1:]
	}
}

// cut appends the next n bytes to dst, as views, and goes past them.
func (c *cursor) cut(dst [][]byte, n int) [][]byte {
	for n > 0 {
		s := c.segments[0][c.off:]
		s = s[:min(n, len(s))]
		if len(s) > 0 {
			dst = append(dst, s)
		}
		n -= len(s)
		c.skip(len(s))
	}
	return dst
}

// fill copies p to here. The cursor, a copy, stays for its owner.
func (c cursor) fill(p []byte) {
	for len(p) > 0 {
		n := copy(c.segments[0][c.off:], p)
		p = p[n:]
		c.skip(n)
	}
}

// drain fills p from here.
func (c cursor) drain(p []byte) {
	for len(p) > 0 {
		n := copy(p, c.segments[0][c.off:])
		p = p[n:]
		c.skip(n)
	}
}
