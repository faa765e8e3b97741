package disk

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes a lock on all of f, shared unless write: any number of readers,
// or one writer. It belongs to the open file, not to the process, so that two
// disks of one process exclude each other too. A file system without locks
// has none: that is no error.
func lock(f *os.File, write bool) error {
	kind := int16(unix.F_RDLCK)
	if write {
		kind = unix.F_WRLCK
	}
	switch err := setLock(f, kind); err {
	case nil, unix.ENOLCK, unix.ENOSYS, unix.EOPNOTSUPP, unix.EINVAL:
		return nil
	case unix.EAGAIN, unix.EACCES:
		if write {
			return fmt.Errorf("%w: another disk or program has %s open: it cannot be written to (readonly or overlay share it with readers)", ErrLocked, f.Name())
		}
		return fmt.Errorf("%w: another disk or program writes to %s: stop that one, or take a copy of the image", ErrLocked, f.Name())
	default:
		return fmt.Errorf("disk: locking %s: %w", f.Name(), err)
	}
}

// unlock lets go of the lock, though a ring may hold on to the file for a
// moment after it is closed.
func unlock(f *os.File) { _ = setLock(f, unix.F_UNLCK) }

func setLock(f *os.File, kind int16) error {
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind})
		if err != unix.EINTR {
			return err
		}
	}
}
