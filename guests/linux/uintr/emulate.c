// SPDX-License-Identifier: GPL-2.0
/*
 * What the processor has no microcode for: #UD of the five instructions. In the resident way that
 * is all of them; in the native way a thread's first SENDUIPI, until when TT is not set.
 */
#include <linux/kdebug.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <asm/trapnr.h>

#include "uintr.h"

enum outcome { PASS, DONE, AGAIN, GENERAL_PROTECTION };

/* The caller's table becomes SENDUIPI's, if its process has one. */
static bool take_table(struct uintr_thread **t)
{
	struct uintr_uitt *uitt;

	if (*t && (*t)->uitt)
		return true;
	uitt = uintr_uitt_find(current->mm);
	if (!uitt)
		return false;
	*t = uintr_attach(GFP_ATOMIC);
	if (!*t) {
		uintr_uitt_put(uitt);
		return false;
	}
	(*t)->uitt = uitt;
	if (uintr_native) {
		uintr_cpu_save(*t);
		uintr_cpu_load(*t);
	}
	return true;
}

static enum outcome senduipi(struct uintr_thread *t, u64 index)
{
	struct uintr_upid *u;
	u8 vector;

	if (!take_table(&t))
		return PASS;
	u = uintr_uitt_target(t->uitt, index, &vector);
	if (!u)
		return GENERAL_PROTECTION;
	do {
		if (!(READ_ONCE(u->hw.control) & BIT_ULL(UPID_BLOCKED))) {
			uintr_post(u, vector);
			break;
		}
	} while (!uintr_send_blocked(u, vector));
	uintr_upid_put(u);
	return DONE;
}

static enum outcome uiret(struct uintr_thread *t, struct pt_regs *regs)
{
	struct uintr_frame frame;
	const size_t size = sizeof(frame) - sizeof(frame.vector); /* the handler popped the vector */

	if (!t)
		return PASS;
	if (copy_from_user_nofault(&frame.rip, (void __user *)regs->sp, size)) {
		uintr_fault_in(t, regs->sp, size, false);
		return AGAIN;
	}
	if (frame.rip >= TASK_SIZE_MAX)
		return GENERAL_PROTECTION;
	regs->ip = frame.rip;
	regs->sp = frame.rsp;
	regs->flags = (regs->flags & ~UIRET_FLAGS) | (frame.rflags & UIRET_FLAGS);
	t->uif = true;
	return DONE;
}

static void testui(const struct uintr_thread *t, struct pt_regs *regs)
{
	regs->flags &= ~(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF | X86_EFLAGS_SF | X86_EFLAGS_OF);
	if (t && t->uif)
		regs->flags |= X86_EFLAGS_CF;
}

static enum outcome execute(const struct uintr_inst *inst, struct uintr_thread *t, struct pt_regs *regs)
{
	enum outcome o = DONE;

	if (inst->op == UINTR_SENDUIPI) {
		if (uintr_native) /* the processor's, once it has a table */
			return !(t && t->uitt) && take_table(&t) ? AGAIN : PASS;
		o = senduipi(t, uintr_operand(regs, inst));
	} else if (uintr_native) {
		return PASS;
	} else if (inst->op == UINTR_UIRET) {
		return uiret(t, regs);
	} else if (inst->op == UINTR_TESTUI) {
		testui(t, regs);
	} else if (t) {
		t->uif = inst->op == UINTR_STUI;
	}
	if (o == DONE)
		regs->ip += inst->length;
	return o;
}

/* Interrupts are off: #UD's gate is an interrupt gate. */
static int on_die(struct notifier_block *nb, unsigned long what, void *data)
{
	struct die_args *args = data;
	struct pt_regs *regs = args->regs;
	struct uintr_thread *t;
	struct uintr_inst inst;

	if (what != DIE_TRAP || args->trapnr != X86_TRAP_UD || !user_mode(regs) || !user_64bit_mode(regs))
		return NOTIFY_DONE;
	if (!uintr_decode(regs, &inst))
		return NOTIFY_DONE;
	switch (execute(&inst, uintr_current(), regs)) {
	case PASS:
		return NOTIFY_DONE;
	case GENERAL_PROTECTION:
		current->thread.trap_nr = X86_TRAP_GP;
		current->thread.error_code = 0;
		force_sig(SIGSEGV);
		break;
	case DONE:
		t = uintr_current();
		if (t && t->upid && !uintr_native)
			uintr_deliver(t, regs);
		break;
	case AGAIN:
		break;
	}
	return NOTIFY_STOP;
}

static struct notifier_block die_notifier = { .notifier_call = on_die };

int uintr_emulate_init(void)
{
	return register_die_notifier(&die_notifier);
}

void uintr_emulate_exit(void)
{
	unregister_die_notifier(&die_notifier);
	synchronize_rcu();
}
