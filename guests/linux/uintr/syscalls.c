// SPDX-License-Identifier: GPL-2.0
/* The calls and their errors, uintr.md §2.2. */
#include <linux/file.h>
#include <asm/ptrace.h>

#include "uintr.h"

static struct uintr_thread *receiver(void)
{
	struct uintr_thread *t = uintr_current();

	return t && t->upid ? t : NULL;
}

static long register_handler(u64 handler, u32 flags)
{
	struct uintr_thread *t;

	if (flags & ~UINTR_WAITING_ANY)
		return -EINVAL;
	if (!handler)
		return -EFAULT;
	if (receiver())
		return -EBUSY;
	/* The processor's register takes canonical addresses only; another could not be jumped to either. */
	if (handler >= TASK_SIZE_MAX)
		return -EFAULT;
	t = uintr_attach(GFP_KERNEL_ACCOUNT);
	return t ? uintr_register(t, handler, flags) : -ENOMEM;
}

static long unregister_handler(u32 flags)
{
	struct uintr_thread *t = receiver();

	if (flags || !t)
		return -EINVAL;
	uintr_unregister(t);
	return 0;
}

static long vector_fd(u64 vector, u32 flags)
{
	struct uintr_thread *t = receiver();

	if (flags || !t)
		return -EINVAL;
	if (vector >= UINTR_VECTORS)
		return -ENOSPC;
	return uintr_vector_fd(t->upid, vector);
}

/* An entry of the caller's process, and SENDUIPI for the caller. */
static long add_sender(struct uintr_upid *u, u8 vector)
{
	struct uintr_uitt *uitt;
	struct uintr_thread *t;
	long index;

	uitt = uintr_uitt_make();
	if (!uitt)
		return -ENOMEM;
	t = uintr_attach(GFP_KERNEL_ACCOUNT);
	index = t ? uintr_uitt_add(uitt, u, vector) : -ENOMEM;
	if (index >= 0 && !t->uitt) {
		uintr_change_begin(t);
		t->uitt = uitt;
		uintr_change_end(t);
		return index;
	}
	uintr_uitt_put(uitt);
	return index;
}

static long register_sender(int fd, u32 flags)
{
	struct uintr_vector *v;
	struct fd f;
	long ret;

	if (flags)
		return -EINVAL;
	f = fdget(fd);
	if (!f.file)
		return -EBADF;
	v = uintr_vector_of(f.file);
	if (!v)
		ret = -EOPNOTSUPP;
	else if (!uintr_upid_owned(v->upid))
		ret = -ESHUTDOWN;
	else
		ret = add_sender(v->upid, v->vector);
	fdput(f);
	return ret;
}

static long unregister_sender(u64 index, u32 flags)
{
	struct uintr_uitt *uitt;
	long ret;

	if (flags || index >= UITT_ENTRIES)
		return -EINVAL;
	uitt = uintr_uitt_find(current->mm);
	if (!uitt)
		return -EINVAL;
	ret = uintr_uitt_remove(uitt, index);
	uintr_uitt_put(uitt);
	return ret;
}

static long wait(u64 usec, u32 flags)
{
	struct uintr_thread *t = receiver();

	if (flags || usec > UINTR_WAIT_MAX)
		return -EINVAL;
	return t ? uintr_wait(t, usec) : -EOPNOTSUPP;
}

static long register_self(u64 vector, u32 flags)
{
	struct uintr_thread *t = receiver();

	if (flags || !t)
		return -EINVAL;
	if (vector >= UINTR_VECTORS)
		return -ENOSPC;
	return add_sender(t->upid, vector);
}

static long alt_stack(u64 sp, u32 flags)
{
	struct uintr_thread *t = receiver();

	if (flags)
		return -EINVAL;
	if (!t)
		return -EOPNOTSUPP;
	if (sp >= TASK_SIZE_MAX)
		return -EFAULT;
	uintr_change_begin(t);
	t->stack_adjust = sp ? sp | 1 : RED_ZONE;
	uintr_change_end(t);
	return 0;
}

static long ipi_fd(u32 flags)
{
	struct uintr_uitt *uitt;
	long fd;

	if (flags)
		return -EINVAL;
	uitt = uintr_uitt_find(current->mm);
	if (!uitt)
		return -EINVAL;
	fd = uintr_ipi_fd(uitt);
	uintr_uitt_put(uitt);
	return fd;
}

long uintr_call(int number, const struct pt_regs *regs)
{
	switch (number) {
	case NR_uintr_register_handler:
		return register_handler(regs->di, regs->si);
	case NR_uintr_unregister_handler:
		return unregister_handler(regs->di);
	case NR_uintr_vector_fd:
		return vector_fd(regs->di, regs->si);
	case NR_uintr_register_sender:
		return register_sender(regs->di, regs->si);
	case NR_uintr_unregister_sender:
		return unregister_sender((u32)regs->di, regs->si);
	case NR_uintr_wait:
		return wait(regs->di, regs->si);
	case NR_uintr_register_self:
		return register_self(regs->di, regs->si);
	case NR_uintr_alt_stack:
		return alt_stack(regs->di, regs->dx);
	case NR_uintr_ipi_fd:
		return ipi_fd(regs->di);
	}
	return -ENOSYS;
}
