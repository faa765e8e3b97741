/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The microcode: what a CPU with user interrupts does when the notification
 * vector arrives and when one of the five instructions is met (uintr.md §1.6-1.9).
 *
 * One source, two ways. direct: trap gates to a DPL-3 code segment, all of it runs
 * at CPL 3 with interrupts on. resident: interrupt gates, CPL 0, interrupts off.
 * Each gate has a stack of its own (IST) at a fixed place in the CPU's block, so
 * the block is found from RSP: no register, no segment base, no SWAPGS.
 *
 * Where CPL 0 is interpreted an instruction costs 0.8 to 2 us: what the resident way does
 * there is counted, 16 instructions for a notification. It moves the requests, which is the
 * kernel's; whether and how to deliver concerns the program alone, and is done at CPL 3.
 */
#include "microcode.h"

/* A block field seen from RSP, `pushed` bytes below the gate's hardware frame. */
#define N(field, pushed) ((field) - UC_NOTIFY_TOP + 40 + (pushed))(%rsp)
#define U(field, pushed) ((field) - UC_UD_TOP + 40 + (pushed))(%rsp)

/* The hardware frame, likewise. */
#define F_RIP(pushed)    (0 + (pushed))(%rsp)
#define F_CS(pushed)     (8 + (pushed))(%rsp)
#define F_RFLAGS(pushed) (16 + (pushed))(%rsp)
#define F_RSP(pushed)    (24 + (pushed))(%rsp)

/* ---- always in the program's reach, at CPL 3; GS holds the block ---- */

	.section .microcode.user, "ax", @progbits

/* UIRET without the trap, for handlers that jump here: RSP points to RIP, RFLAGS, RSP. */
	.globl	uintr_fast_uiret
uintr_fast_uiret:
	movb	$1, %gs:UC_UIF
	cmpq	$0, %gs:UC_UIRR
	jne	1f
	pushq	$0x2b
	pushq	24(%rsp)
	pushq	24(%rsp)
	pushq	$0x33
	pushq	32(%rsp)
	iretq
1:	.byte	0xf3, 0x0f, 0x01, 0xec /* uiret: the trapped one delivers what waits */

/*
 * Resident way: the notification gate returns here instead of to the program, whose RIP is
 * in the face and whose other registers stand. Delivers, or resumes. A notification in
 * between only adds to UIRR; one that comes before the frame is complete, or while the
 * program is being resumed, has it look again.
 */
	.globl	uintr_enter, uintr_enter_again, uintr_enter_deliver, uintr_enter_resume, uintr_enter_end
uintr_enter:
	mov	%rsp, %gs:UC_FACE_RSP
	mov	%gs:UC_FACE_STACK, %rsp
	pushfq
	push	%rax
	push	%rcx
uintr_enter_again:
	cmpb	$0, %gs:UC_UIF
	je	uintr_enter_resume
	cmpq	$0, %gs:UC_UIRR
	je	uintr_enter_resume
	mov	%gs:UC_FACE_RSP, %rcx
	and	%gs:UC_FACE_AND, %rcx
	sub	%gs:UC_FACE_SUB, %rcx
	and	$-16, %rcx
	sub	$32, %rcx
	mov	%gs:UC_FACE_RSP, %rax
	mov	%rax, 24(%rcx)
	mov	16(%rsp), %rax
	mov	%rax, 16(%rcx)
	mov	%gs:UC_FACE_RIP, %rax
	mov	%rax, 8(%rcx)
	bsr	%gs:UC_UIRR, %rax
	mov	%rax, (%rcx)
uintr_enter_deliver:
	btr	%rax, %gs:UC_UIRR
	movb	$0, %gs:UC_UIF
	mov	%rcx, %gs:UC_FACE_RSP
	andl	$~TF_RF, 16(%rsp)
	pop	%rcx
	pop	%rax
	popfq
	mov	%gs:UC_FACE_RSP, %rsp
	jmp	*%gs:UC_FACE_HANDLER
uintr_enter_resume:
	pop	%rcx
	pop	%rax
	popfq
	mov	%gs:UC_FACE_RSP, %rsp
	jmp	*%gs:UC_FACE_RIP
uintr_enter_end:

	.section .microcode, "ax", @progbits

	.globl	uintr_notify_begin
uintr_notify_begin:

/* ---- resident ---- */

	.globl	uintr_notify_resident
uintr_notify_resident:
	push	%rax
	push	%rcx
	/* Clear ON, then drain PIR into UIRR: a post in between notifies again. */
	mov	N(UC_PD, 16), %rax
	lock andb $0xfe, (%rax)
	xor	%ecx, %ecx
	xchg	%rcx, 8(%rax)
	or	%rcx, N(UC_UIRR, 16)
	mov	F_RIP(16), %rax
	test	%rax, %rax
	js	2f
1:	mov	%rax, N(UC_FACE_RIP, 16)
	movq	$uintr_enter, F_RIP(16)
9:	pop	%rcx
	pop	%rax
	movl	$0, GVMM_APIC_EOI
	iretq
2:	/* Not the program's code: the kernel's, uintr_enter, or uintr_fast_uiret, which is as good as the program's. */
	testb	$3, F_CS(16)
	jz	9b
	cmp	$uintr_enter, %rax
	jb	1b
	cmp	$uintr_enter_end, %rax
	jae	1b
	cmp	$uintr_enter_again, %rax
	jb	9b
	cmp	$uintr_enter_deliver, %rax
	jb	3f
	cmp	$uintr_enter_resume, %rax
	jb	9b
3:	/* It may have seen no request: it looks again, what it saved still stands. */
	movq	$uintr_enter_again, F_RIP(16)
	mov	N(UC_FACE_STACK, 16), %rax
	sub	$24, %rax
	mov	%rax, F_RSP(16)
	jmp	9b

/* ---- direct ---- */

/*
 * Interrupts stay on, and the next notification's frame lies over ours. No sender notifies
 * before ON is clear, so the context is saved first; and as not every host's local APIC
 * holds the vector back until EOI, a notification may come at each instruction from there
 * up to IRETQ: the window. It starts over from what was saved. All that the window does can
 * be done twice but COMMIT, which is made good from its log before PIR is looked at.
 */

	/* The delivery in the log. UC_LOG_RSP was stored last and is cleared last. */
	.macro COMMIT pushed
	mov	N(UC_LOG_VECTOR, \pushed), %rax
	btr	%rax, N(UC_UIRR, \pushed)
	movb	$0, N(UC_UIF, \pushed)
	mov	N(UC_LOG_RSP, \pushed), %rax
	mov	%rax, N(UC_SAVED_RSP, \pushed)
	mov	N(UC_HANDLER, \pushed), %rax
	mov	%rax, N(UC_SAVED_RIP, \pushed)
	andl	$~TF_RF, N(UC_SAVED_RFLAGS, \pushed)
	movq	$0, N(UC_LOG_RSP, \pushed)
	.endm

	/* The hardware frame from what was saved. */
	.macro REFRAME pushed
	mov	N(UC_SAVED_RIP, \pushed), %rax
	mov	%rax, F_RIP(\pushed)
	mov	N(UC_SAVED_RFLAGS, \pushed), %rax
	mov	%rax, F_RFLAGS(\pushed)
	mov	N(UC_SAVED_RSP, \pushed), %rax
	mov	%rax, F_RSP(\pushed)
	.endm

	.globl	uintr_notify_direct
uintr_notify_direct:
	cmpq	$uintr_notify_window, F_RIP(0)
	jb	1f
	cmpq	$uintr_notify_iret, F_RIP(0)
	jbe	uintr_nested
1:	push	%rax
	push	%rcx
	mov	%rax, N(UC_SAVED_RAX, 16)
	mov	%rcx, N(UC_SAVED_RCX, 16)
	mov	F_RIP(16), %rax
	mov	%rax, N(UC_SAVED_RIP, 16)
	mov	F_RFLAGS(16), %rax
	mov	%rax, N(UC_SAVED_RFLAGS, 16)
	mov	F_RSP(16), %rax
	mov	%rax, N(UC_SAVED_RSP, 16)
	xor	%ecx, %ecx
uintr_notify_window: /* what is drained is in RCX until it is in UIRR */
	mov	N(UC_PD, 16), %rax
	lock andb $0xfe, (%rax)
	xchg	%rcx, 8(%rax)
	or	%rcx, N(UC_UIRR, 16)
uintr_notify_drained:
	mov	F_RIP(16), %rax
	sub	$uintr_ud_begin, %rax
	cmp	$uintr_ud_end - uintr_ud_begin, %rax
	jb	uintr_inside
	cmpq	$0, N(UC_UIRR, 16)
	je	2f
	cmpb	$0, N(UC_UIF, 16)
	je	2f
	/*
	 * Delivery, first half: the frame is stored before any state changes, so that a fault
	 * on the user's stack, met between the two labels, leaves RSP, UIRR and UIF as they were.
	 */
	mov	F_RSP(16), %rcx
	and	N(UC_ADJUST_AND, 16), %rcx
	sub	N(UC_ADJUST_SUB, 16), %rcx
	and	$-16, %rcx
	sub	$32, %rcx
	mov	F_RSP(16), %rax
	.globl	uintr_push_direct_begin, uintr_push_direct_end
uintr_push_direct_begin:
	mov	%rax, 24(%rcx)
	mov	F_RFLAGS(16), %rax
	mov	%rax, 16(%rcx)
	mov	F_RIP(16), %rax
	mov	%rax, 8(%rcx)
	bsr	N(UC_UIRR, 16), %rax
	mov	%rax, (%rcx)
uintr_push_direct_end:
	mov	%rax, N(UC_LOG_VECTOR, 16)
	mov	%rcx, N(UC_LOG_RSP, 16)
	COMMIT	16
	REFRAME	16
2:	pop	%rcx
	pop	%rax
	movl	$0, GVMM_APIC_EOI
	jmp	uintr_notify_iret

uintr_inside:
	/*
	 * The #UD microcode was interrupted: it looks at UIRR itself before it leaves.
	 * Past its look, up to its IRETQ, make it look again.
	 */
	mov	F_RIP(16), %rax
	sub	$uintr_ud_check, %rax
	cmp	$uintr_ud_iret - uintr_ud_check, %rax
	ja	2b
	movq	$uintr_ud_check, N(UC_SAVED_RIP, 16)
	movq	$uintr_ud_check, F_RIP(16)
	jmp	2b
uintr_notify_iret:
	iretq

uintr_nested:
	cmpq	$uintr_notify_drained, F_RIP(0)
	jae	1f
	or	%rcx, N(UC_UIRR, 0)
1:	cmpq	$0, N(UC_LOG_RSP, 0)
	je	2f
	COMMIT	0
2:	REFRAME	0
	pushq	N(UC_SAVED_RAX, 0)
	pushq	N(UC_SAVED_RCX, 8)
	xor	%ecx, %ecx
	jmp	uintr_notify_window

	.globl	uintr_notify_end
uintr_notify_end:

/* ---- invalid opcode ---- */

	.macro SAVE
	push	%rax
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rbp
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	.endm

	.macro RESTORE
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rbp
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rax
	.endm

	.macro EMULATE function
	mov	%rsp, %rdi
	lea	U(0, 120), %rsi
	cld
	call	\function
	.endm

	.globl	uintr_ud_begin
uintr_ud_begin:

	.globl	uintr_ud_direct
uintr_ud_direct:
	SAVE
	EMULATE uintr_emulate
	test	%eax, %eax
	RESTORE
	jnz	uintr_reflect
uintr_ud_check:
	cmpb	$0, U(UC_UIF, 0)
	je	uintr_ud_iret
	cmpq	$0, U(UC_UIRR, 0)
	jne	1f
uintr_ud_iret:
	iretq
1:	SAVE
	EMULATE uintr_deliver
	test	%eax, %eax
	RESTORE
	jz	uintr_ud_check
uintr_reflect:
	int3
	.globl	uintr_reflected
uintr_reflected: /* the kernel finds this RIP, and the context above RSP */
	ud2

	/*
	 * UIRET is met once an interrupt, so it is done here, in 28 instructions instead of
	 * some 130. A fault between fast_begin and fast_end changes nothing: the kernel
	 * resumes at uintr_ud_slow with RAX, RCX and RDX as saved.
	 */
	.globl	uintr_ud_resident, uintr_ud_fast_begin, uintr_ud_fast_end, uintr_ud_slow
uintr_ud_resident:
	push	%rax
	push	%rcx
	push	%rdx
	mov	F_RIP(24), %rax
uintr_ud_fast_begin:
	cmpl	$0xec010ff3, (%rax)
	jne	4f
	cmpb	$0, U(UC_CONTROL, 24)
	je	4f
	mov	F_RSP(24), %rcx
	cmp	U(UC_USER_LIMIT, 24), %rcx
	ja	4f
	mov	(%rcx), %rax
	mov	16(%rcx), %rdx
	mov	8(%rcx), %ecx
uintr_ud_fast_end:
	cmp	U(UC_USER_LIMIT, 24), %rax
	ja	4f
	and	$UIRET_FLAGS, %ecx
	andl	$~UIRET_FLAGS, F_RFLAGS(24)
	or	%ecx, F_RFLAGS(24)
	mov	%rax, F_RIP(24)
	mov	%rdx, F_RSP(24)
	movb	$1, U(UC_UIF, 24)
	pop	%rdx
	pop	%rcx
	pop	%rax
	cmpq	$0, U(UC_UIRR, 0)
	jne	3f
	iretq
4:	pop	%rdx
	pop	%rcx
	pop	%rax
uintr_ud_slow:
	SAVE
	EMULATE uintr_emulate
	test	%eax, %eax
	RESTORE
	jnz	2f
	cmpb	$0, U(UC_UIF, 0)
	je	1f
	cmpq	$0, U(UC_UIRR, 0)
	jne	3f
1:	iretq
3:	SAVE
	EMULATE uintr_deliver
	test	%eax, %eax
	RESTORE
	jz	1b
2:	pushq	U(UC_FAULT_ERROR, 0)
	pushq	U(UC_FAULT_VECTOR, 8)
	jmp	uintr_raise

/* The C half of the microcode follows, in .microcode.ud, up to uintr_ud_end (link.ld). */
