// SPDX-License-Identifier: GPL-2.0
/*
 * #GP of a SENDUIPI to a receiver that blocked with WAITING_SENDER (uintr.md §2.5). Nothing tells
 * of a #GP in user mode before it becomes a signal, but its handler asks fixup_umip_exception()
 * first, on every processor with UMIP, which is every one with user interrupts. Where that cannot be
 * probed, WAITING_SENDER acts as WAITING_RECEIVER.
 */
#include <linux/kprobes.h>
#include <asm/ptrace.h>

#include "uintr.h"

static bool hooked;

bool uintr_fault_hooked(void)
{
	return hooked || !uintr_native;
}

static bool send(struct pt_regs *user)
{
	struct uintr_thread *t = uintr_current();
	struct uintr_upid *u;
	struct uintr_inst inst;
	u8 vector;

	if (!t || !t->uitt || !user_64bit_mode(user) || !uintr_decode(user, &inst) || inst.op != UINTR_SENDUIPI)
		return false;
	u = uintr_uitt_target(t->uitt, uintr_operand(user, &inst), &vector);
	if (!u)
		return false;
	/* Blocked no longer: the instruction is executed again, without a fault. */
	if (uintr_send_blocked(u, vector))
		user->ip += inst.length;
	uintr_upid_put(u);
	return true;
}

/* In place of fixup_umip_exception(). */
static bool fixed(struct pt_regs *user)
{
	return true;
}

static int on_fixup(struct kprobe *probe, struct pt_regs *regs)
{
	if (!uintr_current() || !send((struct pt_regs *)regs->di))
		return 0;
	regs->ip = (unsigned long)fixed;
	return 1;
}

/* That there is one lets a probe at a function's entry change where it goes. */
static void after(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe probe = { .symbol_name = "fixup_umip_exception", .pre_handler = on_fixup, .post_handler = after };

int uintr_fault_init(void)
{
	if (!uintr_native)
		return 0;
	hooked = boot_cpu_has(X86_FEATURE_UMIP) && !register_kprobe(&probe);
	if (!hooked)
		pr_info("WAITING_SENDER acts as WAITING_RECEIVER: #GP cannot be seen\n");
	return 0;
}

void uintr_fault_exit(void)
{
	if (hooked)
		unregister_kprobe(&probe);
}
