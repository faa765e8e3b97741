/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest kernel calls, and points its gates at, to run the microcode. */
#ifndef GVMM_MICROCODE_H
#define GVMM_MICROCODE_H
#include "abi.h"

#define UIRET_FLAGS 0x254dd5 /* what UIRET takes from the popped RFLAGS, and a program may change (uintr.md §1.9) */
#define TF_RF       0x10100  /* of RFLAGS: not the handler's (uintr.md §1.8) */

#ifndef __ASSEMBLER__
/* Registers of the interrupted code, as microcode.S saves them below a hardware frame. */
struct uc_regs {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t rip, cs, rflags, rsp, ss;
};

/* Gates. The direct pair are trap gates with DPL 3, the resident pair interrupt gates; all use IST. */
extern char uintr_notify_direct[], uintr_ud_direct[];
extern char uintr_notify_resident[], uintr_ud_resident[];

/*
 * Where a fault may be met on the guest's behalf:
 *  [uintr_notify_begin, uintr_notify_end)  RAX, RCX saved below the notification frame
 *  [uintr_ud_fast_begin, uintr_ud_fast_end) RAX, RCX, RDX saved below the #UD frame: go on at
 *                                          uintr_ud_slow with them and the #UD frame as RSP
 *  [uintr_ud_begin, uintr_ud_end) else     struct uc_regs below the #UD frame
 *  [uintr_enter, uintr_enter_end)          at CPL 3: RIP and RSP in the face, and below
 *                                          face_stack RFLAGS, RAX, RCX; the program may
 *                                          have written there
 * uintr_reflected: RIP of the INT3 by which the direct way hands a fault to the kernel.
 */
extern char uintr_notify_begin[], uintr_notify_end[], uintr_ud_begin[], uintr_ud_end[];
extern char uintr_ud_fast_begin[], uintr_ud_fast_end[], uintr_ud_slow[];
extern char uintr_push_direct_begin[], uintr_push_direct_end[];
extern char uintr_enter[], uintr_enter_end[];
extern char uintr_reflected[];

/*
 * The same effects without a trap, for user code: uintr_fast_uiret in both ways, jumped to;
 * uintr_fast_senduipi in the direct way. GS must hold the block. .microcode.user is in the
 * user's reach, the rest of .microcode only in the direct way.
 */
extern char uintr_fast_uiret[];
void uintr_fast_senduipi(uint64_t index);

/*
 * uintr_emulate does the instruction at r->rip. 0: done, RIP and flags advanced.
 * Otherwise b->fault_{vector,error,addr} hold what it raises, and *r is unchanged.
 */
int uintr_emulate(struct uc_regs *r, struct gvmm_cpu_block *b);

/* uintr_deliver delivers the highest pending user interrupt to r. Same result as uintr_emulate. */
int uintr_deliver(struct uc_regs *r, struct gvmm_cpu_block *b);

/* uintr_user_fault records in *b the fault of a user access to addr in the kernel's half. */
void uintr_user_fault(struct gvmm_cpu_block *b, uint64_t addr);

/* Provided by the kernel: the stack holds vector, error code and a hardware frame. */
extern char uintr_raise[];
#endif
#endif
