package kvm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const pageSize = 4096

// MemoryRegion places host memory in the guest's physical address space.
type MemoryRegion struct {
	Slot          uint32 // of [CapNRMemSlots]; an occupied slot is moved or reflagged, never resized
	Flags         uint32 // MemLogDirtyPages, MemReadOnly ([CapReadOnlyMem])
	GuestPhysAddr uint64 // page aligned
	// Memory is page aligned in address and size, lies outside the Go heap, and
	// stays mapped until the slot is deleted or the VM and its vCPUs are closed.
	Memory []byte
}

// userMemoryRegion is struct kvm_userspace_memory_region.
type userMemoryRegion struct {
	slot          uint32
	flags         uint32
	guestPhysAddr uint64
	memorySize    uint64
	userspaceAddr *byte
}

// SetUserMemoryRegion fills, moves or, with no Memory, deletes a memory slot
// (KVM_SET_USER_MEMORY_REGION, [CapUserMemory]).
func (vm *VM) SetUserMemoryRegion(r MemoryRegion) error {
	in := userMemoryRegion{
		slot:          r.Slot,
		flags:         r.Flags,
		guestPhysAddr: r.GuestPhysAddr,
		memorySize:    uint64(len(r.Memory)),
	}
	if len(r.Memory) > 0 {
		in.userspaceAddr = &r.Memory[0]
	}
	vm.mu.Lock()
	defer vm.mu.Unlock()
	if _, err := ioctlPtr(&vm.descriptor, reqSetUserMemoryRegion, &in); err != nil {
		return err
	}
	vm.slots[r.Slot] = in.memorySize / pageSize
	return nil
}

// dirtyLog is struct kvm_dirty_log.
type dirtyLog struct {
	slot   uint32
	_      uint32
	bitmap *uint64
}

// GetDirtyLog stores a bit for each page of the slot that was written since the
// last call, page 0 in bit 0 of bitmap[0], and begins anew (KVM_GET_DIRTY_LOG).
// The slot needs MemLogDirtyPages; bitmap holds at least pages/64 words, rounded
// up.
func (vm *VM) GetDirtyLog(slot uint32, bitmap []uint64) error {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	pages := vm.slots[slot]
	// The kernel trusts the buffer to be long enough.
	if pages == 0 || uint64(len(bitmap)) < (pages+63)/64 {
		return fmt.Errorf("kvm: dirty log of %d pages into %d words: %w", pages, len(bitmap), unix.EINVAL)
	}
	return call(&vm.descriptor, reqGetDirtyLog, &dirtyLog{slot: slot, bitmap: &bitmap[0]})
}
