/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The multiboot entry, the entries of all vectors, and the ways to CPL 3, virtual-8086
 * mode, real mode and long mode and back.
 */
#include "legacy.h"

	.section .multiboot, "a"
	.align	4
	.long	0x1badb002, 2, -(0x1badb002 + 2)

	.section .note.gvmm, "a", @note
	.align	4
	.long	5, 4, GVMM_NOTE_TYPE
	.asciz	"gvmm"
	.align	4
	.long	0

	.data
	.align	16
	.globl	gdt
gdt:	.quad	0
	.quad	0x00cf9b000000ffff /* KCS */
	.quad	0x00cf93000000ffff /* KDS */
	.quad	0x00cffb000000ffff /* UCS */
	.quad	0x00cff3000000ffff /* UDS */
	.quad	0x00009b000000ffff | (LOW << 16) /* CODE16, at LOW */
	.quad	0x000093000000ffff /* DATA16 */
	.quad	0x00af9b000000ffff /* CODE64 */
	.fill	8, 8, 0            /* SPARE */
	.fill	3, 8, 0            /* TSS, TSS2, TSS3 */
gdt_end:
	.align	4
	.word	0
	.globl	gdtr
gdtr:	.word	gdt_end - gdt - 1
	.long	gdt
	.align	4
	.word	0
idtr:	.word	256 * 8 - 1
	.long	idt
	.align	4
	.word	0
	.globl	real_idtr
real_idtr:
	.word	0x3ff
	.long	0

	.text
	.code32
	.globl	multiboot_entry
multiboot_entry:
	cld
	lgdt	gdtr
	ljmp	$KCS, $1f
1:	mov	$KDS, %ecx
	mov	%ecx, %ds
	mov	%ecx, %es
	mov	%ecx, %ss
	xor	%ecx, %ecx
	mov	%ecx, %fs
	mov	%ecx, %gs
	mov	$stack_top, %esp
	push	%ebx
	push	%eax
	call	legacy_main
	ud2

	.globl	trap_entries
	.align	16
trap_entries:
	.set	v, 0
	.rept	256
	.align	16
	.if !(v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21 || v == 29 || v == 30)
	pushl	$0
	.endif
	pushl	$v
	jmp	trap_common
	.set	v, v + 1
	.endr
trap_common:
	pusha
	push	%ds
	push	%es
	mov	$KDS, %ecx
	mov	%ecx, %ds
	mov	%ecx, %es
	cld
	push	%esp
	call	trap
	pop	%eax
	pop	%es
	pop	%ds
	popa
	add	$8, %esp
	iret

	.macro	begin_try
	push	%ebx
	push	%ebp
	push	%esi
	push	%edi
	pushf
	pushl	recover
	mov	%esp, recover
	.endm

	/* try(f, argument) */
	.globl	try, try_recover, user, user_return, enter_v86
try:
	begin_try
	mov	28(%esp), %eax
	pushl	32(%esp)
	call	*%eax
	add	$4, %esp
	xor	%eax, %eax
	jmp	1f
try_recover: /* EAX: the trap was no return */
	mov	$KDS, %ecx
	mov	%ecx, %ds
	mov	%ecx, %es
	xor	%ecx, %ecx
	mov	%ecx, %fs
	mov	%ecx, %gs
1:	popl	recover
	popf
	pop	%edi
	pop	%esi
	pop	%ebp
	pop	%ebx
	ret

	/* user(f, argument) */
user:
	begin_try
	mov	28(%esp), %eax
	mov	32(%esp), %edx
	mov	%esp, tss + 4 /* ESP0 */
	mov	$user_stack_top - 8, %ebx
	movl	$user_return, (%ebx)
	mov	%edx, 4(%ebx)
	pushl	$UDS
	push	%ebx
	pushl	$2
	pushl	$UCS
	push	%eax
	mov	$UDS, %ecx
	mov	%ecx, %ds
	mov	%ecx, %es
	iret
user_return:
	int	$0x80

	/* enter_v86(ip, eflags) */
enter_v86:
	begin_try
	mov	28(%esp), %eax
	mov	32(%esp), %edx
	mov	%esp, tss + 4
	or	$0x20002, %edx
	pushl	$(LOW / 16) + 3 /* GS */
	pushl	$(LOW / 16) + 2 /* FS */
	pushl	$LOW / 16       /* DS */
	pushl	$(LOW / 16) + 1 /* ES */
	pushl	$LOW / 16       /* SS */
	pushl	$0xf00
	push	%edx
	pushl	$LOW / 16
	push	%eax
	iret

	/* mark(uint32_t[6]), jump(the same) */
	.globl	mark, jump
mark:
	mov	4(%esp), %eax
	mov	(%esp), %ecx
	mov	%ecx, (%eax)
	lea	4(%esp), %ecx
	mov	%ecx, 4(%eax)
	mov	%ebx, 8(%eax)
	mov	%ebp, 12(%eax)
	mov	%esi, 16(%eax)
	mov	%edi, 20(%eax)
	xor	%eax, %eax
	ret
jump:
	mov	4(%esp), %edx
	mov	$KDS, %ecx
	mov	%ecx, %ss
	mov	%ecx, %ds
	mov	%ecx, %es
	mov	4(%edx), %esp
	mov	8(%edx), %ebx
	mov	12(%edx), %ebp
	mov	16(%edx), %esi
	mov	20(%edx), %edi
	mov	$1, %eax
	jmp	*(%edx)

	/* real_mode(ip): by way of 16-bit segments. */
	.globl	real_mode
real_mode:
	push	%ebx
	push	%ebp
	push	%esi
	push	%edi
	pushf
	cli
	mov	24(%esp), %edx
	mov	%esp, saved_esp
	lidt	real_idtr
	ljmp	$CODE16, $to_real - low_begin
back_32:
	mov	$KDS, %ecx
	mov	%ecx, %ds
	mov	%ecx, %es
	mov	%ecx, %ss
	xor	%ecx, %ecx
	mov	%ecx, %fs
	mov	%ecx, %gs
	mov	saved_esp, %esp
	lidt	idtr
	popf
	pop	%edi
	pop	%esi
	pop	%ebp
	pop	%ebx
	ret

	/* long_mode(cr3, f) */
	.globl	long_mode
long_mode:
	push	%ebx
	push	%ebp
	push	%esi
	push	%edi
	pushf
	cli
	mov	24(%esp), %eax
	mov	28(%esp), %esi
	mov	%cr4, %ebx
	mov	%ebx, %ecx
	or	$0x20, %ecx
	mov	%ecx, %cr4
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000000, %eax
	mov	%eax, %cr0
	ljmp	$CODE64, $1f
	.code64
1:	mov	%esi, %esi
	call	*%rsi
	mov	%eax, %edi
	pushq	$KCS
	mov	$2f, %ecx
	push	%rcx
	lretq
	.code32
2:	mov	%cr0, %eax
	and	$0x7fffffff, %eax
	mov	%eax, %cr0
	mov	$0xc0000080, %ecx
	rdmsr
	and	$~0x100, %eax
	wrmsr
	mov	%ebx, %cr4
	mov	%edi, %eax
	popf
	pop	%edi
	pop	%esi
	pop	%ebp
	pop	%ebx
	ret

	.globl	reload_idt
reload_idt:
	lidt	idtr
	ret

	/* What is copied to LOW. */
	.data
	.globl	low_begin, low_end
	.align	16
low_begin:
	.code16
to_real:
	mov	$DATA16, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	%ax, %fs
	mov	%ax, %gs
	mov	%cr0, %eax
	and	$~1, %al
	mov	%eax, %cr0
	ljmp	$LOW / 16, $1f - low_begin
1:	mov	$LOW / 16, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$0xf00, %sp
	push	%cs
	push	$2f - low_begin
	push	%cs
	push	%dx
	lret
2:	cli
	mov	%eax, %ebp
	mov	%cr0, %ecx
	or	$1, %cl
	mov	%ecx, %cr0
	mov	%ebp, %eax
	ljmpl	$KCS, $back_32

	/* Real mode and virtual-8086 mode: sums, strings, INT. */
	.globl	low_sum, low_int, low_divide, low_undefined, low_unreal, low_v86, low_v86_int, low_v86_cli, low_v86_hlt, low_v86_flags, low_v86_limit, low_v86_iret
	.globl	low_step, low_wrap, low_flat, low_v86_out, low_v86_segments
low_sum:
	xor	%eax, %eax
	mov	$100, %cx
3:	add	%cx, %ax
	loop	3b
	mov	$0x1234, %bx
	mov	%bx, %es:0xe00
	add	%es:0xe00, %eax
	push	%eax
	pop	%edx
	mov	%edx, %eax
	lret
low_handler: /* INT 60H */
	add	$5, %ax
	push	%bp
	mov	%sp, %bp
	orw	$1, 6(%bp) /* CF in the image */
	pop	%bp
	iret
low_int:
	xor	%ax, %ax
	mov	%ax, %es
	movw	$low_handler - low_begin, %es:0x180
	movw	%cs, %es:0x182
	mov	$1, %eax
	clc
	sti
	int	$0x60
	jc	1f
	mov	$0xbad, %eax
1:	pushf
	pop	%bx
	test	$0x200, %bx /* IF came back */
	jnz	1f
	mov	$0xbad1, %eax
1:	lret
low_divide_handler:
	push	%bp
	mov	%sp, %bp
	addw	$2, 2(%bp) /* DIV CX */
	pop	%bp
	mov	$0x77, %eax
	iret
low_divide:
	xor	%ax, %ax
	mov	%ax, %es
	movw	$low_divide_handler - low_begin, %es:0
	movw	%cs, %es:2
	xor	%cx, %cx
	div	%cx
	lret
low_undefined:
	xor	%ax, %ax
	mov	%ax, %es
	movw	$low_divide_handler - low_begin, %es:24
	movw	%cs, %es:26
	ud2
	lret
low_step_handler:
	inc	%bx
	iret
low_step: /* TF in real mode */
	xor	%bx, %bx
	mov	%bx, %es
	movw	$low_step_handler - low_begin, %es:4
	movw	%cs, %es:6
	pushf
	pop	%ax
	or	$0x100, %ax
	push	%ax
	popf
	nop
	nop
	pushf
	pop	%ax
	and	$~0x100, %ax
	push	%ax
	popf
	movzx	%bx, %eax
	lret
low_gp_handler:
	push	%bp
	mov	%sp, %bp
	addw	$4, 2(%bp) /* MOV FFFFH */
	pop	%bp
	mov	$0x13, %eax
	iret
low_wrap: /* a word at FFFFH is past the limit */
	xor	%ax, %ax
	mov	%ax, %es
	movw	$low_gp_handler - low_begin, %es:13*4
	movw	%cs, %es:13*4+2
	mov	$0xffff, %di
	movw	%bx, 0xffff
	lret
low_flat: /* FS keeps the 4 GiB limit of protected mode */
	cli
	mov	%cr0, %eax
	lgdtl	%cs:low_gdtr - low_begin
	or	$1, %al
	mov	%eax, %cr0
	mov	$KDS, %bx
	mov	%bx, %fs
	and	$~1, %al
	mov	%eax, %cr0
	mov	$0x200000, %ebx
	addr32 movl $0x11335577, %fs:(%ebx)
	addr32 mov %fs:(%ebx), %eax
	lret
low_gdtr:
	.word	gdt_end - gdt - 1
	.long	gdt
low_v86:
	xor	%eax, %eax
	mov	$100, %cx
3:	add	%cx, %ax
	loop	3b
	mov	%ax, 0xe10
	mov	%es:0xe00, %bx /* 16 bytes higher */
	int	$0x80
low_v86_segments:
	mov	%cs, %ax
	mov	%ds, %bx
	mov	%es, %cx
	mov	%fs, %dx
	mov	%gs, %si
	mov	%ss, %di
	int	$0x80
low_v86_int:
	int	$0x81
	int	$0x80
low_v86_cli:
	cli
	int	$0x80
low_v86_hlt:
	hlt
low_v86_flags:
	pushf
	int	$0x80
low_v86_limit:
	movw	%bx, 0xffff
low_v86_out:
	out	%al, $0x80
	int	$0x80
low_v86_iret:
	pushf
	push	%cs
	push	$1f - low_begin
	iret
	hlt
1:	mov	$0x99, %eax
	int	$0x80
low_end:
	.code32

	.bss
	.align	4096
	.fill	16384, 1, 0
stack_top:
	.fill	8192, 1, 0
	.globl	user_stack_top, recover
user_stack_top:
recover:
	.long	0
saved_esp:
	.long	0
