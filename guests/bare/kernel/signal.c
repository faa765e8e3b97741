// SPDX-License-Identifier: Apache-2.0
// What the kernel does to the program's context: signals (the control run), faults.
#include "kernel.h"

static void copy_frame(struct trap_frame *to, const struct trap_frame *from)
{
	uint64_t n = sizeof *to / 8;

	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

// signal_user calls the program's handler with the frame that a user interrupt has, once at a time.
void signal_user(struct cpu *c, struct trap_frame *f)
{
	// Neither the kernel nor the direct way's microcode is the program: it is called at the next chance.
	if (!c->pending_user || c->in_handler || !c->handler || !user_range(f->rip, 1))
		return;
	uint64_t rsp = ((f->rsp - 128) & ~15ull) - 32;
	if (!user_range(rsp, 32)) {
		fault_user(c, f, SS, 0);
		return;
	}
	copy_frame(&c->signal_context, f);
	uint64_t vector = 63 - __builtin_clzll(c->pending_user);
	uint64_t *frame = (uint64_t *)rsp;
	frame[0] = vector;
	frame[1] = f->rip;
	frame[2] = f->rflags;
	frame[3] = f->rsp;
	c->pending_user &= ~(1ull << vector);
	c->in_handler = 1;
	f->rsp = rsp;
	f->rip = c->handler;
}

void signal_return(struct cpu *c, struct trap_frame *f)
{
	if (!c->in_handler)
		return;
	copy_frame(f, &c->signal_context);
	c->in_handler = 0;
	signal_user(c, f);
}

// fault_user hands a fault to the program, or ends the machine with status 128 + vector.
void fault_user(struct cpu *c, struct trap_frame *f, uint64_t vector, uint64_t cr2)
{
	struct fault *report = (struct fault *)c->fault_report;

	if (!c->fault_handler) {
		kernel_print("program: fault, status is 128 + its vector\n");
		kernel_exit(128 + vector);
	}
	report->vector = vector;
	report->error = f->error;
	report->address = cr2;
	report->rip = f->rip;
	report->rsp = f->rsp;
	report->rflags = f->rflags;
	f->rip = c->fault_handler;
	f->rsp = report->stack;
}

static int within(uint64_t rip, const char *begin, const char *end)
{
	return rip >= (uint64_t)begin && rip < (uint64_t)end;
}

struct hardware_frame { uint64_t rip, cs, rflags, rsp, ss; };

static void return_to(struct trap_frame *f, const struct hardware_frame *h)
{
	f->rip = h->rip;
	f->cs = h->cs;
	f->rflags = h->rflags;
	f->rsp = h->rsp;
	f->ss = h->ss;
}

// access_fault gives a fault that the microcode met the error code of its access (ACCESS_*), and a stack fault its vector.
static void access_fault(struct trap_frame *f, uint64_t *vector, uint64_t access)
{
	enum { WRITE = 2, USER = 4 };

	if (*vector == PF)
		f->error = (f->error & ~(uint64_t)USER) | (access == ACCESS_USER ? USER : access == ACCESS_UPID ? WRITE : 0);
	else if (*vector == GP && access == ACCESS_USER)
		*vector = SS;
}

// unwind_microcode turns a fault inside the microcode into the fault of the program that it worked for, and
// returns 0; or it sets the microcode on its slow path, and returns 1.
int unwind_microcode(struct cpu *c, struct trap_frame *f, uint64_t *vector, uint64_t *cr2)
{
	uint8_t *block = (uint8_t *)&c->block;
	uint64_t rip = f->rip;

	if (*vector == BP) { // uintr_reflected: the registers are the program's already
		*vector = c->block.fault_vector;
		*cr2 = c->block.fault_addr;
		f->error = c->block.fault_error;
		return_to(f, (const struct hardware_frame *)(block + UC_UD_TOP - 40));
	} else if (within(rip, uintr_ud_fast_begin, uintr_ud_fast_end)) {
		const uint64_t *saved = (const uint64_t *)(block + UC_UD_TOP - 64);

		f->rdx = saved[0];
		f->rcx = saved[1];
		f->rax = saved[2];
		f->rip = (uint64_t)uintr_ud_slow;
		f->rsp = (uint64_t)(saved + 3);
		return 1;
	} else if (within(rip, uintr_notify_begin, uintr_notify_end)) {
		const uint64_t *saved = (const uint64_t *)(block + UC_NOTIFY_TOP - 56);

		f->rcx = saved[0];
		f->rax = saved[1];
		return_to(f, (const struct hardware_frame *)(block + UC_NOTIFY_TOP - 40));
		int push = within(rip, uintr_push_direct_begin, uintr_push_direct_end);
		access_fault(f, vector, push ? ACCESS_USER : ACCESS_UPID);
		mmio_write32(MMIO(0xfee000b0), 0);
	} else if (within(rip, uintr_enter, uintr_enter_end)) {
		const uint64_t *saved = (const uint64_t *)(block + UC_FACE_TOP - 24);

		f->rcx = saved[0];
		f->rax = saved[1];
		f->rflags = (f->rflags & ~(uint64_t)UIRET_FLAGS) | (saved[2] & UIRET_FLAGS);
		f->rip = c->block.face_rip;
		f->rsp = c->block.face_rsp;
		access_fault(f, vector, ACCESS_USER);
	} else if (within(rip, uintr_ud_begin, uintr_ud_end)) {
		const struct uc_regs *r = (const struct uc_regs *)(block + UC_UD_TOP) - 1;
		const uint64_t *from = &r->r15;
		uint64_t *to = &f->r15;

		for (int i = 0; i < 15; i++)
			to[i] = from[i];
		return_to(f, (const struct hardware_frame *)&r->rip);
		access_fault(f, vector, c->block.access);
	}
	return 0;
}
