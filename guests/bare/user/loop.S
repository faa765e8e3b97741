/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops of a few instructions for benchmarks: RCX iterations, a multiple of 64; RDI a page-aligned buffer of 512 KiB;
 * a stack. A loop returns a checksum in RAX and keeps no register but RSP. Position-independent: with FLAT, each ends
 * by HLT instead. Beside each stands how many instructions one iteration has.
 */
	.macro	finish result
	mov	\result, %rax
#ifdef FLAT
	hlt
#else
	ret
#endif
	.endm

	.macro	loop name
	.globl	loop_\name
	.align	64
loop_\name:
	.endm

	.code64
	.text
	loop	alu /* 13: arithmetic, loads, stores, a branch that is taken every other time */
	xor	%eax, %eax
	xor	%r8d, %r8d
	mov	$1, %ebx
1:	mov	(%rdi,%rax,8), %rdx
	add	%rbx, %rdx
	lea	3(%rbx,%rdx,2), %rbx
	xor	%rdx, %rbx
	mov	%rbx, (%rdi,%rax,8)
	add	%rbx, %r8
	add	$7, %eax
	and	$511, %eax
	test	$1, %al
	jz	2f
	shr	$1, %rbx
	xor	$5, %r8
2:	sub	$1, %rcx
	jnz	1b
	finish	%r8

	loop	call /* 11: calls two deep, blocks of three instructions */
	xor	%eax, %eax
	xor	%ebx, %ebx
1:	call	3f
	dec	%rcx
	jnz	1b
	finish	%rax
3:	push	%rbx
	call	4f
	pop	%rbx
	ret
4:	inc	%rax
	cmp	%rax, %rcx
	je	5f
	ret
5:	ret

	loop	table /* 7: CRC by a table; each load waits for the one before */
	xor	%eax, %eax
1:	movzbl	%al, %edx
	shr	$8, %rax
	xor	(%rdi,%rdx,8), %rax
	movzbl	%cl, %ebx
	xor	%rbx, %rax
	sub	$1, %rcx
	jnz	1b
	finish	%rax

	loop	words /* 388 for 64: addition of 64-word numbers; carry over loads and the loop's edge */
	lea	0x1000(%rdi), %rsi
	xor	%r8d, %r8d
0:	mov	$64, %edx
	xor	%eax, %eax
1:	mov	(%rdi,%rax,8), %rbx
	adc	(%rsi,%rax,8), %rbx
	mov	%rbx, 0x2000(%rdi,%rax,8)
	lea	1(%rax), %rax
	dec	%edx
	jnz	1b
	sub	$64, %rcx
	ja	0b
	finish	%rbx

	loop	random /* 8: loads from 128 pages in no order */
	mov	$12345, %eax
	xor	%ebx, %ebx
1:	imul	$1103515245, %eax, %eax
	add	$12345, %eax
	mov	%eax, %edx
	shr	$8, %edx
	and	$0x7fff8, %edx
	add	(%rdi,%rdx), %rbx
	sub	$1, %rcx
	jnz	1b
	finish	%rbx

	loop	memory /* 14: loads and stores of every width, in order */
	xor	%eax, %eax
	xor	%r8d, %r8d
1:	mov	(%rdi,%rax), %rdx
	movzwl	8(%rdi,%rax), %ebx
	movsbq	10(%rdi,%rax), %rsi
	mov	12(%rdi,%rax), %r9d
	add	%rdx, %r8
	mov	%r8, 0x8000(%rdi,%rax)
	mov	%bx, 0x8008(%rdi,%rax)
	mov	%sil, 0x800a(%rdi,%rax)
	add	%r9d, 0x800c(%rdi,%rax)
	add	%rsi, %r8
	add	$16, %eax
	and	$0x7ff0, %eax
	dec	%rcx
	jnz	1b
	finish	%r8

	loop	branch /* 11 to 14: branches that depend on data */
	mov	$0x9e3779b97f4a7c15, %r9
	mov	%r9, %rax
	xor	%r8d, %r8d
1:	add	%r9, %rax
	bt	$20, %rax
	jc	2f
	inc	%r8
2:	test	$0x40000000, %eax
	jz	3f
	xor	%rax, %r8
3:	cmp	%eax, %r8d
	jb	4f
	add	$3, %r8
4:	bt	$40, %rax
	adc	$0, %r8
	dec	%rcx
	jnz	1b
	finish	%r8

	loop	vector /* 9: SSE2, packed and scalar, where sums are rounded as they mostly are */
	pxor	%xmm0, %xmm0
	pxor	%xmm5, %xmm5
	movdqa	(%rdi), %xmm1
	mov	$1, %eax
	cvtsi2sd %eax, %xmm3
	mov	$3, %eax
	cvtsi2sd %eax, %xmm4
	divsd	%xmm4, %xmm3
1:	movdqa	(%rdi), %xmm2
	paddd	%xmm1, %xmm2
	pxor	%xmm2, %xmm0
	pshufd	$0x4e, %xmm0, %xmm1
	cvtsi2sd %ecx, %xmm4
	mulsd	%xmm3, %xmm4
	addsd	%xmm4, %xmm5
	sub	$1, %rcx
	jnz	1b
	movq	%xmm0, %rbx
	movq	%xmm5, %rdx
	xor	%rdx, %rbx
	finish	%rbx

#ifndef FLAT
	/* run_loop(loop, iterations, buffer): the checksum */
	.globl	run_loop
run_loop:
	push	%rbx
	push	%rbp
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rdi, %rax
	mov	%rsi, %rcx
	mov	%rdx, %rdi
	call	*%rax
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%rbp
	pop	%rbx
	ret
#endif
