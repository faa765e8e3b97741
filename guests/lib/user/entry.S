/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where user interrupts enter (docs/uintr.md §1.8): RSP is 16-byte aligned, at vector, RIP, RFLAGS and RSP of
 * what was interrupted; the kernel left its red zone alone. Handlers are C functions, so whatever
 * a call may change is saved, and UIRET goes back.
 */
	.text

	.macro SAVE
	endbr64
	.cfi_def_cfa %rsp, 0
	.cfi_offset %rip, 8
	.cfi_offset %rsp, 24
	pushq	%rbp
	.cfi_def_cfa_offset 8
	.cfi_offset %rbp, -8
	movq	%rsp, %rbp
	.cfi_def_cfa_register %rbp
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11		# ten pushes: aligned as before
	cld
	.endm

	.macro RESTORE
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rax
	popq	%rbp
	.cfi_def_cfa %rsp, 0
	addq	$8, %rsp	# the vector
	.cfi_def_cfa %rsp, -8
	uiret
	.endm

	.globl	uintr_entry_general
	.hidden	uintr_entry_general
	.type	uintr_entry_general, @function
uintr_entry_general:
	.cfi_startproc simple
	.cfi_signal_frame
	SAVE
	movq	8(%rbp), %rdi
	call	uintr_dispatch
	RESTORE
	.cfi_endproc
	.size	uintr_entry_general, . - uintr_entry_general

	.globl	uintr_entry
	.hidden	uintr_entry
	.type	uintr_entry, @function
uintr_entry:
	.cfi_startproc simple
	.cfi_signal_frame
	SAVE
	pushq	%rbx		# RSP before the area, over the call
	.cfi_offset %rbx, -88
	movq	%rsp, %rbx
	subq	uintr_xsave_size(%rip), %rsp
	andq	$-64, %rsp
	movl	uintr_xsave_mask(%rip), %eax
	xorl	%edx, %edx
	testl	%eax, %eax
	jz	1f
	# XSAVE writes XSTATE_BV only; XRSTOR wants the rest of the header zero.
	movq	%rdx, 512(%rsp)
	movq	%rdx, 520(%rsp)
	movq	%rdx, 528(%rsp)
	movq	%rdx, 536(%rsp)
	movq	%rdx, 544(%rsp)
	movq	%rdx, 552(%rsp)
	movq	%rdx, 560(%rsp)
	movq	%rdx, 568(%rsp)
	xsave64	(%rsp)
	jmp	2f
1:	fxsave64 (%rsp)
2:	fninit			# a handler begins with x87 empty, and all exceptions masked
	ldmxcsr	mxcsr(%rip)
	movq	8(%rbp), %rdi
	call	uintr_dispatch
	movl	uintr_xsave_mask(%rip), %eax
	xorl	%edx, %edx
	testl	%eax, %eax
	jz	3f
	xrstor64 (%rsp)
	jmp	4f
3:	fxrstor64 (%rsp)
4:	movq	%rbx, %rsp
	popq	%rbx
	RESTORE
	.cfi_endproc
	.size	uintr_entry, . - uintr_entry

	.section .rodata
	.align	4
mxcsr:	.long	0x1f80

	.section .note.GNU-stack, "", @progbits
