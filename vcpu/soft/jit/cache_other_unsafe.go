//go:build !linux || !amd64

package jit

import (
	"fmt"
	"runtime"
	"unsafe"
)

// cache is nothing: there is no code for this host.
type cache struct {
	writable     []byte
	code, guards int
}

func newCache(int) (*cache, error) {
	return nil, fmt.Errorf("%w: translations are for Linux on amd64, not %s on %s", ErrHost, runtime.GOOS, runtime.GOARCH)
}

func (*cache) close() error                { return nil }
func (*cache) address(int) uintptr         { return 0 }
func (*cache) guardAt(int) int             { return 0 }
func (*cache) setGuard(int, uint64)        {}
func (*cache) setJump(int, uint64, uint64) {}

// Enter is never called: New fails.
func (t *Translator) Enter(unsafe.Pointer, *Control, Entry) *Exit { return &t.exits[0] }
