/* SPDX-License-Identifier: Apache-2.0 */
/* Entries for every vector, and the ways out to CPL 3. */
#include "kernel.h"

	.text
	.globl	trap_entries
	.align	16
trap_entries:
	.set	v, 0
	.rept	256
	.align	16
	.if !(v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21 || v == 29 || v == 30)
	pushq	$0
	.endif
	pushq	$v
	jmp	trap_common
	.set	v, v + 1
	.endr

	.globl	uintr_raise
uintr_raise:
	orl	$RAISED, (%rsp)
trap_common:
	xchg	%rax, (%rsp) /* vector; struct trap_frame has it above the error code's place */
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
	mov	%rsp, %rdi
	mov	%rax, %rsi
	cld
	and	$-16, %rsp
	call	trap
	mov	%rax, %rsp
	.globl	trap_return
trap_return: /* RSP points to a struct trap_frame */
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
	add	$8, %rsp
	iretq

	/* try_rdmsr(msr, to), try_wrmsr(msr, value) */
	.globl	try_rdmsr, try_wrmsr, msr_read, msr_write, msr_refused
try_rdmsr:
	mov	%edi, %ecx
msr_read:
	rdmsr
	mov	%eax, (%rsi)
	mov	%edx, 4(%rsi)
	xor	%eax, %eax
	ret
try_wrmsr:
	mov	%edi, %ecx
	mov	%esi, %eax
	mov	%rsi, %rdx
	shr	$32, %rdx
msr_write:
	wrmsr
	xor	%eax, %eax
	ret
msr_refused:
	mov	$-22, %rax /* SYS_EINVAL */
	ret

	/* enter_user(frame): leave for CPL 3 and never come back. */
	.globl	enter_user
enter_user:
	mov	%rdi, %rsp
	jmp	trap_return

	/* wait_for_interrupt(): one interrupt, taken at CPL 0. */
	.globl	wait_for_interrupt
wait_for_interrupt:
	sti
	hlt
	cli
	ret
