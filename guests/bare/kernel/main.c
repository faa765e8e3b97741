// SPDX-License-Identifier: Apache-2.0
#include "kernel.h"

extern uint64_t kernel_pt[512], apic_pt[512], doorbell_pt[512];
extern char microcode_pages[], microcode_pages_end[], microcode_user_pages[], microcode_user_pages_end[];
extern struct { uint64_t low, high; } uitt[], irt[];

static const struct program_header *const program = (struct program_header *)USER_BASE;

// open_pages lets the program reach n bytes of the kernel's memory, in whole pages.
static void open_pages(const void *from, uint64_t n)
{
	const uint64_t user = 4;
	uint64_t page = PHYSICAL(from) / GVMM_PAGE, end = (PHYSICAL(from) + n + GVMM_PAGE - 1) / GVMM_PAGE;

	for (; page < end; page++)
		kernel_pt[page] |= user;
}

// give_faces puts into the program's reach what concerns it alone.
static void give_faces(void)
{
	open_pages(microcode_user_pages, microcode_user_pages_end - microcode_user_pages);
	for (uint32_t i = 0; i < cpu_count; i++)
		open_pages(&cpus[i].block.uirr, GVMM_PAGE);
}

// give_microcode puts the microcode, the blocks and UPIDs, the doorbells and the APIC into its reach as well.
static void give_microcode(void)
{
	const uint64_t user = 4;

	open_pages(microcode_pages, microcode_pages_end - microcode_pages);
	for (uint32_t i = 0; i < cpu_count; i++) {
		open_pages(&cpus[i].block, GVMM_PAGE);
		doorbell_pt[((doorbells >> 12) & 511) + i] |= user;
	}
	open_pages(upids, sizeof upids);
	open_pages(uitt, GVMM_PAGE);
	apic_pt[0] |= user;
}

static void run_program(void)
{
	static struct trap_frame f;

	f.rip = program->entry;
	f.rsp = program->stack_top - 8;
	f.rdi = program->info;
	f.cs = UCS;
	f.ss = UDS;
	f.rflags = 0x202;
	enter_user(&f);
}

static void describe(struct cpu *c, const char *command_line)
{
	struct program_info *info = (struct program_info *)program->info;
	char *to = (char *)program->command_line;

	for (uint64_t n = 1; *command_line && n < program->command_line_size; n++)
		*to++ = *command_line++;
	info->way = way;
	info->cpus = cpu_count;
	info->posted = posted;
	info->command_line = program->command_line;
	info->block = (uint64_t)&c->block;
	info->upids = (uint64_t)upids;
	info->uitt = (uint64_t)uitt;
	info->irt = (uint64_t)irt;
	info->iommu = iommu_registers;
	if (way == GVMM_WAY_DIRECT || way == GVMM_WAY_RESIDENT)
		info->fast_uiret = (uint64_t)uintr_fast_uiret;
	if (way == GVMM_WAY_DIRECT)
		info->fast_senduipi = (uint64_t)uintr_fast_senduipi;
}

struct start_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, command_line, rsdp;
};

void kernel_main(uint64_t index, const struct start_info *start)
{
	struct cpu *c = &cpus[index];

	c->index = index;
	traps_init(c);
	if (index) {
		uintr_init(c);
		c->online = 1;
		cpu_idle(c);
	}
	machine_discover();
	if (way == GVMM_WAY_DIRECT || way == GVMM_WAY_RESIDENT)
		give_faces();
	if (way == GVMM_WAY_DIRECT)
		give_microcode();
	uintr_init(c);
	devices_init();
	smp_start();
	describe(c, (const char *)(KBASE + start->command_line));
	run_program();
}
