/* SPDX-License-Identifier: Apache-2.0 */
/* Entry of the program, its way into the kernel, and the handler entry of user interrupts. */
#include "../../lib/abi.h"
#define COMMAND_LINE_SIZE 1024
	.section .header, "a"
	.quad	program, user_stack_top, user_program_info, user_command_line, COMMAND_LINE_SIZE

	.text
program:
	mov	%rdi, program_info
	call	main
	mov	%eax, %edi
	xor	%eax, %eax /* SYS_EXIT */
	int3

	/* system_call(number, a, b, c) */
	.globl	system_call
system_call:
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	int3
	ret

	/*
	 * RSP: vector, RIP, RFLAGS, RSP (uintr.md §1.8). Calls on_user_interrupt(vector, TSC),
	 * which is built with general registers only.
	 */
	.globl	user_interrupt_entry
user_interrupt_entry:
	push	%rax
	push	%rdx
	rdtsc
	shl	$32, %rdx
	or	%rdx, %rax
	push	%rcx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%rbp
	mov	%rax, %rsi
	mov	80(%rsp), %rdi
	mov	%rsp, %rbp
	and	$-16, %rsp
	cld
	call	on_user_interrupt
	mov	%rbp, %rsp
	pop	%rbp
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rcx
	pop	%rdx
	cmpb	$0, handler_return
	jne	1f
	pop	%rax
	add	$8, %rsp
	.byte	0xf3, 0x0f, 0x01, 0xec /* uiret */
1:	cmpb	$2, handler_return
	je	2f
	pop	%rax
	add	$8, %rsp
	jmp	*fast_uiret
2:	mov	$8, %eax /* SYS_RETURN */
	int3

	/* run_on_cpu: SYS_THREAD's entry; RDI is the CPU. */
	.globl	thread_entry
thread_entry:
	call	thread_main
	ud2

	.bss
	.globl	user_stack_top, user_command_line, user_program_info, handler_return, fast_uiret, program_info
	.align	4096
	.skip	65536
user_stack_top:
user_command_line:
	.skip	COMMAND_LINE_SIZE
user_program_info:
	.skip	128
fast_uiret:
	.skip	8
program_info:
	.skip	8
handler_return: /* 0 UIRET, 1 fast, 2 through the kernel */
	.skip	1
