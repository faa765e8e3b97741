/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmarks run: a table of 32-bit offsets, the loops of the loops image, and loops of the privileged
 * architecture. At the start RCX iterations, RDI a page-aligned buffer with 2 MiB of zeros behind its first, RSP a
 * stack, CPL 0. Each ends by HLT at CPL 0.
 */
	.code64
	.globl	_start
_start:
	.irp	name, alu, call, table, words, random, memory, branch, vector
	.long	loop_\name - _start
	.endr
	.long	syscalls - _start, traps - _start, interrupts - _start, user_interrupts - _start

#define FLAT
#include "../../../guests/bare/user/loop.S"

/* Behind RDI. */
#define IDT    0x100000
#define GDT    0x101000
#define TSS    0x102000
#define STACK0 0x104000
#define STACK3 0x106000
#define UPID   0x107000
#define UITT   0x108000

#define TRAP      0x80
#define INTERRUPT 0x40
#define UINV      0xec

	.macro	write_msr msr
	mov	$\msr, %ecx
	mov	%rax, %rdx
	shr	$32, %rdx
	wrmsr
	.endm

	/* gate vector, type and DPL, handler: R8 is the IDT */
	.macro	gate vector, kind, handler
	lea	\handler(%rip), %rax
	mov	%ax, 16*\vector(%r8)
	movl	$\kind << 8, 16*\vector + 4(%r8)
	movw	$8, 16*\vector + 2(%r8)
	shr	$16, %rax
	mov	%ax, 16*\vector + 6(%r8)
	shr	$16, %rax
	mov	%rax, 16*\vector + 8(%r8)
	.endm

/* set_up makes tables, the APIC and user interrupts ready; R12 is the count from here on. */
set_up:
	mov	%rcx, %r12
	lea	IDT(%rdi), %r8
	gate	13, 0x8e, stop
	gate	TRAP, 0xee, trap
	gate	INTERRUPT, 0x8e, interrupt
	lea	GDT(%rdi), %r9
	movabs	$0x00af9b000000ffff, %rax /* 08 code */
	mov	%rax, 0x08(%r9)
	movabs	$0x00cf93000000ffff, %rax /* 10 data */
	mov	%rax, 0x10(%r9)
	movabs	$0x00cff3000000ffff, %rax /* 18 the user's data */
	mov	%rax, 0x18(%r9)
	movabs	$0x00affb000000ffff, %rax /* 20 and code */
	mov	%rax, 0x20(%r9)
	lea	TSS(%rdi), %rax /* 28 TSS, below 16 MiB */
	shl	$16, %rax
	movabs	$0x0000890000000067, %rdx
	or	%rdx, %rax
	mov	%rax, 0x28(%r9)
	lea	STACK0(%rdi), %rax
	mov	%rax, TSS+4(%rdi)
	movw	$0xfff, -16(%rsp)
	mov	%r8, -14(%rsp)
	lidt	-16(%rsp)
	movw	$0x37, -16(%rsp)
	mov	%r9, -14(%rsp)
	lgdt	-16(%rsp)
	mov	$0x28, %eax
	ltr	%ax
	mov	$0xfee00d00, %eax /* x2APIC */
	write_msr 0x1b
	mov	$0x1ff, %eax
	write_msr 0x80f
	mov	$0x501, %eax /* LMA is read-only: SCE, LME */
	write_msr 0xc0000080
	movabs	$0x0010000800000000, %rax
	write_msr 0xc0000081
	lea	system_call(%rip), %rax
	write_msr 0xc0000082
	mov	%cr4, %rax
	bts	$25, %rax /* UINTR */
	mov	%rax, %cr4
	movl	$UINV << 16, UPID(%rdi)
	movl	$1, UITT(%rdi) /* valid, user vector 0 */
	lea	UPID(%rdi), %rax
	mov	%rax, UITT+8(%rdi)
	write_msr 0x989
	lea	UITT+1(%rdi), %rax
	write_msr 0x98a
	movabs	$UINV << 32, %rax
	write_msr 0x988
	lea	user_handler(%rip), %rax
	write_msr 0x986
	mov	$128, %eax
	write_msr 0x987
	ret

/* to_user goes on at RAX with CPL 3. */
to_user:
	push	$0x1b
	lea	STACK3(%rdi), %rdx
	push	%rdx
	push	$0x202
	push	$0x23
	push	%rax
	iretq

stop:	hlt
system_call:
	sysretq
trap:
	iretq
interrupt:
	push	%rax
	push	%rcx
	push	%rdx
	xor	%eax, %eax
	write_msr 0x80b /* EOI */
	pop	%rdx
	pop	%rcx
	pop	%rax
	iretq
user_handler:
	add	$8, %rsp
	.byte	0xf3, 0x0f, 0x01, 0xec /* uiret */

syscalls: /* SYSCALL, SYSRET */
	call	set_up
	lea	1f(%rip), %rax
	jmp	to_user
1:	syscall
	dec	%r12
	jnz	1b
	hlt
traps: /* INT n, IRET */
	call	set_up
	lea	1f(%rip), %rax
	jmp	to_user
1:	int	$TRAP
	dec	%r12
	jnz	1b
	hlt
interrupts: /* an interrupt to itself, EOI, IRET */
	call	set_up
	sti
	mov	$INTERRUPT, %eax
	xor	%edx, %edx
	mov	$0x83f, %ecx
1:	wrmsr
	dec	%r12
	jnz	1b
	cli
	hlt
user_interrupts: /* SENDUIPI to itself, UIRET */
	call	set_up
	lea	1f(%rip), %rax
	jmp	to_user
1:	.byte	0xf3, 0x0f, 0x01, 0xef /* stui */
	xor	%eax, %eax
2:	.byte	0xf3, 0x0f, 0xc7, 0xf0 /* senduipi %rax */
	dec	%r12
	jnz	2b
	hlt
