/* SPDX-License-Identifier: GPL-2.0 */
/* Layouts and numbers of the architecture and of the system calls (uintr.md §1, §2); no logic. */
#ifndef UINTR_SPEC_H
#define UINTR_SPEC_H

#include <linux/bits.h>
#include <linux/types.h>

/* uintr.md §1.1, §1.3 */
#define CPUID_7_EDX_UINTR	BIT(5)
#define CR4_UINTR		BIT(25)
#define MSR_UINTR_RR		0x985
#define MSR_UINTR_HANDLER	0x986
#define MSR_UINTR_STACKADJUST	0x987
#define MSR_UINTR_MISC		0x988	/* 31:0 UITTSZ, 39:32 UINV */
#define MSR_UINTR_PD		0x989
#define MSR_UINTR_TT		0x98a	/* bit 0: SENDUIPI enabled */
#define MISC_UINV_SHIFT		32
#define TT_ENABLE		BIT(0)

/* UPID, uintr.md §1.5. The low quadword's status, NV and NDST are one atomic word. */
struct hw_upid {
	union {
		u64 control;
		struct {
			u8 status, reserved1, nv, reserved3;
			u32 ndst;
		};
	};
	unsigned long pir;
} __aligned(64);
#define UPID_ON			0	/* bits of control */
#define UPID_SN			1
#define UPID_BLOCKED		7	/* reserved: SENDUIPI takes #GP (uintr.md §2.5) */
#define UPID_NV_SHIFT		16
#define UPID_NV_MASK		GENMASK_ULL(23, 16)

/* UITT entry, uintr.md §1.5. */
struct uitt_entry {
	u8 valid, vector, reserved[6];
	u64 upid;
};
#define UITT_ENTRIES		256
#define UINTR_VECTORS		64

/* What delivery pushes and UIRET pops, uintr.md §1.8, §1.9. */
struct uintr_frame {
	u64 vector, rip, rflags, rsp;
};
#define UIRET_FLAGS		0x254dd5	/* that UIRET loads */
#define RED_ZONE		128

enum uintr_opcode { UINTR_SENDUIPI, UINTR_UIRET, UINTR_TESTUI, UINTR_CLUI, UINTR_STUI };
struct uintr_inst {
	enum uintr_opcode op;
	u8 reg;		/* SENDUIPI's operand */
	u8 length;
};

/* System calls, uintr.md §2.1. */
enum {
	NR_uintr_register_handler = 471,
	NR_uintr_unregister_handler,
	NR_uintr_vector_fd,
	NR_uintr_register_sender,
	NR_uintr_unregister_sender,
	NR_uintr_wait,
	NR_uintr_register_self,
	NR_uintr_alt_stack,
	NR_uintr_ipi_fd,
};
#define UINTR_WAITING_RECEIVER	0x1000
#define UINTR_WAITING_SENDER	0x2000
#define UINTR_WAITING_ANY	(UINTR_WAITING_RECEIVER | UINTR_WAITING_SENDER)
#define UINTR_WAIT_MAX		1000000000ULL	/* microseconds */

#endif
