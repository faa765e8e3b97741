/* SPDX-License-Identifier: Apache-2.0 */
/* Channels: from a vector of a receiver to an index of a sender. */
#include <string.h>
#include <sys/socket.h>

#include "internal.h"

int uintr_channel_create(int vector)
{
	return vector < 0 ? -EINVAL : uintr_result(uintr_vector_fd((uint64_t)vector, 0));
}

int uintr_channel_open(int fd)
{
	return uintr_result(uintr_register_sender(fd, 0));
}

int uintr_channel_self(int vector)
{
	return vector < 0 ? -EINVAL : uintr_result(uintr_register_self((uint64_t)vector, 0));
}

int uintr_channel_close(int index)
{
	return uintr_result(uintr_unregister_sender(index, 0));
}

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

int uintr_channel_pass(int socket, int fd)
{
	union control control = {0};
	char byte = 'u';
	struct iovec data = { &byte, 1 };
	struct msghdr m = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	ssize_t n;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	do
		n = sendmsg(socket, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int uintr_channel_take(int socket)
{
	union control control;
	char byte;
	struct iovec data = { &byte, 1 };
	struct msghdr m = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c;
	ssize_t n;
	int fd;

	do
		n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -EPIPE;
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(fd)))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}
