/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways into long mode, from the PVH entry and from a start-up IPI, the entries
 * of all vectors, and the ways to CPL 3 and to other modes and back.
 */
#include "system.h"

	.section .note.pvh, "a", @note
	.align	4
	.long	4, 4, 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	pvh_entry
	.section .note.gvmm, "a", @note
	.align	4
	.long	5, 4, GVMM_NOTE_TYPE
	.asciz	"gvmm"
	.align	4
	.long	0

	.section .pages, "aw"
	.align	4096
	.globl	boot_pml4
boot_pml4:
	.quad	pdpt + 7
	.fill	511, 8, 0
pdpt:
	.set	i, 0
	.rept	4
	.quad	pds + 4096 * i + 7
	.set	i, i + 1
	.endr
	.fill	508, 8, 0
pds:	/* 4 GiB, of which 4 to 6 MiB are the user's, and from 3 GiB on not cached */
	.set	a, 0
	.rept	2048
	.if a == 0x400000
	.quad	a + 0x87
	.elseif a == USER_ALIAS
	.quad	0x400000 + 0x83
	.elseif a >= 0xc0000000
	.quad	a + 0x93
	.else
	.quad	a + 0x83
	.endif
	.set	a, a + 0x200000
	.endr

	.data
	.align	16
	.globl	gdt
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff /* KCS32 */
	.quad	0x00af9b000000ffff /* KCS */
	.quad	0x00cf93000000ffff /* KDS */
	.quad	0x00cffb000000ffff /* UCS32 */
	.quad	0x00cff3000000ffff /* UDS */
	.quad	0x00affb000000ffff /* UCS */
	.quad	0x00cff3000000ffff /* UDS64 */
	.fill	8, 8, 0            /* SPARE */
	.fill	2 * MAX_CPUS, 8, 0 /* TSS */
gdt_end:
	.align	4
	.word	0
gdtr:	.word	gdt_end - gdt - 1
	.quad	gdt

	.text
	.code32
	.globl	pvh_entry
pvh_entry:
	cld
	mov	%ebx, %esi
	lgdt	gdtr
	xor	%edi, %edi /* CPU 0 */
to_long_mode:
	mov	$0x620, %eax /* PAE, OSFXSR, OSXMMEXCPT */
	mov	%eax, %cr4
	mov	$boot_pml4, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx /* EFER */
	xor	%edx, %edx
	mov	$0x901, %eax /* NXE, LME, SCE */
	wrmsr
	mov	$0x80010033, %eax /* PG WP NE ET MP PE */
	mov	%eax, %cr0
	ljmp	$KCS, $1f
	.code64
1:	mov	$KDS, %eax
	mov	%eax, %ss
	mov	%eax, %ds
	mov	%eax, %es
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs
	lldt	%ax
	imul	$STACK_SIZE, %rdi, %rax
	lea	stacks + STACK_SIZE(%rax), %rsp
	mov	%esi, %esi
	call	system_main /* CPU, start information */
	ud2

	/* Copied to TRAMPOLINE; a start-up IPI enters it in real mode with CS = TRAMPOLINE / 16. */
	.code16
	.globl	trampoline, trampoline_end, trampoline_cpu
trampoline:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	(1f - trampoline)
	mov	(trampoline_cpu - trampoline), %edi
	xor	%esi, %esi
	mov	$1, %eax
	mov	%eax, %cr0
	ljmpl	$KCS32, $2f
trampoline_cpu:
	.long	0
1:	.word	gdt_end - gdt - 1
	.long	gdt
trampoline_end:
	.code32
2:	mov	$KDS, %eax
	mov	%eax, %ds
	mov	%eax, %ss
	jmp	to_long_mode

	.code64
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
trap_common: /* struct frame is in the order of the pushes */
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
	mov	%rsp, %rdi
	mov	%rsp, %rbx
	cld
	and	$-16, %rsp
	call	trap
	mov	%rbx, %rsp
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
	add	$16, %rsp
	iretq

	.macro	begin_try
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	pushfq
	pushq	%gs:CPU_RECOVER
	mov	%rsp, %gs:CPU_RECOVER
	.endm

	/* try(f, argument) */
	.globl	try, try_recover
try:
	begin_try
	mov	%rdi, %rax
	mov	%rsi, %rdi
	sub	$8, %rsp
	call	*%rax
	add	$8, %rsp
	xor	%eax, %eax
	jmp	1f
try_recover: /* EAX: the trap was no return */
	mov	$KDS, %ecx
	mov	%ecx, %ds
	mov	%ecx, %es
1:	popq	%gs:CPU_RECOVER
	popfq
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	/* user(f, argument), user_at(f, argument, cs, rflags, rsp) */
	.globl	user, user_at, user_return
user:
	mov	$UCS, %edx
	mov	$2, %ecx
	mov	$user_stack_top - 8, %r8
user_at:
	begin_try
	mov	%gs:CPU_SELF, %rax
	mov	%rsp, CPU_TSS + 4(%rax) /* RSP0: events stack below what is saved here */
	pushq	$UDS
	push	%r8
	push	%rcx
	push	%rdx
	push	%rdi
	mov	$USER_ALIAS - 0x400000 + user_stack_top - 8, %eax
	movq	$user_return, (%rax)
	mov	%rsi, %rdi
	mov	$UDS, %eax
	mov	%eax, %ds
	mov	%eax, %es
	iretq

	/* mark(uint64_t[8]), jump(the same) */
	.globl	mark, jump
mark:
	mov	(%rsp), %rax
	mov	%rax, (%rdi)
	lea	8(%rsp), %rax
	mov	%rax, 8(%rdi)
	mov	%rbx, 16(%rdi)
	mov	%rbp, 24(%rdi)
	mov	%r12, 32(%rdi)
	mov	%r13, 40(%rdi)
	mov	%r14, 48(%rdi)
	mov	%r15, 56(%rdi)
	xor	%eax, %eax
	ret
jump:
	mov	$KDS, %eax
	mov	%eax, %ss
	mov	%eax, %ds
	mov	%eax, %es
	mov	8(%rdi), %rsp
	mov	16(%rdi), %rbx
	mov	24(%rdi), %rbp
	mov	32(%rdi), %r12
	mov	40(%rdi), %r13
	mov	48(%rdi), %r14
	mov	56(%rdi), %r15
	mov	$1, %eax
	jmp	*(%rdi)

	/* modes(cr3, cr4): paging is off while CR4 changes. Stack and code are below 4 GiB. */
	.globl	modes
modes:
	push	%rbx
	pushfq
	cli
	mov	%gs:CPU_SELF, %r8
	pushq	$KCS32
	pushq	$1f
	lretq
	.code32
1:	mov	%cr0, %ebx
	mov	%ebx, %eax
	and	$0x7fffffff, %eax
	mov	%eax, %cr0
	mov	%esi, %cr4
	mov	%edi, %cr3
	mov	%ebx, %cr0
	ljmp	$KCS, $2f
	.code64
2:	/* the bases of segments stay; R8 may not */
	popfq
	pop	%rbx
	ret

	/* in_32(f): f is 32-bit code that ends in LRET. */
	.globl	in_32
in_32:
	begin_try
	mov	%edi, %eax
	push	%rax
	pushq	$KCS32
	pushq	$1f
	lretq
	.code32
1:	pop	%eax
	pop	%edx
	push	%cs
	call	*%eax
	ljmp	$KCS, $2f
	.code64
2:	xor	%eax, %eax
	popq	%gs:CPU_RECOVER
	popfq
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret

	.section .user.text, "ax"
user_return:
	int3

	.section .user.data, "aw"
	.globl	user_stack_top, user_stack
	.align	4096
user_stack:
	.fill	16384, 1, 0
user_stack_top:

	.bss
	.align	4096
stacks:	.fill	MAX_CPUS * STACK_SIZE, 1, 0
