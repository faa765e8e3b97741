/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the PVH entry (32-bit, flat, no paging) and from a start-up IPI (real mode)
 * to long mode. The page tables are made by the assembler: where CPL 0 is
 * interpreted a loop that fills them would cost milliseconds.
 */
#include "kernel.h"

#define PHYS(x) ((x) - KBASE)
#define P   0x1
#define W   0x2
#define USR 0x4
#define NC  0x10 /* not cached */
#define BIG 0x80

	.section .note.pvh, "a", @note
	.align	4
	.long	4, 4, 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	PHYS(pvh_entry)
	.align	4
	.long	5, 4, GVMM_NOTE_TYPE
	.asciz	"gvmm"
	.align	4
	.long	GVMM_NOTE_LIGHT

	.section .pages, "aw"
	.align	4096
	.globl	boot_pml4, kernel_pt, apic_pt, doorbell_pt, window_pt
boot_pml4:
	.quad	PHYS(pdpt_low) + P + W + USR
	.fill	510, 8, 0
	.quad	PHYS(pdpt_high) + P + W + USR
pdpt_low:
	.quad	PHYS(pd_user) + P + W + USR
	.quad	PHYS(pd_window) + P + W + USR /* USER_WINDOW */
	.fill	510, 8, 0
pdpt_high: /* the last 2 GiB: physical 0-1 GiB, then 3-4 GiB */
	.fill	510, 8, 0
	.quad	PHYS(pd_kernel) + P + W + USR
	.quad	PHYS(pd_mmio) + P + W + USR
pd_user: /* the first 2 MiB are the kernel's, for the way in; USER_BASE to USER_END are the user's */
	.quad	0 + P + W + BIG
	.quad	0
	.set	a, USER_BASE
	.rept	(USER_END - USER_BASE) >> 21
	.quad	a + P + W + USR + BIG
	.set	a, a + 0x200000
	.endr
	.fill	512 - (USER_END >> 21), 8, 0
pd_window:
	.quad	PHYS(window_pt) + P + W + USR
	.fill	511, 8, 0
window_pt:
	.fill	512, 8, 0
pd_kernel:
	.quad	PHYS(kernel_pt) + P + W + USR
	.set	a, 0x200000
	.rept	511
	.quad	a + P + W + BIG
	.set	a, a + 0x200000
	.endr
kernel_pt: /* small pages: the microcode's change owner with the way */
	.set	a, 0
	.rept	512
	.quad	a + P + W
	.set	a, a + 0x1000
	.endr
pd_mmio:
	.set	a, 0xc0000000
	.rept	512
	.if a == 0xfea00000
	.quad	PHYS(doorbell_pt) + P + W + USR
	.elseif a == 0xfee00000
	.quad	PHYS(apic_pt) + P + W + USR
	.else
	.quad	a + P + W + NC + BIG
	.endif
	.set	a, a + 0x200000
	.endr
doorbell_pt:
	.set	a, 0xfea00000
	.rept	512
	.quad	a + P + W + NC
	.set	a, a + 0x1000
	.endr
apic_pt:
	.set	a, 0xfee00000
	.rept	512
	.quad	a + P + W + NC
	.set	a, a + 0x1000
	.endr

	.data
	.align	16
	.globl	gdt
gdt:	/* selectors as Linux has them: some hosts expect these at CPL 3 */
	.quad	0
	.quad	0x00cf9b000000ffff /* 08 code32, for the way in */
	.quad	0x00af9b000000ffff /* 10 kernel code */
	.quad	0x00cf93000000ffff /* 18 kernel data */
	.quad	0x00cffb000000ffff /* 20 user code32 */
	.quad	0x00cff3000000ffff /* 28 user data */
	.quad	0x00affb000000ffff /* 30 user code */
	.quad	0
	.fill	2 * MAX_CPUS, 8, 0 /* 40 TSS of CPU 0, ... */
gdt_end:
	.word	0, 0, 0
gdtr:	.word	gdt_end - gdt - 1
	.quad	gdt
gdtr_low:
	.word	gdt_end - gdt - 1
	.long	PHYS(gdt)

	.section .boot, "ax"
	.code32
	.globl	pvh_entry
pvh_entry:
	mov	%ebx, %esi /* struct hvm_start_info */
	lgdt	PHYS(gdtr_low)
	xor	%edi, %edi /* CPU 0 */
to_long_mode:
	mov	$0x620, %eax /* PAE, OSFXSR, OSXMMEXCPT */
	mov	%eax, %cr4
	mov	$PHYS(boot_pml4), %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx /* EFER */
	xor	%edx, %edx
	mov	$0x100, %eax /* LME */
	wrmsr
	mov	$0x80010033, %eax /* PG WP NE ET MP PE */
	mov	%eax, %cr0
	ljmp	$0x10, $PHYS(long_mode)
	.code64
long_mode:
	mov	$high, %rax
	jmp	*%rax
high:
	mov	$0x18, %eax
	mov	%eax, %ss
	mov	%eax, %ds
	mov	%eax, %es
	lgdt	gdtr(%rip)
	mov	%rdi, %rax
	shl	$CPU_SHIFT, %rax
	lea	cpus + CPU_STACK_TOP(%rax), %rsp
	mov	%esi, %esi
	jmp	kernel_main

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
	ljmpl	$8, $PHYS(2f)
trampoline_cpu:
	.long	0
1:	.word	gdt_end - gdt - 1
	.long	PHYS(gdt)
trampoline_end:
	.code32
2:	mov	$0x18, %eax
	mov	%eax, %ds
	mov	%eax, %ss
	jmp	to_long_mode
