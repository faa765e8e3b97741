/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One case of the table: enter() loads flags, registers and RSP and goes to an operation. The case
 * ends behind it, in the handler or in the fault handler; all of them leave what they found in ended_*
 * and return to enter()'s caller.
 */
#include "../../lib/abi.h"
#include "../kernel/kernel.h"

#define STACK_PAGE 256 /* of the program's device window, behind all devices: two pages of scratch stack, then none */

	.macro EACH_REGISTER instruction
	\instruction rax, 0
	\instruction rbx, 8
	\instruction rcx, 16
	\instruction rdx, 24
	\instruction rsi, 32
	\instruction rdi, 40
	\instruction rbp, 48
	\instruction r8, 56
	\instruction r9, 64
	\instruction r10, 72
	\instruction r11, 80
	\instruction r12, 88
	\instruction r13, 96
	\instruction r14, 104
	\instruction r15, 112
	.endm
	.macro LOAD register, at
	mov	case_registers + \at, %\register
	.endm
	.macro STORE register, at
	mov	%\register, ended_registers + \at
	.endm

	.text
	/* enter(): runs case_* to its end. */
	.globl	enter
enter:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, runner_stack
	pushq	case_rflags
	popfq
	EACH_REGISTER LOAD
	mov	case_rsp, %rsp
	jmp	*case_entry

	/* No instruction up to the PUSHF changes a flag, and none uses the case's stack. */
	.macro END at
	movq	$\at, ended_rip
	jmp	ended
	.endm
ended:
	mov	%rsp, ended_rsp
	EACH_REGISTER STORE
	mov	runner_stack, %rsp
	pushfq
	popq	ended_rflags
leave:
	cld
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	.globl	case_fault
case_fault: /* the kernel's report has RIP, RSP and RFLAGS */
	EACH_REGISTER STORE
	mov	runner_stack, %rsp
	movl	$1, ended_by_fault
	jmp	leave

	.balign	16
	.globl	case_handler
case_handler:
	movl	$1, ended_by_delivery
	END	case_handler

op_senduipi:
	.byte	0xf3, 0x0f, 0xc7, 0xf0 /* senduipi %rax */
after_senduipi:
	END	after_senduipi
op_testui:
	.byte	0xf3, 0x0f, 0x01, 0xed
after_testui:
	END	after_testui
op_clui:
	.byte	0xf3, 0x0f, 0x01, 0xee
after_clui:
	END	after_clui
op_stui:
	.byte	0xf3, 0x0f, 0x01, 0xef
after_stui:
	END	after_stui
op_uiret:
	.byte	0xf3, 0x0f, 0x01, 0xec
	ud2
after_uiret:
	END	after_uiret
after_notify:
	END	after_notify

	/* RAX is SYS_IPI, RDI the vector, RSI where it arrives. */
	.globl	raise_interrupt
raise_interrupt:
	int3
	ud2

	/* The soak: RCX rounds of a loop that changes neither flags nor another register. */
	.globl	soak_body, soak_handler
soak_body:
	loop	soak_body
	END	soak_body
soak_handler:
	push	%rax
	mov	8(%rsp), %rax
	incq	soak_counts(, %rax, 8)
	pop	%rax
	add	$8, %rsp
	cmpq	$0, soak_uiret
	jne	1f
	.byte	0xf3, 0x0f, 0x01, 0xec
1:	jmp	*soak_uiret

	.data
	.balign	16
	.globl	bases
bases: /* struct ut_bases */
	.quad	upids, uitt, case_handler
	.quad	USER_WINDOW + (STACK_PAGE + 2) * GVMM_PAGE
	.quad	USER_WINDOW + (STACK_PAGE + 8) * GVMM_PAGE
	.quad	0
	.quad	op_senduipi, op_testui, op_clui, op_stui, op_uiret, after_notify
	.quad	after_senduipi, after_testui, after_clui, after_stui, after_uiret, after_notify
	.quad	0, 0

	/* What the kernel has, for SYS_PEEK and SYS_POKE. */
	.globl	kernel_window, kernel_interrupts
kernel_window: /* page-table entries of the scratch stack */
	.quad	window_pt + 8 * STACK_PAGE
kernel_interrupts:
	.quad	interrupts_taken

	.bss
	.balign	8
	.globl	case_registers, case_rflags, case_rsp, case_entry
case_registers:
	.skip	120
case_rflags:
	.skip	8
case_rsp:
	.skip	8
case_entry:
	.skip	8
	.globl	ended_registers, ended_rflags, ended_rsp, ended_rip, ended_by_delivery, ended_by_fault
ended_registers:
	.skip	120
ended_rflags:
	.skip	8
ended_rsp:
	.skip	8
ended_rip:
	.skip	8
ended_by_delivery:
	.skip	4
ended_by_fault:
	.skip	4
runner_stack:
	.skip	8
