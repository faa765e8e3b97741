package jit

import "errors"

// ErrHost wraps why a host cannot execute translations.
var ErrHost = errors.New("jit: host")

// Usable says why this host cannot execute translations, or nil.
func Usable() error {
	c, err := newCache(1)
	if err != nil {
		return err
	}
	return c.close()
}

// Sizes of what lies behind the code.
const (
	jumpEntries = 1 << 16
	jumpSize    = 16 // negative of address and salt; code
	guardCount  = 1 << 16
	guardSize   = 8 // negative of the epoch
)
