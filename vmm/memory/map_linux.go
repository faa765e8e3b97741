package memory

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mapShared returns size bytes of zeroed memory that the kernel backs lazily. It is shared, so that a dirty log or another process can be given it.
func mapShared(size uint64) ([]byte, error) {
	fd, err := unix.MemfdCreate("guest-ram", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	defer unix.Close(fd) // the mapping keeps the file
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, fmt.Errorf("ftruncate: %w", err)
	}
	host, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	return host, nil
}

func unmap(host []byte) error {
	if err := unix.Munmap(host); err != nil {
		return fmt.Errorf("munmap: %w", err)
	}
	return nil
}
