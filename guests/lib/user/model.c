/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UINTR_MODEL: instructions and system calls in software, for tests of what is built on them. A UPID
 * is a page of a file that receiver and senders map; a notification is a signal to the receiver's
 * thread, whose handler is notification processing and, with UIF, delivery. So interrupts come
 * between any two instructions here too, from threads and from processes.
 * A descriptor of a vector is that file, opened anew, its position the vector.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

struct upid {
	_Atomic uint64_t pir;
	_Atomic uint32_t on, gone;
	pid_t process, thread;
};

static struct target {
	_Atomic(struct upid *) upid;
	uint8_t vector;
} targets[UINTR_TARGETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of targets */

static __thread struct upid *receiver;
static __thread int file;
static __thread _Atomic uint64_t uirr;
static __thread _Atomic bool uif;

static int fail(int err)
{
	errno = err;
	return -1;
}

static int notification(void)
{
	return SIGRTMAX - 1;
}

/* The caller's own: what it has from before a fork is its parent's. */
static struct upid *own(void)
{
	return receiver && receiver->thread == (pid_t)syscall(SYS_gettid) ? receiver : NULL;
}

/* Interrupts that come while UIF is taken only add to uirr; whoever gives it back looks again. */
static void deliver(void)
{
	while (uirr && atomic_exchange(&uif, false)) {
		uint64_t pending = uirr;

		if (pending) {
			int vector = 63 - __builtin_clzll(pending);

			atomic_fetch_and(&uirr, ~(UINT64_C(1) << vector));
			uintr_dispatch((uint64_t)vector);
		}
		uif = true;
	}
}

/* Notification processing: ON before PIR. */
static void on_notification(int signal)
{
	int before = errno;

	(void)signal;
	if (own()) {
		receiver->on = 0;
		atomic_fetch_or(&uirr, atomic_exchange(&receiver->pir, 0));
		deliver();
	}
	errno = before;
}

void uintr_clui(void)
{
	uif = false;
}

void uintr_stui(void)
{
	uif = true;
	deliver();
}

bool uintr_testui(void)
{
	return uif;
}

void uintr_senduipi(uint64_t index)
{
	struct upid *u = index < UINTR_TARGETS ? targets[index].upid : NULL;

	if (!u) {
		fprintf(stderr, "SENDUIPI to index %llu, which is not registered\n", (unsigned long long)index);
		abort();
	}
	atomic_fetch_or(&u->pir, UINT64_C(1) << targets[index].vector);
	if (!atomic_exchange(&u->on, 1) && !u->gone)
		syscall(SYS_tgkill, u->process, u->thread, notification());
}

/* Where XSAVE and UIRET would be; nothing enters here. */
void uintr_entry(void) {}
void uintr_entry_general(void) {}

int uintr_register_handler(uint64_t handler, unsigned flags)
{
	struct sigaction action = { .sa_handler = on_notification, .sa_flags = SA_RESTART };
	struct upid *u;

	if (flags & ~(UINTR_WAITING_RECEIVER | UINTR_WAITING_SENDER))
		return fail(EINVAL);
	if (!handler)
		return fail(EFAULT);
	if (own())
		return fail(EBUSY);
	file = memfd_create("upid", MFD_CLOEXEC);
	if (file < 0 || ftruncate(file, sizeof(*u)) < 0)
		return fail(ENOMEM);
	u = mmap(NULL, sizeof(*u), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (u == MAP_FAILED)
		return fail(ENOMEM);
	u->process = getpid();
	u->thread = (pid_t)syscall(SYS_gettid);
	uirr = 0;
	uif = false;
	receiver = u;
	return sigaction(notification(), &action, NULL);
}

int uintr_unregister_handler(unsigned flags)
{
	if (flags || !own())
		return fail(EINVAL);
	receiver->gone = 1; /* its memory stays: senders have it mapped */
	receiver = NULL;
	uirr = 0;
	close(file);
	return 0;
}

int uintr_vector_fd(uint64_t vector, unsigned flags)
{
	char path[32];
	int fd;

	if (flags || !own())
		return fail(EINVAL);
	if (vector >= UINTR_VECTORS)
		return fail(ENOSPC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		lseek(fd, (off_t)vector, SEEK_SET);
	return fd;
}

static int add(struct upid *u, uint8_t vector)
{
	int i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < UINTR_TARGETS && targets[i].upid; i++)
		;
	if (i < UINTR_TARGETS) {
		targets[i].vector = vector;
		targets[i].upid = u;
	}
	pthread_mutex_unlock(&lock);
	return i < UINTR_TARGETS ? i : fail(ENOSPC);
}

int uintr_register_sender(int fd, unsigned flags)
{
	struct upid *u;
	struct stat st;

	if (flags)
		return fail(EINVAL);
	if (fstat(fd, &st) < 0)
		return fail(EBADF);
	if (st.st_size != sizeof(*u))
		return fail(EOPNOTSUPP);
	u = mmap(NULL, sizeof(*u), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (u == MAP_FAILED)
		return fail(EOPNOTSUPP);
	if (u->gone) {
		munmap(u, sizeof(*u));
		return fail(ESHUTDOWN);
	}
	return add(u, (uint8_t)lseek(fd, 0, SEEK_CUR));
}

int uintr_unregister_sender(int index, unsigned flags)
{
	if (flags || index < 0 || index >= UINTR_TARGETS || !atomic_exchange(&targets[index].upid, NULL))
		return fail(EINVAL);
	return 0;
}

int uintr_register_self(uint64_t vector, unsigned flags)
{
	if (flags || !own())
		return fail(EINVAL);
	if (vector >= UINTR_VECTORS)
		return fail(ENOSPC);
	return add(receiver, (uint8_t)vector);
}

/* Ends for a pending interrupt, masked or not. */
int uintr_wait(uint64_t usec, unsigned flags)
{
	struct timespec time = { (time_t)(usec / 1000000), (long)(usec % 1000000) * 1000 };
	sigset_t block, before;
	int n = 0;

	if (flags || usec > UINTR_WAIT_MAX)
		return fail(EINVAL);
	if (!own())
		return fail(EOPNOTSUPP);
	if (!usec)
		return 0;
	sigemptyset(&block);
	sigaddset(&block, notification());
	pthread_sigmask(SIG_BLOCK, &block, &before);
	if (!uirr && !receiver->pir)
		n = ppoll(NULL, 0, &time, &before);
	else
		n = fail(EINTR);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return n < 0 ? fail(EINTR) : 0;
}

/* Signals have one stack for all, so this is not modelled. */
int uintr_alt_stack(void *top, size_t size, unsigned flags)
{
	(void)top;
	(void)size;
	(void)flags;
	return fail(EOPNOTSUPP);
}
