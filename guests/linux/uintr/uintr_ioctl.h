/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* ioctls of the descriptors that uintr_vector_fd() and uintr_ipi_fd() give; for programs. */
#ifndef UINTR_IOCTL_H
#define UINTR_IOCTL_H

#include <linux/ioctl.h>

/* On an ipi fd: its table becomes the caller's. EBUSY if the caller's process has one. */
#define UIPI_SET_TARGET_TABLE	_IO('u', 0)

/* On a uvecfd: the vector is posted whenever the eventfd given is signalled, as io_uring does for
 * completions (IORING_REGISTER_EVENTFD). -1 ends that. EBUSY if an eventfd is bound already,
 * EINVAL if the descriptor is not an eventfd. */
#define UVECFD_BIND_EVENTFD	_IOW('U', 0x40, int)

/* On a uvecfd: whether the eventfd that is bound is a device's that posts the vector itself, without
 * the kernel: 1 or 0. A vfio device does if its interrupts go through a remapping unit that posts to
 * user processes; then its interrupts signal the eventfd no more. */
#define UVECFD_DEVICE_POSTS	_IO('U', 0x42)

/* On a uvecfd: post the vector, by the kernel. */
#define UVECFD_NOTIFY		_IO('U', 0x41)

#endif
