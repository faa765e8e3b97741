/* SPDX-License-Identifier: GPL-2.0 */
/* Where do_syscall_64() jumps to. Its registers and flags are kept, whatever its compiler held in them. */
#include <linux/linkage.h>

	.text
SYM_CODE_START(uintr_entry)
	pushfq
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	call	uintr_entry_call
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rax
	popfq
SYM_INNER_LABEL(uintr_entry_back, SYM_L_GLOBAL)
	int3			/* a jump behind the store, written at load */
	int3
	int3
	int3
	int3
SYM_CODE_END(uintr_entry)
