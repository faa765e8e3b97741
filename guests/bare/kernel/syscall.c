// SPDX-License-Identifier: Apache-2.0
#include "kernel.h"

static int64_t write(uint64_t text, uint64_t n)
{
	if (!user_range(text, n))
		return SYS_EINVAL;
	uint16_t port = GVMM_PORT_COM1;
	__asm__ volatile("rep outsb" : "+S"(text), "+c"(n) : "d"(port) : "memory");
	return 0;
}

static int64_t thread(uint64_t cpu, uint64_t entry, uint64_t stack)
{
	if (cpu == 0 || cpu >= cpu_count || cpus[cpu].thread_entry || !user_range(entry, 1) || !user_range(stack - 8, 8))
		return SYS_EINVAL;
	cpus[cpu].thread_stack = stack;
	cpus[cpu].thread_entry = entry;
	send_ipi(cpu, 0x4000 | VECTOR_WAKE);
	return 0;
}

static int64_t fault_handler(struct cpu *c, uint64_t entry, uint64_t report)
{
	if (!user_range(entry, 1) || !user_range(report, sizeof(struct fault)))
		return SYS_EINVAL;
	c->fault_handler = entry;
	c->fault_report = report;
	return 0;
}

static int64_t serve(struct cpu *c, struct trap_frame *f)
{
	switch (f->rax) {
	case SYS_EXIT:
		kernel_exit(f->rdi);
	case SYS_WRITE:
		return write(f->rdi, f->rsi);
	case SYS_DEVICE:
		return user_range(f->rsi, sizeof(struct device)) ? device_open(f->rdi, (struct device *)f->rsi) : SYS_EINVAL;
	case SYS_BIND:
		return device_bind(c, f->rdi, f->rsi, f->rdx);
	case SYS_HANDLER:
		return uintr_register(c, f->rdi);
	case SYS_POLL:
		return uintr_poll(c);
	case SYS_SENDER:
		return uintr_sender(f->rdi, f->rsi);
	case SYS_THREAD:
		return thread(f->rdi, f->rsi, f->rdx);
	case SYS_LATENCY:
		if (!user_range(f->rdi, sizeof(struct gvmm_latency_log)))
			return SYS_EINVAL;
		wrmsr(GVMM_MSR_LATENCY, f->rdi);
		return 0;
	case SYS_FAULT:
		return fault_handler(c, f->rdi, f->rsi);
	}
#ifdef PRIVILEGED
	return privileged(f);
#else
	return SYS_EINVAL;
#endif
}

void syscall(struct cpu *c, struct trap_frame *f)
{
	if (f->rax == SYS_RETURN) {
		signal_return(c, f);
		return;
	}
	f->rax = serve(c, f);
	signal_user(c, f);
}
