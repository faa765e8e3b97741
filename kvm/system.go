package kvm

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// DefaultPath is where Linux puts the KVM device.
const DefaultPath = "/dev/kvm"

// Errors of [Open]. The cause is wrapped beside them, so that errors.Is also
// matches [os.ErrNotExist] and [os.ErrPermission].
var (
	// ErrNoKVM says that the path does not open, or is not a KVM device.
	ErrNoKVM = errors.New("kvm: not available")
	// ErrAPIVersion says that the device speaks another version than 12.
	ErrAPIVersion = errors.New("kvm: unsupported API version")
)

// Cap is a capability: an optional part of the KVM interface.
type Cap uint32

// System is an open KVM device.
type System struct {
	descriptor
	mmapSize int
}

// Open opens the KVM device at path (see [DefaultPath]) and checks its version.
func Open(path string) (*System, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoKVM, &os.PathError{Op: "open", Path: path, Err: err})
	}
	s := new(System)
	s.init(fd)
	if err := s.probe(); err != nil {
		s.Close()
		return nil, fmt.Errorf("%w (%s)", err, path)
	}
	return s, nil
}

func (s *System) probe() error {
	version, err := s.ioctl(reqGetAPIVersion, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoKVM, err)
	}
	if version != kvmAPIVersion {
		return fmt.Errorf("%w %d, want %d", ErrAPIVersion, version, kvmAPIVersion)
	}
	s.mmapSize, err = s.ioctl(reqGetVCPUMmapSize, 0)
	if err != nil {
		return err
	}
	if s.mmapSize < runPageSize {
		return fmt.Errorf("kvm: vCPU page of %d bytes, want at least %d", s.mmapSize, runPageSize)
	}
	return nil
}

// CheckExtension asks for a capability of the host (KVM_CHECK_EXTENSION): 0 if
// it is absent, else 1 or the number that the capability defines.
func (s *System) CheckExtension(c Cap) (int, error) {
	return s.ioctl(reqCheckExtension, uintptr(c))
}

// CreateVM creates a machine without memory or processors (KVM_CREATE_VM).
func (s *System) CreateVM() (*VM, error) {
	for {
		fd, err := s.ioctl(reqCreateVM, 0)
		// KVM gives up on any pending signal here, and the Go runtime
		// preempts by signals; nothing was created.
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		vm := &VM{mmapSize: s.mmapSize, slots: make(map[uint32]uint64)}
		vm.init(fd)
		return vm, nil
	}
}

// maxCPUIDEntries is KVM_MAX_CPUID_ENTRIES, which no header exports.
const maxCPUIDEntries = 256

// GetSupportedCPUID returns the leaves that host and KVM can give a guest
// (KVM_GET_SUPPORTED_CPUID, [CapExtCPUID]).
func (s *System) GetSupportedCPUID() (CPUID, error) {
	leaves := make(CPUID, maxCPUIDEntries)
	_, n, err := ioctlArray(&s.descriptor, reqGetSupportedCPUID, leaves)
	if err != nil {
		return nil, err
	}
	return leaves[:n:n], nil
}

// GetMSRIndexList returns the MSRs that [VCPU.GetMSRs] and [VCPU.SetMSRs] know
// for the purpose of saving a guest (KVM_GET_MSR_INDEX_LIST).
func (s *System) GetMSRIndexList() ([]uint32, error) {
	// A list with no room tells the count by failing with E2BIG.
	list := make([]uint32, 1)
	_, err := ioctlPtr(&s.descriptor, reqGetMSRIndexList, &list[0])
	if errors.Is(err, unix.E2BIG) {
		n := list[0]
		list = make([]uint32, 1+n)
		list[0] = n
		_, err = ioctlPtr(&s.descriptor, reqGetMSRIndexList, &list[0])
	}
	if err != nil {
		return nil, err
	}
	return list[1 : 1+list[0]], nil
}
