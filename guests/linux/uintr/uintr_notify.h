/* SPDX-License-Identifier: GPL-2.0 */
/* For other drivers: user interrupts raised by the kernel. */
#ifndef UINTR_NOTIFY_H
#define UINTR_NOTIFY_H

struct file;

/**
 * uintr_notify() - post the user vector that @file stands for
 * @file: from uintr_vector_fd(); the caller holds a reference
 *
 * Any context. Return: 0, -EINVAL if @file is not a uvecfd, -ESHUTDOWN if the receiver is gone.
 */
int uintr_notify(struct file *file);

#endif
