// SPDX-License-Identifier: Apache-2.0
/* Receivers and senders in different processes: descriptors over sockets and forks, inherited
 * tables, shared tables, programs that are replaced, receivers that die first. */
#include "check.h"

#include <sys/socket.h>

static volatile unsigned long count[64];

static void HANDLER handler(frame_t *frame, vector_t vector)
{
	(void)frame;
	count[vector & 63]++;
}

static void give(int socket, int fd)
{
	char byte = 'f', space[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec data = { &byte, 1 };
	struct msghdr m = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	REQUIRE(sendmsg(socket, &m, 0) == 1);
}

static int take(int socket)
{
	char byte, space[CMSG_SPACE(sizeof(int))];
	struct iovec data = { &byte, 1 };
	struct msghdr m = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space) };
	int fd;

	REQUIRE(recvmsg(socket, &m, 0) == 1 && CMSG_FIRSTHDR(&m));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

/* The sender exists before the receiver's descriptor does; 1000 interrupts, each answered. */
static void over_socket(void)
{
	volatile unsigned long *answers = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int pair[2], status;
	pid_t pid;

	REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	if (!pid) {
		long index = register_sender(take(pair[1]), 0);

		for (unsigned long i = 1; i <= 1000; i++) {
			_senduipi(index);
			if (!becomes(answers, i))
				_exit(1);
		}
		_exit(index != 0);
	}
	EXPECT(register_handler(handler, 0), 0);
	give(pair[0], vector_fd(33, 0));
	_stui();
	for (unsigned long i = 1; i <= 1000 && becomes(&count[33], i); i++)
		*answers = i;
	REQUIRE(waitpid(pid, &status, 0) == pid);
	EXPECT(status, 0);
	EXPECT(count[33], 1000);
}

/* A child sends by the table that it inherited, without any call; and its own children do. */
static void inherited(void)
{
	int status;
	pid_t pid;

	EXPECT(register_handler(handler, 0), 0);
	EXPECT(register_self(12, 0), 0);
	EXPECT(register_self(13, 0), 1);
	_stui();
	pid = fork();
	if (!pid) {
		_senduipi(0);
		pid = fork();
		if (!pid) {
			_senduipi(1);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		/* The registration was the thread's: a child has none. */
		EXPECT(unregister_handler(0), -EINVAL);
		EXPECT(register_handler(handler, 0), 0);
		EXPECT(count[12], 0);
		_exit(status || failures);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	EXPECT(status, 0);
	EXPECT(count[12], 1);
	EXPECT(count[13], 1);
}

/* A process without a table takes another's, by a descriptor. */
static void shared_table(void)
{
	int pair[2], status;
	pid_t pid;

	REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	if (!pid) {
		int fd = take(pair[1]);

		EXPECT(ioctl(fd, UIPI_SET_TARGET_TABLE), 0);
		EXPECT(ioctl(fd, UIPI_SET_TARGET_TABLE), -1);
		close(fd);
		_senduipi(0);
		_exit(failures != 0);
	}
	EXPECT(register_handler(handler, 0), 0);
	EXPECT(register_self(13, 0), 0);
	_stui();
	give(pair[0], ipi_fd(0));
	REQUIRE(waitpid(pid, &status, 0) == pid);
	EXPECT(status, 0);
	EXPECT(becomes(&count[13], 1), true);
}

/* The receiver ends before its senders: they post into nothing. */
static void orphaned(void)
{
	int pair[2];
	long index;
	pid_t pid;

	REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = fork();
	if (!pid) {
		if (register_handler(handler, 0))
			_exit(1);
		_stui();
		give(pair[1], vector_fd(1, 0));
		for (;;)
			;
	}
	index = register_sender(take(pair[0]), 0);
	EXPECT(index, 0);
	for (int i = 0; i < 2000; i++) {
		_senduipi(index);
		if (i == 1000)
			kill(pid, SIGKILL);
	}
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 1000; i++)
		_senduipi(index);
	EXPECT(unregister_sender(index, 0), 0);
}

static void replaced(void)
{
	if (register_handler(handler, WAITING_ANY) || register_self(1, 0))
		_exit(9);
	_stui();
	execl("/proc/self/exe", "processes", "replaced", NULL);
	_exit(8);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "replaced")) {
		EXPECT(unregister_handler(0), -EINVAL);
		EXPECT(unregister_sender(0, 0), -EINVAL);
		EXPECT(register_handler(handler, 0), 0);
		EXPECT(register_self(1, 0), 0);
		_stui();
		_senduipi(0);
		EXPECT(becomes(&count[1], 1), true);
		return failures != 0;
	}
	EXPECT_OK(over_socket);
	EXPECT_OK(inherited);
	EXPECT_OK(shared_table);
	EXPECT_OK(orphaned);
	EXPECT_OK(replaced);
	return verdict("processes");
}
