// SPDX-License-Identifier: GPL-2.0
/* The encodings of the five instructions (uintr.md §1.6). */
#include <linux/uaccess.h>
#include <asm/insn.h>
#include <asm/ptrace.h>

#include "uintr.h"

/* Bytes of the instruction at RIP that are present: a page may end there. */
static int fetch(const struct pt_regs *regs, u8 *code)
{
	int n;

	for (n = MAX_INSN_SIZE; n > 0; n--)
		if (!copy_from_user_nofault(code, (void __user *)regs->ip, n))
			break;
	return n;
}

static bool plain_prefix(u8 b)
{
	switch (b) {
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x66: case 0x67:
		return true;
	}
	return false;
}

/* Whether 64-bit user code stands at one of them, without LOCK. */
bool uintr_decode(const struct pt_regs *regs, struct uintr_inst *inst)
{
	static const u8 simple[] = { [0xec - 0xec] = UINTR_UIRET, UINTR_TESTUI, UINTR_CLUI, UINTR_STUI };
	u8 code[MAX_INSN_SIZE], last = 0, rex = 0, modrm;
	int n = fetch(regs, code), i;

	for (i = 0; i < n && (plain_prefix(code[i]) || code[i] == 0xf2 || code[i] == 0xf3); i++)
		if (!plain_prefix(code[i]))
			last = code[i];
	if (last != 0xf3)
		return false;
	if (i < n && (code[i] & 0xf0) == 0x40)
		rex = code[i++];
	if (i + 3 > n || code[i] != 0x0f)
		return false;
	modrm = code[i + 2];
	inst->length = i + 3;
	if (code[i + 1] == 0xc7 && (modrm & 0xf8) == 0xf0) {
		inst->op = UINTR_SENDUIPI;
		inst->reg = (modrm & 7) | (rex & 1) << 3;
		return true;
	}
	if (code[i + 1] != 0x01 || modrm < 0xec || modrm > 0xef)
		return false;
	inst->op = simple[modrm - 0xec];
	return true;
}

/* SENDUIPI's. */
u64 uintr_operand(const struct pt_regs *regs, const struct uintr_inst *inst)
{
	static const u8 offsets[16] = {
#define AT(reg) offsetof(struct pt_regs, reg)
		AT(ax), AT(cx), AT(dx), AT(bx), AT(sp), AT(bp), AT(si), AT(di),
		AT(r8), AT(r9), AT(r10), AT(r11), AT(r12), AT(r13), AT(r14), AT(r15),
#undef AT
	};

	return regs_get_register((struct pt_regs *)regs, offsets[inst->reg]);
}
