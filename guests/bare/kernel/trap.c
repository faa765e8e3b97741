// SPDX-License-Identifier: Apache-2.0
#include "kernel.h"

#ifdef PRIVILEGED
uint64_t interrupts_taken; /* by this kernel, not by the microcode */
#endif

static void unexpected(struct trap_frame *f, uint64_t vector)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t values[3] = { vector, f->rip, f->error };

	kernel_print("kernel: unexpected trap, vector RIP error:");
	for (int i = 0; i < 3; i++) {
		outb(GVMM_PORT_COM1, ' ');
		for (int shift = 60; shift >= 0; shift -= 4)
			outb(GVMM_PORT_COM1, digits[values[i] >> shift & 15]);
	}
	kernel_print("\n");
	kernel_exit(127);
}

// trap serves one trap and returns the frame to leave by.
struct trap_frame *trap(struct trap_frame *f, uint64_t vector)
{
	struct cpu *c = this_cpu();
	uint64_t cr2 = 0;

	if (vector == BP && f->rip != (uint64_t)uintr_reflected) {
		syscall(c, f);
		return f;
	}
	if (vector & RAISED) {
		vector &= ~(uint64_t)RAISED;
		cr2 = c->block.fault_addr;
	} else if (vector >= 32) {
		if (vector == VECTOR_SPURIOUS)
			return f;
		if (vector >= VECTOR_DEVICE && vector < VECTOR_DEVICE + 16)
			device_interrupt(c, f, vector);
#ifdef PRIVILEGED
		interrupts_taken++;
#endif
		mmio_write32(MMIO(0xfee000b0), 0);
		return f;
	} else {
		if (vector == PF)
			__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
		if (vector == GP && (f->rip == (uint64_t)msr_read || f->rip == (uint64_t)msr_write)) {
			f->rip = (uint64_t)msr_refused;
			return f;
		}
		if (unwind_microcode(c, f, &vector, &cr2))
			return f;
	}
	if ((f->cs & 3) == 0)
		unexpected(f, vector);
	fault_user(c, f, vector, cr2);
	return f;
}
