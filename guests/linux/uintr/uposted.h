/* SPDX-License-Identifier: GPL-2.0 */
/* Interrupts of a device that are posted to a receiver without the kernel (docs/iommu.md §2.5). */
#ifndef UINTR_UPOSTED_H
#define UINTR_UPOSTED_H

#include <linux/types.h>

struct file;
struct uintr_upid;
struct uintr_posting;

/**
 * uintr_posting_begin() - have a device's interrupts be posted by the device
 * @upid: where to; the caller holds a reference until uintr_posting_end()
 * @vector: the user vector
 * @eventfd: what the device signals, now or later: as a VM's interrupts are found by KVM
 *
 * May sleep. Return: NULL if that is not to be had, and the eventfd is all there is.
 */
struct uintr_posting *uintr_posting_begin(struct uintr_upid *upid, u8 vector, struct file *eventfd);

/* Once it returns, nothing is posted any more, nor is a post under way. May sleep. */
void uintr_posting_end(struct uintr_posting *posting);

/* Whether a device posts at this moment. */
bool uintr_posting_active(const struct uintr_posting *posting);

int uintr_posting_init(void);
void uintr_posting_exit(void);

#endif
