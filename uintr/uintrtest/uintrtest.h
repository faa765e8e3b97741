/* Code generated from layout.go by go generate. DO NOT EDIT.
 *
 * Records between the user-interrupt case table and a guest program: a ut_bases from the guest, a ut_case for
 * each case to it, a ut_result for each from it. Little-endian; reserved bytes are 0. The package documentation
 * of uintrtest says what a case is.
 */
#ifndef UINTRTEST_H
#define UINTRTEST_H

#include <stddef.h>
#include <stdint.h>

enum {
	UT_OP_SENDUIPI = 0,
	UT_OP_TESTUI = 1,
	UT_OP_CLUI = 2,
	UT_OP_STUI = 3,
	UT_OP_UIRET = 4,
	UT_OP_NOTIFY = 5,
	UT_OPS = 6,
	UT_FLAG_NO_GUEST = 1,
	UT_FLAG_LOOPBACK = 2,
	UT_FLAG_PLACE_FRAME = 4,
	UT_FLAG_PRIVILEGED = 8,
};

struct ut_state {
	/*   0 */ uint64_t uirr;
	/*   8 */ uint64_t uif; /* 0 or 1 */
	/*  16 */ uint64_t handler;
	/*  24 */ uint64_t stackadjust; /* bit 0: load mode */
	/*  32 */ uint64_t upidaddr;
	/*  40 */ uint64_t uittaddr; /* bit 0: SENDUIPI enable */
	/*  48 */ uint32_t uinv;
	/*  52 */ uint32_t uittsize; /* highest valid index */
};
_Static_assert(offsetof(struct ut_state, uirr) == 0, "ut_state.uirr");
_Static_assert(offsetof(struct ut_state, uif) == 8, "ut_state.uif");
_Static_assert(offsetof(struct ut_state, handler) == 16, "ut_state.handler");
_Static_assert(offsetof(struct ut_state, stackadjust) == 24, "ut_state.stackadjust");
_Static_assert(offsetof(struct ut_state, upidaddr) == 32, "ut_state.upidaddr");
_Static_assert(offsetof(struct ut_state, uittaddr) == 40, "ut_state.uittaddr");
_Static_assert(offsetof(struct ut_state, uinv) == 48, "ut_state.uinv");
_Static_assert(offsetof(struct ut_state, uittsize) == 52, "ut_state.uittsize");
_Static_assert(sizeof(struct ut_state) == 56, "ut_state");

struct ut_case {
	/*   0 */ uint32_t op; /* UT_OP_* */
	/*   4 */ uint32_t vector; /* NOTIFY */
	/*   8 */ uint32_t flags; /* UT_FLAG_* */
	/*  12 */ uint8_t reserved12[4];
	/*  16 */ uint64_t operand; /* SENDUIPI */
	/*  24 */ struct ut_state before;
	/*  80 */ uint64_t upid[2][2]; /* {control, PIR}, 64 bytes apart in memory */
	/* 112 */ uint64_t uitt[4][2];
	/* 176 */ uint64_t rflags; /* at the operation */
	/* 184 */ uint64_t rsp; /* at the operation */
	/* 192 */ uint64_t frame[3]; /* RIP, RFLAGS, RSP for UT_FLAG_PLACE_FRAME */
	/* 216 */ uint8_t reserved216[40];
};
_Static_assert(offsetof(struct ut_case, op) == 0, "ut_case.op");
_Static_assert(offsetof(struct ut_case, vector) == 4, "ut_case.vector");
_Static_assert(offsetof(struct ut_case, flags) == 8, "ut_case.flags");
_Static_assert(offsetof(struct ut_case, operand) == 16, "ut_case.operand");
_Static_assert(offsetof(struct ut_case, before) == 24, "ut_case.before");
_Static_assert(offsetof(struct ut_case, upid) == 80, "ut_case.upid");
_Static_assert(offsetof(struct ut_case, uitt) == 112, "ut_case.uitt");
_Static_assert(offsetof(struct ut_case, rflags) == 176, "ut_case.rflags");
_Static_assert(offsetof(struct ut_case, rsp) == 184, "ut_case.rsp");
_Static_assert(offsetof(struct ut_case, frame) == 192, "ut_case.frame");
_Static_assert(sizeof(struct ut_case) == 256, "ut_case");

struct ut_result {
	/*   0 */ uint32_t done; /* 1: the record is complete */
	/*   4 */ uint32_t delivered;
	/*   8 */ struct ut_state after;
	/*  64 */ uint64_t upid[2][2];
	/*  96 */ uint32_t fault_vector; /* 0: none */
	/* 100 */ uint32_t fault_error;
	/* 104 */ uint64_t fault_address; /* CR2 of a #PF */
	/* 112 */ uint32_t ipi_sent;
	/* 116 */ uint32_t ipi_vector;
	/* 120 */ uint32_t ipi_ndst; /* as stored in the UPID */
	/* 124 */ uint32_t identified; /* a vector was taken as a notification */
	/* 128 */ uint64_t frame[4]; /* delivered: the quadwords at rsp */
	/* 160 */ uint64_t rip; /* handler, faulting instruction, or after the operation */
	/* 168 */ uint64_t rsp; /* there */
	/* 176 */ uint64_t rflags; /* there */
	/* 184 */ uint8_t reserved184[8];
};
_Static_assert(offsetof(struct ut_result, done) == 0, "ut_result.done");
_Static_assert(offsetof(struct ut_result, delivered) == 4, "ut_result.delivered");
_Static_assert(offsetof(struct ut_result, after) == 8, "ut_result.after");
_Static_assert(offsetof(struct ut_result, upid) == 64, "ut_result.upid");
_Static_assert(offsetof(struct ut_result, fault_vector) == 96, "ut_result.fault_vector");
_Static_assert(offsetof(struct ut_result, fault_error) == 100, "ut_result.fault_error");
_Static_assert(offsetof(struct ut_result, fault_address) == 104, "ut_result.fault_address");
_Static_assert(offsetof(struct ut_result, ipi_sent) == 112, "ut_result.ipi_sent");
_Static_assert(offsetof(struct ut_result, ipi_vector) == 116, "ut_result.ipi_vector");
_Static_assert(offsetof(struct ut_result, ipi_ndst) == 120, "ut_result.ipi_ndst");
_Static_assert(offsetof(struct ut_result, identified) == 124, "ut_result.identified");
_Static_assert(offsetof(struct ut_result, frame) == 128, "ut_result.frame");
_Static_assert(offsetof(struct ut_result, rip) == 160, "ut_result.rip");
_Static_assert(offsetof(struct ut_result, rsp) == 168, "ut_result.rsp");
_Static_assert(offsetof(struct ut_result, rflags) == 176, "ut_result.rflags");
_Static_assert(sizeof(struct ut_result) == 192, "ut_result");

struct ut_bases {
	/*   0 */ uint64_t upid_array; /* 64-byte aligned; supervisor, writable */
	/*   8 */ uint64_t uitt_array; /* 16-byte aligned; supervisor, writable */
	/*  16 */ uint64_t handler; /* user code */
	/*  24 */ uint64_t stack_top; /* page aligned; two user pages below it, none around them */
	/*  32 */ uint64_t unmapped; /* page aligned; this page and the next not present */
	/*  40 */ uint8_t reserved40[8];
	/*  48 */ uint64_t op[UT_OPS]; /* the instruction of each operation */
	/*  96 */ uint64_t after[UT_OPS]; /* what follows it */
	/* 144 */ uint8_t reserved144[16];
};
_Static_assert(offsetof(struct ut_bases, upid_array) == 0, "ut_bases.upid_array");
_Static_assert(offsetof(struct ut_bases, uitt_array) == 8, "ut_bases.uitt_array");
_Static_assert(offsetof(struct ut_bases, handler) == 16, "ut_bases.handler");
_Static_assert(offsetof(struct ut_bases, stack_top) == 24, "ut_bases.stack_top");
_Static_assert(offsetof(struct ut_bases, unmapped) == 32, "ut_bases.unmapped");
_Static_assert(offsetof(struct ut_bases, op) == 48, "ut_bases.op");
_Static_assert(offsetof(struct ut_bases, after) == 96, "ut_bases.after");
_Static_assert(sizeof(struct ut_bases) == 160, "ut_bases");

#endif
