/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link: one direction between two threads or two processes, by one of the ways to be compared.
 *
 * Pipe, FIFO and socket carry the messages. For the other ways a ring in shared memory does, and
 * each message rings a bell: a signal, an eventfd, a futex, a user interrupt. A receiver sees what
 * the ring had when its bell last rang, so that no way can look past its own bell. Buffers,
 * copies and their sizes are the same for all.
 */
#ifndef GVMM_LINK_H
#define GVMM_LINK_H

#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <x86gprintrin.h>

#include "bench.h"

enum { SLOTS = 16, LARGEST = 4096 }; // a pipe holds as many messages of that size

struct link {
	// the sender's
	_Alignas(64) _Atomic uint32_t head; // messages sent
	long uitt;
	// the receiver's
	_Alignas(64) _Atomic uint32_t tail; // messages taken
	_Atomic uint32_t seen;		    // head, when the bell last rang
	_Atomic uint32_t sleeping;	    // on head, by futex
	uint32_t rung;			    // times that the bell was heard
	// both's, written once
	_Alignas(64) int read, write; // of pipe, FIFO, socket; of the eventfd
	int handing[2];		      // sockets by which the receiver hands its uvecfd over
	int vector;		      // the uvecfd
	pid_t pid, tid;		      // the receiver's
	bool blocking, between_processes;
	char slots[SLOTS][LARGEST];
};

struct way {
	const char *name;
	bool carries;			     // the messages themselves
	void (*make)(struct link *l);	     // before there are two
	void (*listen)(struct link *l);	     // in the receiver
	void (*aim)(struct link *l);	     // in the sender, after that
	void (*ring)(struct link *l);	     // the bell
	void (*hear)(struct link *l);	     // until it has rung, or for no reason
	void (*leave)(struct link *l);	     // in the receiver, when no bell can ring any more
};

// The link that this thread receives by, for handlers.
static __thread struct link *own_link;

// What handlers of user interrupts call: they leave all registers but the general ones alone.
#define HANDLER_CODE __attribute__((target("general-regs-only")))

HANDLER_CODE static inline void heard(struct link *l)
{
	atomic_store_explicit(&l->seen, atomic_load_explicit(&l->head, memory_order_acquire), memory_order_relaxed);
	l->rung++;
}

static inline void nothing(struct link *l)
{
	(void)l;
}

// Pipe, FIFO, socket.

static inline void descriptors(struct link *l, int from, int to)
{
	l->read = from;
	l->write = to;
	if (!l->blocking)
		must(fcntl(from, F_SETFL, O_NONBLOCK), "fcntl");
}

static inline void make_pipe(struct link *l)
{
	int fd[2];

	must(pipe(fd), "pipe");
	descriptors(l, fd[0], fd[1]);
}

static inline void make_fifo(struct link *l)
{
	char name[64];
	int both;

	snprintf(name, sizeof name, "/tmp/gvmm-bench-%d", getpid());
	must(mkfifo(name, 0600), "mkfifo");
	both = (int)must(open(name, O_RDWR), "open of the FIFO"); // neither end waits for the other
	descriptors(l, (int)must(open(name, O_RDONLY), "open of the FIFO"), (int)must(open(name, O_WRONLY), "open of the FIFO"));
	must(close(both), "close");
	must(unlink(name), "unlink");
}

static inline void make_socket(struct link *l)
{
	int fd[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), "socketpair");
	descriptors(l, fd[0], fd[1]);
}

// eventfd

static inline void make_eventfd(struct link *l)
{
	l->read = l->write = (int)must(eventfd(0, l->blocking ? 0 : EFD_NONBLOCK), "eventfd");
}

static inline void ring_eventfd(struct link *l)
{
	uint64_t one = 1;

	must(write(l->write, &one, sizeof one), "write to the eventfd");
}

static inline void hear_eventfd(struct link *l)
{
	uint64_t count;

	if (read(l->read, &count, sizeof count) == sizeof count)
		heard(l);
	else if (errno != EAGAIN)
		die("read of the eventfd: %s", strerror(errno));
}

// futex: the word is head. A sender enters the kernel only if the receiver says that it sleeps.

static inline void ring_futex(struct link *l)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&l->sleeping, memory_order_relaxed))
		must(syscall(SYS_futex, &l->head, FUTEX_WAKE, 1, NULL, NULL, 0), "futex wake");
}

static inline void hear_futex(struct link *l)
{
	uint32_t seen = atomic_load_explicit(&l->seen, memory_order_relaxed);

	if (l->blocking) {
		atomic_store(&l->sleeping, 1);
		if (syscall(SYS_futex, &l->head, FUTEX_WAIT, seen, NULL, NULL, 0) < 0 && errno != EAGAIN && errno != EINTR)
			die("futex wait: %s", strerror(errno));
		atomic_store_explicit(&l->sleeping, 0, memory_order_relaxed);
	}
	if (atomic_load_explicit(&l->head, memory_order_acquire) != seen)
		heard(l);
	else
		relax();
}

// Signal

static inline void on_signal(int number)
{
	(void)number;
	heard(own_link);
}

static inline sigset_t bell_signal(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	return set;
}

static inline void listen_signal(struct link *l)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t set = bell_signal();

	own_link = l;
	l->pid = getpid();
	l->tid = gettid();
	must(sigaction(SIGUSR1, &action, NULL), "sigaction");
	must(pthread_sigmask(l->blocking ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL), "pthread_sigmask");
}

static inline void ring_signal(struct link *l)
{
	if (l->between_processes)
		must(kill(l->pid, SIGUSR1), "kill");
	else
		must(tgkill(l->pid, l->tid, SIGUSR1), "tgkill");
}

static inline void hear_signal(struct link *l)
{
	sigset_t none;

	if (!l->blocking) {
		relax();
		return;
	}
	pthread_sigmask(SIG_BLOCK, NULL, &none);
	sigdelset(&none, SIGUSR1);
	sigsuspend(&none);
}

static inline void leave_signal(struct link *l)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t set = bell_signal();

	(void)l;
	must(sigaction(SIGUSR1, &ignore, NULL), "sigaction");
	must(pthread_sigmask(SIG_UNBLOCK, &set, NULL), "pthread_sigmask");
}

// User interrupt

__attribute__((interrupt)) HANDLER_CODE static inline void on_interrupt(struct __uintr_frame *frame, unsigned long long vector)
{
	(void)frame;
	(void)vector;
	heard(own_link);
}

static inline void make_uintr(struct link *l)
{
	must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, l->handing), "socketpair");
}

union handing {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(int))];
};

static inline void listen_uintr(struct link *l)
{
	union handing control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	char byte = 0;
	struct iovec data = {&byte, 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

	own_link = l;
	must(syscall(UINTR_REGISTER_HANDLER, on_interrupt, 0), "uintr_register_handler");
	l->vector = (int)must(syscall(UINTR_VECTOR_FD, 0, 0), "uintr_vector_fd");
	memcpy(CMSG_DATA(&control.header), &l->vector, sizeof l->vector);
	must(sendmsg(l->handing[0], &message, 0), "sendmsg");
	if (!l->blocking)
		_stui();
}

static inline void aim_uintr(struct link *l)
{
	union handing control;
	char byte;
	struct iovec data = {&byte, 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	int vector;

	must(recvmsg(l->handing[1], &message, 0), "recvmsg");
	if (message.msg_controllen < sizeof control || control.header.cmsg_type != SCM_RIGHTS)
		die("the receiver's uvecfd did not arrive");
	memcpy(&vector, CMSG_DATA(&control.header), sizeof vector);
	l->uitt = must(syscall(UINTR_REGISTER_SENDER, vector, 0), "uintr_register_sender");
	must(close(vector), "close");
}

static inline void ring_uintr(struct link *l)
{
	_senduipi((unsigned long long)l->uitt);
}

// A receiver that blocks holds its interrupts back but for the moment after it was woken.
static inline void hear_uintr(struct link *l)
{
	if (!l->blocking) {
		relax();
		return;
	}
	if (syscall(UINTR_WAIT, 1000000, 0) < 0 && errno != EINTR)
		die("uintr_wait: %s", strerror(errno));
	_stui();
	_clui();
}

static inline void leave_uintr(struct link *l)
{
	_clui();
	must(syscall(UINTR_UNREGISTER_HANDLER, 0), "uintr_unregister_handler");
	must(close(l->vector), "close");
}

static const struct way ways[] = {
	{"uintr", false, make_uintr, listen_uintr, aim_uintr, ring_uintr, hear_uintr, leave_uintr},
	{"futex", false, nothing, nothing, nothing, ring_futex, hear_futex, nothing},
	{"eventfd", false, make_eventfd, nothing, nothing, ring_eventfd, hear_eventfd, nothing},
	{"signal", false, nothing, listen_signal, nothing, ring_signal, hear_signal, leave_signal},
	{"pipe", true, make_pipe, nothing, nothing, NULL, NULL, nothing},
	{"fifo", true, make_fifo, nothing, nothing, NULL, NULL, nothing},
	{"socket", true, make_socket, nothing, nothing, NULL, NULL, nothing},
};

enum { WAYS = sizeof ways / sizeof *ways };

// The descriptors go when nobody uses them any more.
static inline void unmake(const struct way *w, struct link *l)
{
	if (w->make == make_uintr) {
		close(l->handing[0]);
		close(l->handing[1]);
	} else if (w->make != nothing) {
		close(l->read);
		if (l->write != l->read)
			close(l->write);
	}
}

static inline void send_message(const struct way *w, struct link *l, const char *message, size_t size)
{
	uint32_t head = atomic_load_explicit(&l->head, memory_order_relaxed);

	if (w->carries) {
		for (size_t sent = 0; sent < size;)
			sent += (size_t)must(write(l->write, message + sent, size - sent), "write");
		return;
	}
	while (head - atomic_load_explicit(&l->tail, memory_order_acquire) == SLOTS)
		sched_yield();
	memcpy(l->slots[head % SLOTS], message, size);
	atomic_store_explicit(&l->head, head + 1, memory_order_release);
	w->ring(l);
}

static inline void receive_message(const struct way *w, struct link *l, char *message, size_t size)
{
	uint32_t tail = atomic_load_explicit(&l->tail, memory_order_relaxed);

	if (w->carries) {
		for (size_t got = 0; got < size;) {
			ssize_t n = read(l->read, message + got, size - got);

			if (n > 0)
				got += (size_t)n;
			else if (n == 0 || errno != EAGAIN)
				die("read: %s", n ? strerror(errno) : "the sender has gone");
		}
		return;
	}
	while (atomic_load_explicit(&l->seen, memory_order_relaxed) == tail)
		w->hear(l);
	memcpy(message, l->slots[tail % SLOTS], size);
	atomic_store_explicit(&l->tail, tail + 1, memory_order_release);
}

#endif
