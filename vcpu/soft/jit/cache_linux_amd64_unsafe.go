//go:build linux && amd64

package jit

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

// cache is the memory of code, and of data that code reads relative to itself: one
// file, mapped for writing and for execution at different addresses.
type cache struct {
	writable   []byte
	executable []byte
	code       int // bytes of code
	guards     int
}

func newCache(code int) (*cache, error) {
	if !cpu.X86.HasBMI2 {
		return nil, fmt.Errorf("%w: its processor has no BMI2", ErrHost)
	}
	code = (code + 0xfff) &^ 0xfff
	size := code + jumpEntries*jumpSize + guardCount*guardSize
	fd, err := unix.MemfdCreate("gvmm-code", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("%w: memory file: %w", ErrHost, err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, fmt.Errorf("%w: memory file: %w", ErrHost, err)
	}
	c := &cache{code: code, guards: guardCount}
	if c.writable, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("%w: mapping code to write: %w", ErrHost, err)
	}
	if c.executable, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_SHARED); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: mapping code to execute: %w", ErrHost, err), unix.Munmap(c.writable))
	}
	return c, nil
}

func (c *cache) close() error {
	return errors.Join(unix.Munmap(c.writable), unix.Munmap(c.executable))
}

// address is where the host executes an offset of the code.
func (c *cache) address(offset int) uintptr {
	return uintptr(unsafe.Pointer(&c.executable[offset]))
}

func (c *cache) guardAt(i int) int { return c.code + jumpEntries*jumpSize + i*guardSize }

func (c *cache) setGuard(i int, v uint64) {
	*(*uint64)(unsafe.Pointer(&c.writable[c.guardAt(i)])) = v
}

func (c *cache) setJump(i int, tag, code uint64) {
	p := (*[2]uint64)(unsafe.Pointer(&c.writable[c.code+i*jumpSize]))
	p[0], p[1] = tag, code
}

// Enter runs code until it is left, and returns by which exit. s is the state pointer: c is part of
// what it points into.
func (t *Translator) Enter(s unsafe.Pointer, c *Control, e Entry) *Exit {
	c.target = uint64(t.cache.address(int(e.offset)))
	if e.vectors {
		c.via = uint64(t.cache.address(t.viaLoad))
	} else {
		c.via = c.target
	}
	enter(s, t.cache.address(t.enterAt))
	return &t.exits[uint32(c.exit)]
}

//go:noescape
func enter(state unsafe.Pointer, code uintptr)
