/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uint64_t interrupt(void (*entry)(void), const void *load, void *store, uint32_t mask)
 * fills all registers, the vector registers by XRSTOR of load, has entry called as delivery of vector 11 does,
 * and stores what there is afterwards. 0 if general registers, RSP, DF and the red zone are as they were.
 */
	.text
	.globl	interrupt
	.type	interrupt, @function
interrupt:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rdi, %r13
	movq	%rdx, %r14
	movl	%ecx, %r15d
	movl	%ecx, %eax
	xorl	%edx, %edx
	xrstor64 (%rsi)
	movq	%rsp, %r12
	movl	$1, %eax
	movl	$2, %ebx
	movl	$3, %ecx
	movl	$4, %edx
	movl	$5, %esi
	movl	$6, %edi
	movl	$7, %ebp
	movl	$8, %r8d
	movl	$9, %r9d
	movl	$10, %r10d
	std
	/* The red zone keeps a value; the frame is below it. */
	movq	$77, -16(%rsp)
	leaq	-128(%rsp), %rsp
	andq	$-16, %rsp
	pushq	%r12
	pushfq
	leaq	1f(%rip), %r11
	pushq	%r11
	pushq	$11
	movl	$11, %r11d
	jmpq	*%r13
1:	pushfq
	subq	$1, %rax
	subq	$2, %rbx
	subq	$3, %rcx
	subq	$4, %rdx
	subq	$5, %rsi
	subq	$6, %rdi
	subq	$7, %rbp
	subq	$8, %r8
	subq	$9, %r9
	subq	$10, %r10
	subq	$11, %r11
	orq	%rbx, %rax
	orq	%rcx, %rax
	orq	%rdx, %rax
	orq	%rsi, %rax
	orq	%rdi, %rax
	orq	%rbp, %rax
	orq	%r8, %rax
	orq	%r9, %rax
	orq	%r10, %rax
	orq	%r11, %rax
	popq	%rcx
	cld
	movq	-16(%r12), %rdx
	subq	$77, %rdx
	orq	%rdx, %rax
	andl	$0x400, %ecx
	xorl	$0x400, %ecx
	orq	%rcx, %rax
	movq	%rsp, %rcx
	subq	%r12, %rcx
	orq	%rcx, %rax
	movq	%rax, %rbx
	movl	%r15d, %eax
	xorl	%edx, %edx
	xsave64	(%r14)
	movq	%rbx, %rax
	fninit
	ldmxcsr	mxcsr(%rip)
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
	.size	interrupt, . - interrupt

	.section .rodata
	.align	4
mxcsr:	.long	0x1f80

	.section .note.GNU-stack, "", @progbits
