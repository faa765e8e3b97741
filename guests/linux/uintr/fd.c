// SPDX-License-Identifier: GPL-2.0
/* uvecfds, which stand for a vector of a receiver, and ipi fds, which stand for a table of targets. */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include "uintr.h"
#include "uintr_ioctl.h"
#include "uintr_notify.h"

static int vector_release(struct inode *inode, struct file *file)
{
	struct uintr_vector *v = file->private_data;

	uintr_unbind_eventfd(v);
	uintr_upid_put(v->upid);
	kfree(v);
	return 0;
}

static int post(struct uintr_vector *v)
{
	if (!uintr_upid_owned(v->upid))
		return -ESHUTDOWN;
	uintr_post(v->upid, v->vector);
	return 0;
}

static long vector_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct uintr_vector *v = file->private_data;
	int fd; /* or an interrupt */

	switch (command) {
	case UVECFD_NOTIFY:
		return post(v);
	case UVECFD_BIND_EVENTFD:
		if (get_user(fd, (int __user *)argument))
			return -EFAULT;
		if (fd >= 0)
			return uintr_bind_eventfd(v, fd);
		uintr_unbind_eventfd(v);
		return 0;
	case UVECFD_DEVICE_POSTS:
		return uintr_device_posts(v);
	}
	return -ENOTTY;
}

static void vector_show(struct seq_file *m, struct file *file)
{
	struct uintr_vector *v = file->private_data;

	seq_printf(m, "user_vector:%u\nreceiver_pid:%d\n", v->vector, pid_vnr(v->upid->pid));
}

static const struct file_operations vector_fops = {
	.owner = THIS_MODULE,
	.release = vector_release,
	.unlocked_ioctl = vector_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.show_fdinfo = vector_show,
	.llseek = noop_llseek,
};

int uintr_vector_fd(struct uintr_upid *u, u8 vector)
{
	struct uintr_vector *v = kzalloc(sizeof(*v), GFP_KERNEL_ACCOUNT);
	int fd;

	if (!v)
		return -ENOMEM;
	mutex_init(&v->lock);
	uintr_upid_get(u);
	v->upid = u;
	v->vector = vector;
	fd = anon_inode_getfd("[uvecfd]", &vector_fops, v, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		uintr_upid_put(u);
		kfree(v);
	}
	return fd;
}

/* What file stands for if it is a uvecfd; NULL otherwise. */
struct uintr_vector *uintr_vector_of(struct file *file)
{
	return file->f_op == &vector_fops ? file->private_data : NULL;
}

int uintr_notify(struct file *file)
{
	struct uintr_vector *v = uintr_vector_of(file);

	return v ? post(v) : -EINVAL;
}
EXPORT_SYMBOL_GPL(uintr_notify);

static int ipi_release(struct inode *inode, struct file *file)
{
	uintr_uitt_put(file->private_data);
	return 0;
}

static long ipi_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	if (command != UIPI_SET_TARGET_TABLE)
		return -ENOTTY;
	return uintr_uitt_share(file->private_data);
}

static const struct file_operations ipi_fops = {
	.owner = THIS_MODULE,
	.release = ipi_release,
	.unlocked_ioctl = ipi_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

int uintr_ipi_fd(struct uintr_uitt *uitt)
{
	int fd;

	uintr_uitt_get(uitt);
	fd = anon_inode_getfd("[uipifd]", &ipi_fops, uitt, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		uintr_uitt_put(uitt);
	return fd;
}
