// SPDX-License-Identifier: Apache-2.0
// Services that let the tests' programs do what a program must not.
#include "kernel.h"

#ifdef PRIVILEGED
int64_t privileged(struct trap_frame *f)
{
	switch (f->rax) {
	case SYS_PEEK:
	case SYS_POKE: {
		const uint8_t *from = (uint8_t *)(f->rax == SYS_PEEK ? f->rdi : f->rdx);
		uint8_t *to = (uint8_t *)(f->rax == SYS_PEEK ? f->rdx : f->rdi);
		uint64_t n = f->rsi;

		if (n == 4 || n == 8) { // device registers want one access of the right width
			if (n == 4)
				*(volatile uint32_t *)to = *(const volatile uint32_t *)from;
			else
				*(volatile uint64_t *)to = *(const volatile uint64_t *)from;
			return 0;
		}
		__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
		return 0;
	}
	case SYS_RDMSR:
		return try_rdmsr(f->rdi, (uint64_t *)f->rsi);
	case SYS_WRMSR:
		return try_wrmsr(f->rdi, f->rsi);
	case SYS_IN:
		return inl(f->rdi);
	case SYS_OUT:
		outl(f->rdi, f->rsi);
		return 0;
	case SYS_IPI:
		send_ipi(this_cpu()->index, 0x4000 | (f->rdi & 0xff));
		if (f->rsi)
			f->rip = f->rsi;
		return 0;
	case SYS_GATE:
		if (f->rsi)
			notification_gate(f->rdi & 0xff);
		else
			kernel_gate(f->rdi & 0xff);
		return 0;
	}
	return SYS_EINVAL;
}
#endif
