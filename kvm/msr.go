package kvm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrMSR says that KVM refused an MSR: it does not exist for this guest, or not
// with that value.
var ErrMSR = errors.New("kvm: MSR refused")

// MSREntry is one MSR and its value (struct kvm_msr_entry).
type MSREntry struct {
	Index uint32
	_     uint32
	Data  uint64
}

// GetMSRs reads each entry's MSR into its Data, in order (KVM_GET_MSRS), at
// most 255 at a time. n is how many were read; if KVM refuses entries[n] the
// error is [ErrMSR].
func (v *VCPU) GetMSRs(entries []MSREntry) (n int, err error) {
	return v.msrs(reqGetMSRs, entries)
}

// SetMSRs writes entries in order (KVM_SET_MSRS), at most 255 at a time. n is
// how many were written; if KVM refuses entries[n] the error is [ErrMSR].
func (v *VCPU) SetMSRs(entries []MSREntry) (n int, err error) {
	return v.msrs(reqSetMSRs, entries)
}

func (v *VCPU) msrs(req request, entries []MSREntry) (int, error) {
	n, _, err := ioctlArray(&v.descriptor, req, entries)
	if err == nil && n < len(entries) {
		err = fmt.Errorf("%w: %s %#x", ErrMSR, req, entries[n].Index)
	}
	return n, err
}

// EnableUserSpaceMSR makes MSR accesses that KVM cannot serve leave with
// [ExitX86RDMSR] and [ExitX86WRMSR] instead of raising #GP
// ([CapX86UserSpaceMSR]), for any of the reasons given.
func (vm *VM) EnableUserSpaceMSR(reasons MSRExitReason) error {
	return vm.EnableCap(CapX86UserSpaceMSR, uint64(reasons))
}

// MSRFilterRange allows or denies the MSRs Base..Base+Count-1.
type MSRFilterRange struct {
	Flags  uint32 // MSRFilterRead, MSRFilterWrite: the accesses the bitmap is about
	Base   uint32
	Count  uint32 // at most 12288
	Bitmap []byte // bit i allows (1) or denies (0) Base+i; at least Count bits
}

// MSRFilter says which MSR accesses reach KVM; the first range that holds an
// access decides. A denied one is #GP, or leaves to user space with
// [MSRExitReasonFilter] enabled. x2APIC MSRs cannot be filtered.
type MSRFilter struct {
	DefaultDeny bool             // of accesses in no range; needs a range
	Ranges      []MSRFilterRange // at most 16
}

// msrFilterRange is struct kvm_msr_filter_range.
type msrFilterRange struct {
	flags  uint32
	nmsrs  uint32
	base   uint32
	bitmap *uint64
}

// msrFilter is struct kvm_msr_filter.
type msrFilter struct {
	flags  uint32
	ranges [msrFilterMaxRanges]msrFilterRange
}

// SetMSRFilter replaces the machine's filter (KVM_X86_SET_MSR_FILTER,
// [CapX86MSRFilter]); the zero MSRFilter lifts it.
func (vm *VM) SetMSRFilter(f MSRFilter) error {
	var in msrFilter
	if len(f.Ranges) > len(in.ranges) {
		return fmt.Errorf("kvm: %d MSR filter ranges: %w", len(f.Ranges), unix.E2BIG)
	}
	if f.DefaultDeny {
		in.flags = msrFilterDefaultDeny
	}
	for i, r := range f.Ranges {
		bitmap, err := r.words()
		if err != nil {
			return err
		}
		in.ranges[i] = msrFilterRange{flags: r.Flags, nmsrs: r.Count, base: r.Base, bitmap: &bitmap[0]}
	}
	return call(&vm.descriptor, reqX86SetMSRFilter, &in)
}

// words copies the bitmap to whole words, which is what the kernel reads.
func (r *MSRFilterRange) words() ([]uint64, error) {
	if r.Count == 0 || r.Count > 8*msrFilterMaxBitmapSize || uint64(len(r.Bitmap))*8 < uint64(r.Count) {
		return nil, fmt.Errorf("kvm: MSR filter of %d registers with %d bytes of bitmap: %w", r.Count, len(r.Bitmap), unix.EINVAL)
	}
	words := make([]uint64, (r.Count+63)/64)
	for i := range (r.Count + 7) / 8 {
		words[i/8] |= uint64(r.Bitmap[i]) << (i % 8 * 8)
	}
	return words, nil
}
