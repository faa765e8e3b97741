/* SPDX-License-Identifier: Apache-2.0 */
/* What the bare kernel and its program agree on. A system call is INT3: number in RAX, arguments in RDI, RSI, RDX. */
#ifndef GVMM_BARE_ABI_H
#define GVMM_BARE_ABI_H
#include <stdint.h>

enum {
	SYS_EXIT,     /* status */
	SYS_WRITE,    /* text, length: to COM1 */
	SYS_DEVICE,   /* index, struct device * */
	SYS_BIND,     /* device index, MSI-X entry, user vector: 0 posted, 1 through the kernel */
	SYS_HANDLER,  /* entry of the user-interrupt handler of this CPU */
	SYS_SENDER,   /* CPU, user vector: UITT index for SENDUIPI */
	SYS_THREAD,   /* CPU, entry, stack: a thread on a CPU that has none */
	SYS_LATENCY,  /* struct gvmm_latency_log * */
	SYS_RETURN,   /* from a handler that the kernel called */
	SYS_FAULT,    /* entry, struct fault *: faults go there instead of ending the program */
	SYS_POLL,     /* no notifications for this CPU: address of its UPID's PIR, 0 where it is out of reach */
	SYS_PEEK,     /* test images only: kernel address, size, to */
	SYS_POKE,     /* test images only: kernel address, size, from */
	SYS_RDMSR,    /* test images only: MSR, uint64_t *; SYS_EINVAL for #GP */
	SYS_WRMSR,    /* test images only: MSR, value; SYS_EINVAL for #GP */
	SYS_IPI,      /* test images only: vector, to this CPU; where to go on, 0: behind the call */
	SYS_GATE,     /* test images only: vector; 1: it notifies of user interrupts, 0: it is the kernel's */
	SYS_IN,       /* test images only: port, read by 32 bits */
	SYS_OUT,      /* test images only: port, 32-bit value */
};

#define SYS_EINVAL (-22)

struct device {
	uint64_t common, notify, specific; /* the virtio structures, mapped; linear addresses */
	uint32_t notify_multiplier;
	uint16_t requester;
	uint16_t type;                     /* virtio device type */
};

struct fault {
	uint64_t vector, error, address; /* address: CR2 of a page fault */
	uint64_t rip, rsp, rflags;
	uint64_t stack;                  /* in: RSP for the fault handler */
};

/* Stands at the program's first byte; all addresses are linear. */
struct program_header {
	uint64_t entry, stack_top; /* entry(const struct program_info *) */
	uint64_t info;             /* struct program_info to be filled */
	uint64_t command_line, command_line_size;
};

struct program_info {
	uint32_t way, cpus, posted, reserved;
	uint64_t fast_uiret, fast_senduipi; /* direct way: no trap; else 0 */
	uint64_t command_line;
	uint64_t block, upids, uitt, irt, iommu; /* kernel addresses, for tests */
};
#endif
