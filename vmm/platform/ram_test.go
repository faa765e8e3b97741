package platform

import "errors"

// ram is memory from 0.
type ram []byte

func (r ram) at(n int, addr uint64) ([]byte, error) {
	if addr > uint64(len(r)) || uint64(n) > uint64(len(r))-addr {
		return nil, errors.New("not RAM")
	}
	return r[addr : addr+uint64(n)], nil
}

func (r ram) ReadAt(p []byte, addr uint64) error {
	b, err := r.at(len(p), addr)
	copy(p, b)
	return err
}

func (r ram) WriteAt(p []byte, addr uint64) error {
	b, err := r.at(len(p), addr)
	copy(b, p)
	return err
}
