// gvmm-exit STATUS: ends the machine through the debug exit port, or returns 1 where the
// machine has none or the process may not use it. No C library: it is in the initial RAM
// disk too, and a few instructions long.
	.intel_syntax noprefix
	.globl	_start
_start:
	mov	rsi, [rsp + 16]		// argv[1]
	xor	ebx, ebx
	test	rsi, rsi
	jz	2f
1:	movzx	eax, byte ptr [rsi]
	inc	rsi
	sub	eax, '0'
	cmp	eax, 9
	ja	2f
	imul	ebx, ebx, 10
	add	ebx, eax
	jmp	1b
2:	mov	edi, 0xf4		// ioperm(0xf4, 1, 1)
	mov	esi, 1
	mov	edx, 1
	mov	eax, 173
	syscall
	test	eax, eax
	jnz	3f
	mov	edx, 0xf4
	mov	eax, ebx
	out	dx, al
3:	mov	edi, 1			// exit(1)
	mov	eax, 60
	syscall
