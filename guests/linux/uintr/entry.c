// SPDX-License-Identifier: GPL-2.0
/*
 * The numbers 471-479. They lie past the end of the system call table, where do_syscall_64()
 * stores -ENOSYS into pt_regs::ax by itself and calls nothing. That one instruction becomes a jump
 * to uintr_entry, which runs our call or stores the same -ENOSYS, and jumps back behind it. Other
 * system calls pass no instruction more; seccomp, ptrace, audit and restarts see the number as it
 * is, since all of theirs happens before and after.
 *
 * The jump is written as jump labels are (text_poke_bp), and the original put back at unload.
 */
#include <linux/memory.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <asm/insn.h>
#include <asm/ptrace.h>
#include <asm/text-patching.h>

#include "uintr.h"

#define STORE_SIZE 8	/* movq $-ENOSYS, offsetof(ax)(%reg) */

static void (*poke)(void *addr, const void *opcode, size_t len, const void *emulate);
static struct mutex *text_lock;
static u8 *site, original[JMP32_INSN_SIZE], jump[JMP32_INSN_SIZE];

extern u8 uintr_entry[], uintr_entry_back[];	/* entry_64.S */
asmlinkage void uintr_entry_call(void);

/* From uintr_entry, in place of the store. */
asmlinkage __visible void uintr_entry_call(void)
{
	struct pt_regs *regs = task_pt_regs(current);
	int number = regs->orig_ax; /* as do_syscall_64() has it */

	regs->ax = -ENOSYS;
	if (number < NR_uintr_register_handler || number > NR_uintr_ipi_fd || !try_module_get(THIS_MODULE))
		return;
	regs->ax = uintr_call(number, regs);
	module_put(THIS_MODULE);
}

/* The store, which must be the only one of its kind in do_syscall_64(). */
static u8 *find_store(void)
{
	int (*size_of)(unsigned long, unsigned long *, unsigned long *) = uintr_symbol("kallsyms_lookup_size_offset");
	u8 *code = uintr_symbol("do_syscall_64"), *found = NULL;
	const s32 enosys = -ENOSYS;
	unsigned long size = 0, offset, i;

	if (!code || !size_of || !size_of((unsigned long)code, &size, &offset))
		return NULL;
	for (i = 0; i + STORE_SIZE <= size; i++) {
		u8 *c = code + i;

		if ((c[0] & 0xfe) != 0x48 || c[1] != 0xc7 || (c[2] & 0xf8) != 0x40 || (c[2] & 7) == 4 ||
		    c[3] != offsetof(struct pt_regs, ax) || memcmp(c + 4, &enosys, sizeof(enosys)))
			continue;
		if (found)
			return NULL;
		found = c;
	}
	return found;
}

static void write_jump(u8 *insn, const u8 *at, const u8 *to)
{
	s32 distance = to - (at + JMP32_INSN_SIZE);

	insn[0] = JMP32_INSN_OPCODE;
	memcpy(insn + 1, &distance, sizeof(distance));
}

int uintr_entry_init(void)
{
	void *(*poke_quiet)(void *, const void *, size_t) = uintr_symbol("text_poke");
	u8 back[JMP32_INSN_SIZE];

	poke = uintr_symbol("text_poke_bp");
	text_lock = uintr_symbol("text_mutex");
	site = find_store();
	if (!poke || !poke_quiet || !text_lock || !site) {
		pr_err("this kernel's do_syscall_64() is not of a known form\n");
		return -ENODEV;
	}
	memcpy(original, site, sizeof(original));
	write_jump(jump, site, uintr_entry);
	write_jump(back, uintr_entry_back, site + STORE_SIZE);
	mutex_lock(text_lock);
	poke_quiet(uintr_entry_back, back, sizeof(back));
	poke(site, jump, sizeof(jump), NULL);
	mutex_unlock(text_lock);
	return 0;
}

/* No call of ours is under way, or the module would be in use; one may still stand in uintr_entry. */
void uintr_entry_exit(void)
{
	mutex_lock(text_lock);
	poke(site, original, sizeof(original), jump);
	mutex_unlock(text_lock);
	synchronize_rcu_tasks();
}
