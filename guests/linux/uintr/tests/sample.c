// SPDX-License-Identifier: Apache-2.0
/* A receiver and a sender thread, as in the manual page of Intel's series: nothing but numbers of
 * system calls and the compiler's intrinsics. Prints Success. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86gprintrin.h>

#define __NR_uintr_register_handler 471
#define __NR_uintr_unregister_handler 472
#define __NR_uintr_vector_fd 473
#define __NR_uintr_register_sender 474
#define __NR_uintr_unregister_sender 475

static volatile unsigned int received;
static int descriptor;

static void __attribute__((interrupt)) handler(struct __uintr_frame *frame, unsigned long long vector)
{
	(void)frame;
	static const char text[] = "\t-- User Interrupt handler --\n";
	write(STDOUT_FILENO, text, sizeof(text) - 1);
	received = 1 + vector;
}

static void *sender(void *arg)
{
	long index = syscall(__NR_uintr_register_sender, descriptor, 0);

	if (index < 0) {
		perror("register_sender");
		exit(EXIT_FAILURE);
	}
	printf("Sending IPI from sender thread\n");
	_senduipi(index);
	syscall(__NR_uintr_unregister_sender, index, 0);
	return arg;
}

int main(void)
{
	pthread_t thread;

	if (syscall(__NR_uintr_register_handler, handler, 0)) {
		perror("register_handler");
		return EXIT_FAILURE;
	}
	descriptor = syscall(__NR_uintr_vector_fd, 3, 0);
	if (descriptor < 0) {
		perror("vector_fd");
		return EXIT_FAILURE;
	}
	_stui();
	printf("Receiver enabled interrupts\n");
	if (pthread_create(&thread, NULL, sender, NULL)) {
		perror("pthread_create");
		return EXIT_FAILURE;
	}
	while (!received)
		usleep(1);
	pthread_join(thread, NULL);
	close(descriptor);
	syscall(__NR_uintr_unregister_handler, 0);
	if (received != 4)
		return EXIT_FAILURE;
	printf("Success\n");
	return EXIT_SUCCESS;
}
