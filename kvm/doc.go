// Package kvm gives /dev/kvm as Go types: [System] for the device, [VM] for a
// machine, [VCPU] for a processor and [Stats] for their counters. One method is
// one ioctl; names follow <linux/kvm.h>, and what an ioctl needs of the host is
// named by its [Cap].
//
// The package holds no policy. It retries no interrupted [VCPU.Run], kicks no
// vCPU and chooses no fall-back: an error names the ioctl and wraps the errno,
// and [ErrNoKVM] says that the host has no usable KVM at all.
//
// Memory handed to a VM, and the page behind [Run], lie outside the Go heap.
// Structures shared with the kernel are Go structs of the same layout; a test
// holds each against the C compiler's.
//
// [DescribeHost] tells which kind of KVM the host runs (kvm-hosts.md §1).
package kvm

//go:generate go run ./internal/gen -o zconstants_amd64.go
