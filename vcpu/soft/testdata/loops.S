/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops that the benchmarks run: position-independent, RCX iterations, RDI a page-aligned
 * buffer of 512 KiB, RSP a stack. A table of 32-bit offsets comes first; each ends by HLT.
 */
	.code64
	.globl	_start
_start:
	.long	alu - _start, calls - _start, table - _start, words - _start, random - _start, vector - _start
alu:	/* arithmetic, loads, stores, a branch that is taken every other time */
	xor	%eax, %eax
	mov	$1, %ebx
1:	mov	(%rdi,%rax,8), %rdx
	add	%rbx, %rdx
	lea	3(%rbx,%rdx,2), %rbx
	xor	%rdx, %rbx
	mov	%rbx, (%rdi,%rax,8)
	add	$7, %eax
	and	$511, %eax
	test	$1, %al
	jz	2f
	shr	$1, %rbx
2:	sub	$1, %rcx
	jnz	1b
	hlt
calls:	/* blocks of three instructions */
	xor	%eax, %eax
1:	call	3f
	dec	%rcx
	jnz	1b
	hlt
3:	push	%rbx
	call	4f
	pop	%rbx
	ret
4:	inc	%rax
	cmp	%rax, %rcx
	je	5f
	ret
5:	ret
table:	/* CRC by a table: each load waits for the one before */
	xor	%eax, %eax
1:	movzbl	%al, %edx
	shr	$8, %rax
	xor	(%rdi,%rdx,8), %rax
	movzbl	%cl, %ebx
	xor	%rbx, %rax
	sub	$1, %rcx
	jnz	1b
	hlt
words:	/* addition of 64-word numbers: carry over loads and the loop's edge */
	lea	0x1000(%rdi), %rsi
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
	hlt
random:	/* loads from 128 pages in no order */
	mov	$12345, %eax
1:	imul	$1103515245, %eax, %eax
	add	$12345, %eax
	mov	%eax, %edx
	shr	$8, %edx
	and	$0x7fff8, %edx
	add	(%rdi,%rdx), %rbx
	sub	$1, %rcx
	jnz	1b
	hlt
vector:	/* SSE2, packed and scalar */
	pxor	%xmm0, %xmm0
	movdqa	(%rdi), %xmm1
	mov	$3, %eax
	cvtsi2sd %eax, %xmm3
1:	movdqa	(%rdi), %xmm2
	paddd	%xmm1, %xmm2
	pxor	%xmm2, %xmm0
	pshufd	$0x4e, %xmm0, %xmm1
	cvtsi2sd %ecx, %xmm4
	mulsd	%xmm3, %xmm4
	addsd	%xmm4, %xmm5
	sub	$1, %rcx
	jnz	1b
	hlt
