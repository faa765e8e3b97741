/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls 471-479 (docs/uintr.md §2.1) by their manual pages' names, and the instructions
 * that programs use. Calls answer as libc's do: -1 and errno.
 *
 * With UINTR_MODEL both are a model in software (model.c), for tests where no processor has them.
 */
#ifndef UINTR_SYSCALL_H
#define UINTR_SYSCALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	UINTR_NR_REGISTER_HANDLER = 471,
	UINTR_NR_UNREGISTER_HANDLER,
	UINTR_NR_VECTOR_FD,
	UINTR_NR_REGISTER_SENDER,
	UINTR_NR_UNREGISTER_SENDER,
	UINTR_NR_WAIT,
	UINTR_NR_REGISTER_SELF,
	UINTR_NR_ALT_STACK,
	UINTR_NR_IPI_FD,
};

/* Flags of uintr_register_handler(): user interrupts also end calls in which the thread blocks. */
#define UINTR_WAITING_RECEIVER 0x1000u /* the kernel wakes it */
#define UINTR_WAITING_SENDER   0x2000u /* the sender wakes it, by a fault of its own */

#define UINTR_VECTORS   64         /* of a receiver */
#define UINTR_TARGETS   256        /* that a process can send to */
#define UINTR_WAIT_MAX  1000000000 /* microseconds */

#ifdef UINTR_MODEL
int uintr_register_handler(uint64_t handler, unsigned flags);
int uintr_unregister_handler(unsigned flags);
int uintr_vector_fd(uint64_t vector, unsigned flags);
int uintr_register_sender(int fd, unsigned flags);
int uintr_unregister_sender(int index, unsigned flags);
int uintr_wait(uint64_t usec, unsigned flags);
int uintr_register_self(uint64_t vector, unsigned flags);
int uintr_alt_stack(void *top, size_t size, unsigned flags);
void uintr_clui(void);
void uintr_stui(void);
bool uintr_testui(void);
void uintr_senduipi(uint64_t index);
#else
#include <unistd.h>
#include <x86gprintrin.h>

long syscall(long number, ...);

static inline int uintr_register_handler(uint64_t handler, unsigned flags)
{
	return (int)syscall(UINTR_NR_REGISTER_HANDLER, handler, flags);
}

static inline int uintr_unregister_handler(unsigned flags)
{
	return (int)syscall(UINTR_NR_UNREGISTER_HANDLER, flags);
}

static inline int uintr_vector_fd(uint64_t vector, unsigned flags)
{
	return (int)syscall(UINTR_NR_VECTOR_FD, vector, flags);
}

static inline int uintr_register_sender(int fd, unsigned flags)
{
	return (int)syscall(UINTR_NR_REGISTER_SENDER, fd, flags);
}

static inline int uintr_unregister_sender(int index, unsigned flags)
{
	return (int)syscall(UINTR_NR_UNREGISTER_SENDER, index, flags);
}

static inline int uintr_wait(uint64_t usec, unsigned flags)
{
	return (int)syscall(UINTR_NR_WAIT, usec, flags);
}

static inline int uintr_register_self(uint64_t vector, unsigned flags)
{
	return (int)syscall(UINTR_NR_REGISTER_SELF, vector, flags);
}

/* The kernel takes top as it is, and ignores size: pass the end of the stack, not its beginning. */
static inline int uintr_alt_stack(void *top, size_t size, unsigned flags)
{
	return (int)syscall(UINTR_NR_ALT_STACK, top, size, flags);
}

/*
 * The fences keep the compiler from moving accesses over an instruction; the processor does not.
 * In programs built without -muintr these are calls, with it they are inlined.
 */
#define UINTR_INSTRUCTION static inline __attribute__((target("uintr")))

UINTR_INSTRUCTION void uintr_clui(void)
{
	_clui();
	atomic_signal_fence(memory_order_seq_cst);
}

UINTR_INSTRUCTION void uintr_stui(void)
{
	atomic_signal_fence(memory_order_seq_cst);
	_stui();
	atomic_signal_fence(memory_order_seq_cst);
}

UINTR_INSTRUCTION bool uintr_testui(void)
{
	atomic_signal_fence(memory_order_seq_cst);
	return _testui();
}

UINTR_INSTRUCTION void uintr_senduipi(uint64_t index)
{
	atomic_signal_fence(memory_order_seq_cst);
	_senduipi(index);
	atomic_signal_fence(memory_order_seq_cst);
}
#endif
#endif
