/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest and gvmm agree on, for C and assembly alike: the discovery leaf,
 * the paravirtual MSRs and the per-CPU block in which the microcode of the
 * direct and resident ways keeps the architectural state.
 * The VMM's half is in vcpu/hw and vmm, whose tests read this file and compare.
 */
#ifndef GVMM_ABI_H
#define GVMM_ABI_H

/* CPUID leaves. At CPL 3 some hosts answer CPUID themselves: ask at CPL 0. */
#define GVMM_LEAF_SIGNATURE 0x40000100 /* EAX last leaf, EBX:ECX:EDX "gvmm uintr 1" */
#define GVMM_LEAF_UINTR     0x40000101 /* EAX way | flags, EBX doorbells, ECX CPUs, EDX IOMMU registers */
#define GVMM_SIGNATURE_EBX  0x6d6d7667
#define GVMM_SIGNATURE_ECX  0x6e697520
#define GVMM_SIGNATURE_EDX  0x31207274

#define GVMM_WAY_MASK       0xff
#define GVMM_WAY_NONE       0 /* no user interrupts */
#define GVMM_WAY_NATIVE     1 /* the instructions and MSRs simply exist */
#define GVMM_WAY_DIRECT     2 /* microcode at CPL 3 behind DPL-3 gates */
#define GVMM_WAY_RESIDENT   3 /* microcode at CPL 0 */
#define GVMM_FLAG_POSTED    0x100 /* the IOMMU takes user-posted entries */

/* The ELF note "gvmm" of an image made for this VMM. */
#define GVMM_NOTE_TYPE      1
#define GVMM_NOTE_LIGHT     1 /* needs little of its kernel: one that is interpreted suits it */

/* Paravirtual MSRs. */
#define GVMM_MSR_BLOCK      0x47564d00 /* physical address of this CPU's block | 1 */
#define GVMM_MSR_LATENCY    0x47564d01 /* physical address of a struct gvmm_latency_log */

/* Ports. */
#define GVMM_PORT_COM1      0x3f8
#define GVMM_PORT_EXIT      0xf4 /* a write ends the machine with that status */

/*
 * The block: two pages for each CPU. The first is the microcode's and, in the resident way,
 * the kernel's alone; 10-3f mirror MSRs. The second, the face, is in the program's reach in
 * both ways: what is there concerns that program only, and lets it be entered and left
 * without ring 0.
 */
#define UC_HANDLER      0x010
#define UC_STACKADJUST  0x018
#define UC_MISC         0x020 /* 31:0 UITTSZ, 39:32 UINV */
#define UC_PD           0x028
#define UC_TT           0x030
#define UC_CONTROL      0x038 /* bit 0 models CR4.UINTR */
#define UC_ADJUST_AND   0x040 /* new RSP = ((RSP & and) - sub) & ~15, kept by the VMM with STACKADJUST */
#define UC_ADJUST_SUB   0x048
#define UC_SAVED_RIP    0x050 /* direct only: the interrupted context, ... */
#define UC_SAVED_RFLAGS 0x058
#define UC_SAVED_RSP    0x060
#define UC_DOORBELLS    0x068 /* linear address of the doorbell window */
#define UC_CPUS         0x070 /* doorbells in it */
#define UC_SELF         0x078 /* linear address of this block */
#define UC_FAULT_VECTOR 0x080 /* what the emulated instruction raises */
#define UC_FAULT_ERROR  0x088
#define UC_FAULT_ADDR   0x090
#define UC_ACCESS       0x098 /* whose access is under way: ACCESS_* */
#define UC_USER_LIMIT   0x0a0 /* highest address of the user's half */
#define UC_SAVED_RAX    0x0a8 /* direct only: ... and its registers */
#define UC_SAVED_RCX    0x0b0
#define UC_LOG_VECTOR   0x0b8 /* direct only: a delivery under way, ... */
#define UC_LOG_RSP      0x0c0 /* ... if this is not 0 */
#define UC_UIRR         0x1000 /* the face */
#define UC_UIF          0x1008
#define UC_FACE_HANDLER 0x1010 /* copies that the VMM keeps: UIHANDLER, ... */
#define UC_FACE_AND     0x1018 /* ... UC_ADJUST_AND, ... */
#define UC_FACE_SUB     0x1020 /* ... UC_ADJUST_SUB */
#define UC_FACE_RIP     0x1028 /* resident only: the interrupted context */
#define UC_FACE_RSP     0x1030
#define UC_FACE_STACK   0x1038 /* linear address of UC_FACE_TOP */
#define UC_FACE_TOP     0x1100 /* stack on which delivery is prepared */
#define UC_NOTIFY_TOP   0x800 /* stack of the notification gate */
#define UC_UD_TOP       0x1000 /* stack of the invalid-opcode gate */

/* Accesses of the microcode: with whose privilege, and whether the instruction would write there. */
#define ACCESS_UITT 0 /* supervisor, reads */
#define ACCESS_USER 1 /* the program's own */
#define ACCESS_UPID 2 /* supervisor, locked: every fault is one of a write */

#define GVMM_PAGE 4096
#define GVMM_APIC_EOI 0xfffffffffee000b0 /* where the kernel maps the xAPIC's EOI register */

#ifndef __ASSEMBLER__
#include <stdint.h>

/* What the guest measures for the VMM: a ring of 2^n stamps, one a completion. */
struct gvmm_latency_log {
	uint32_t requester; /* requester id of the device */
	uint32_t queue;
	uint64_t entries;   /* power of two */
	uint64_t stamps;    /* physical address of uint64_t[entries]: TSC at the handler's entry */
	uint64_t handled;   /* completions handled */
	uint64_t interrupts; /* handler entries */
};

struct gvmm_cpu_block {
	uint64_t reserved[2], handler, stackadjust, misc, pd, tt, control;
	uint64_t adjust_and, adjust_sub;
	uint64_t saved_rip, saved_rflags, saved_rsp;
	uint64_t doorbells, cpus, self;
	uint64_t fault_vector, fault_error, fault_addr, access;
	uint64_t user_limit;
	uint64_t saved_rax, saved_rcx, log_vector, log_rsp;
	uint8_t rest[GVMM_PAGE - 25 * 8];
	uint64_t uirr, uif;
	uint64_t face_handler, face_and, face_sub, face_rip, face_rsp, face_stack;
	uint8_t face_rest[GVMM_PAGE - 8 * 8];
};
_Static_assert(sizeof(struct gvmm_cpu_block) == 2 * GVMM_PAGE, "two pages");
_Static_assert(__builtin_offsetof(struct gvmm_cpu_block, uirr) == UC_UIRR, "offsets");
_Static_assert(__builtin_offsetof(struct gvmm_cpu_block, face_stack) == UC_FACE_STACK, "offsets");
_Static_assert(__builtin_offsetof(struct gvmm_cpu_block, user_limit) == UC_USER_LIMIT, "offsets");
_Static_assert(__builtin_offsetof(struct gvmm_cpu_block, log_rsp) == UC_LOG_RSP, "offsets");
_Static_assert(__builtin_offsetof(struct gvmm_cpu_block, saved_rip) == UC_SAVED_RIP, "offsets");
#endif
#endif
