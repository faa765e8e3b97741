// SPDX-License-Identifier: Apache-2.0
// User interrupts as their manual pages describe them, with nothing but the compiler's intrinsics and
// the numbers of the system calls: a receiver registers its handler and makes a descriptor
// for a vector, a thread becomes a sender by it and sends. Prints Success.
//
//	gcc -muintr -mgeneral-regs-only -minline-all-stringops -pthread -o sample sample.c
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <x86gprintrin.h>

enum {
	NR_uintr_register_handler = 471,
	NR_uintr_unregister_handler = 472,
	NR_uintr_create_fd = 473, // uintr_vector_fd in later kernels
	NR_uintr_register_sender = 474,
	NR_uintr_unregister_sender = 475,
};

enum { VECTOR = 3 };

static volatile int received;
static int descriptor;

static void __attribute__((interrupt)) handler(struct __uintr_frame *frame, unsigned long long vector)
{
	static const char text[] = "handler: a user interrupt\n";

	(void)frame;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0 || vector != VECTOR)
		_exit(EXIT_FAILURE);
	received = 1;
}

static long check(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(EXIT_FAILURE);
	}
	return result;
}

static void *sender(void *arg)
{
	long index = check(syscall(NR_uintr_register_sender, descriptor, 0), "uintr_register_sender");

	printf("sender: sends\n");
	_senduipi(index);
	check(syscall(NR_uintr_unregister_sender, index, 0), "uintr_unregister_sender");
	return arg;
}

int main(void)
{
	pthread_t thread;

	setvbuf(stdout, NULL, _IOLBF, 0); // lines in order, whatever stdout is
	check(syscall(NR_uintr_register_handler, handler, 0), "uintr_register_handler");
	descriptor = check(syscall(NR_uintr_create_fd, VECTOR, 0), "uintr_create_fd");
	_stui();
	printf("receiver: ready\n");
	if (pthread_create(&thread, NULL, sender, NULL)) {
		fprintf(stderr, "no thread\n");
		return EXIT_FAILURE;
	}
	while (!received)
		usleep(10);
	pthread_join(thread, NULL);
	close(descriptor);
	check(syscall(NR_uintr_unregister_handler, 0), "uintr_unregister_handler");
	printf("Success\n");
	return EXIT_SUCCESS;
}
