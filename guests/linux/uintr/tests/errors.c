// SPDX-License-Identifier: Apache-2.0
/* Every error of every call (docs/uintr.md §2.2), and what they do right. */
#include "check.h"

static volatile unsigned long received;

static void HANDLER handler(frame_t *frame, vector_t vector)
{
	(void)frame;
	received = vector + 1;
}

static void *sender_gone(void *fd)
{
	*(long *)fd = register_handler(handler, 0) ? -1 : vector_fd(1, 0);
	return NULL;
}

static void registering(void)
{
	EXPECT(register_handler(handler, 1), -EINVAL);
	EXPECT(register_handler(handler, 0x4000), -EINVAL);
	EXPECT(register_handler(0, 0), -EFAULT);
	EXPECT(register_handler(1L << 62, 0), -EFAULT);
	EXPECT(unregister_handler(0), -EINVAL);
	EXPECT(vector_fd(0, 0), -EINVAL);
	EXPECT(uintr_wait(1, 0), -EOPNOTSUPP);
	EXPECT(alt_stack(4096, 0, 0), -EOPNOTSUPP);
	EXPECT(register_self(0, 0), -EINVAL);
	for (int flags = 0; flags <= WAITING_ANY; flags += WAITING_RECEIVER) {
		EXPECT(register_handler(handler, flags), 0);
		EXPECT(register_handler(handler, 0), -EBUSY);
		EXPECT(_testui(), 0);
		EXPECT(unregister_handler(1), -EINVAL);
		EXPECT(unregister_handler(0), 0);
		EXPECT(unregister_handler(0), -EINVAL);
	}
}

static void descriptors(void)
{
	char path[64], info[512] = "", want[64];
	long a, b;
	int f;

	EXPECT(register_handler(handler, 0), 0);
	EXPECT(vector_fd(0, 1), -EINVAL);
	EXPECT(vector_fd(64, 0), -ENOSPC);
	EXPECT(vector_fd(1L << 32, 0), -ENOSPC);
	a = vector_fd(63, 0);
	b = vector_fd(63, 0);
	REQUIRE(a >= 0 && b >= 0);
	EXPECT(fcntl(a, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	EXPECT(fcntl(a, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	sprintf(path, "/proc/self/fdinfo/%ld", a);
	f = open(path, O_RDONLY);
	REQUIRE(f >= 0 && read(f, info, sizeof(info) - 1) > 0);
	sprintf(want, "receiver_pid:%d\n", getpid());
	EXPECT(strstr(info, "user_vector:63\n") != NULL, true);
	EXPECT(strstr(info, want) != NULL, true);
	EXPECT(read(a, info, 8), -1);
	EXPECT(ioctl(a, _IO('U', 0x7f)), -1);
	EXPECT(errno, ENOTTY);
	EXPECT(ioctl(a, UVECFD_BIND_EVENTFD, NULL), -1);
	EXPECT(errno, EFAULT);
	EXPECT(ioctl(a, UVECFD_BIND_EVENTFD, &f), -1);
	EXPECT(errno, EINVAL);
	EXPECT(unregister_handler(0), 0);
	EXPECT(ioctl(a, UVECFD_NOTIFY), -1);
	EXPECT(errno, ESHUTDOWN);
}

static void senders(void)
{
	long fd, gone = -1, first, i, n;
	pthread_t thread;
	uint64_t end;

	EXPECT(register_sender(-1, 0), -EBADF);
	EXPECT(register_sender(999, 0), -EBADF);
	EXPECT(register_sender(STDOUT_FILENO, 0), -EOPNOTSUPP);
	EXPECT(unregister_sender(0, 0), -EINVAL);
	EXPECT(ipi_fd(0), -EINVAL);
	EXPECT(register_handler(handler, 0), 0);
	fd = vector_fd(5, 0);
	REQUIRE(fd >= 0);
	EXPECT(register_sender(fd, 1), -EINVAL);
	first = register_sender(fd, 0);
	EXPECT(first, 0);
	EXPECT(register_sender(fd, 0), 1);
	EXPECT(unregister_sender(0, 1), -EINVAL);
	EXPECT(unregister_sender(0, 0), 0);
	EXPECT(unregister_sender(0, 0), -EINVAL);
	EXPECT(unregister_sender(256, 0), -EINVAL);
	EXPECT(unregister_sender(-1, 0), -EINVAL);
	EXPECT(register_sender(fd, 0), 0);
	for (n = 2; n < 256; n++)
		EXPECT(register_sender(fd, 0), n);
	EXPECT(register_sender(fd, 0), -ENOSPC);
	EXPECT(register_self(7, 0), -ENOSPC);
	EXPECT(unregister_sender(77, 0), 0);
	EXPECT(register_self(64, 0), -ENOSPC);
	EXPECT(register_self(7, 1), -EINVAL);
	EXPECT(register_self(7, 0), 77);
	_stui();
	EXPECT(_testui(), 1);
	_senduipi(77);
	EXPECT(becomes(&received, 8), true);
	_senduipi(255);
	EXPECT(becomes(&received, 6), true);
	for (i = 0; i < 256; i++)
		EXPECT(unregister_sender(i, 0), 0);

	REQUIRE(!pthread_create(&thread, NULL, sender_gone, &gone));
	pthread_join(thread, NULL);
	end = now_ns() + 20000000000ull;
	REQUIRE(gone >= 0);
	/* Its state ends a moment after others see it gone. */
	do {
		i = register_sender(gone, 0);
		if (i >= 0)
			EXPECT(unregister_sender(i, 0), 0);
	} while (i >= 0 && now_ns() < end);
	EXPECT(i, -ESHUTDOWN);
	EXPECT(unregister_handler(0), 0);
	EXPECT(register_sender(fd, 0), -ESHUTDOWN);
}

static void waiting(void)
{
	uint64_t before;

	EXPECT(register_handler(handler, 0), 0);
	EXPECT(uintr_wait(0, 0), 0);
	EXPECT(uintr_wait(1, 1), -EINVAL);
	EXPECT(uintr_wait(1000000001, 0), -EINVAL);
	before = now_ns();
	EXPECT(uintr_wait(20000, 0), 0);
	EXPECT(now_ns() - before >= 20000000, true);
	REQUIRE(register_self(9, 0) == 0);
	received = 0;
	_senduipi(0);
	EXPECT(uintr_wait(1000000000, 0), -EINTR); /* masked, but there */
	EXPECT(received, 0);
	_stui();
	EXPECT(becomes(&received, 10), true);
}

static void stacks(void)
{
	EXPECT(register_handler(handler, 0), 0);
	EXPECT(alt_stack(4096, 0, 1), -EINVAL);
	EXPECT(alt_stack(1L << 62, 0, 0), -EFAULT);
	EXPECT(alt_stack(4096, 0, 0), 0);
	EXPECT(alt_stack(0, 0, 0), 0);
	REQUIRE(register_self(2, 0) == 0);
	received = 0;
	_stui();
	_senduipi(0);
	EXPECT(becomes(&received, 3), true);
}

static void tables(void)
{
	long fd;

	EXPECT(register_handler(handler, 0), 0);
	EXPECT(register_self(11, 0), 0);
	EXPECT(ipi_fd(1), -EINVAL);
	fd = ipi_fd(0);
	REQUIRE(fd >= 0);
	EXPECT(ioctl(fd, UIPI_SET_TARGET_TABLE), -1);
	EXPECT(errno, EBUSY);
	EXPECT(ioctl(fd, _IO('u', 9)), -1);
	EXPECT(errno, ENOTTY);
}

static void unregistered(void)
{
	_senduipi(0);
}

static void stale(void)
{
	if (register_handler(handler, 0) || register_self(0, 0) != 0)
		_exit(9);
	_senduipi(1);
}

static void withdrawn(void)
{
	if (register_handler(handler, 0) || register_self(0, 0) != 0 || unregister_sender(0, 0))
		_exit(9);
	_senduipi(0);
}

static void beyond(void)
{
	if (register_handler(handler, 0) || register_self(0, 0) != 0)
		_exit(9);
	_senduipi(256);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "absent")) {
		for (long n = 470; n <= 480; n++)
			EXPECT(call(n, 0, 0, 0), -ENOSYS);
		return verdict("errors absent");
	}
	EXPECT(call(470, 0, 0, 0), -ENOSYS);
	EXPECT(call(480, 0, 0, 0), -ENOSYS);
	EXPECT(call(-1, 0, 0, 0), -ENOSYS);
	EXPECT(call(471 | 0x40000000, 0, 0, 0), -ENOSYS);
	EXPECT_OK(registering);
	EXPECT_OK(descriptors);
	EXPECT_OK(senders);
	EXPECT_OK(waiting);
	EXPECT_OK(stacks);
	EXPECT_OK(tables);
	EXPECT_SIGNAL(unregistered, SIGILL);
	EXPECT_SIGNAL(stale, SIGSEGV);
	EXPECT_SIGNAL(withdrawn, SIGSEGV);
	EXPECT_SIGNAL(beyond, SIGSEGV);
	return verdict("errors");
}
