// SPDX-License-Identifier: GPL-2.0
/* Intel's user-interrupt system calls for kernels that do not have them. See docs/linux-driver.md. */
#include <linux/cpu.h>
#include <linux/module.h>
#include <asm/cpufeature.h>
#include <asm/processor.h>

#include "uintr.h"
#include "uposted.h"

static bool resident;
module_param(resident, bool, 0444);
MODULE_PARM_DESC(resident, "take #UD of the instructions even if the processor has user interrupts; tells which way was taken");

static const struct {
	int (*init)(void);
	void (*exit)(void);
} parts[] = {
	{ uintr_posting_init, uintr_posting_exit },
	{ uintr_cpu_init, uintr_cpu_exit },
	{ uintr_wait_init, uintr_wait_exit },
	{ uintr_receive_init, uintr_receive_exit },
	{ uintr_thread_init, uintr_thread_exit },
	{ uintr_uitt_init, uintr_uitt_exit },
	{ uintr_emulate_init, uintr_emulate_exit },
	{ uintr_fault_init, uintr_fault_exit },
	{ uintr_entry_init, uintr_entry_exit },
};

static bool processor_has_uintr(void)
{
	return boot_cpu_data.cpuid_level >= 7 && (cpuid_edx(7) & CPUID_7_EDX_UINTR);
}

static void stop(int n)
{
	while (n-- > 0)
		parts[n].exit();
}

static int __init uintr_init(void)
{
	int i, err;

	uintr_native = processor_has_uintr() && !resident;
	if (uintr_native && boot_cpu_has(X86_FEATURE_PTI)) {
		pr_err("UPIDs and tables are not mapped while user code runs: boot with pti=off, or load with resident=1\n");
		return -ENODEV;
	}
	resident = !uintr_native;
	err = uintr_kernel_init();
	if (err)
		return err;
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		err = parts[i].init();
		if (err) {
			stop(i);
			return err;
		}
	}
	pr_info("user interrupts are %s\n", uintr_native ? "the processor's" : "resident: the processor has none, #UD is taken");
	return 0;
}

static void __exit uintr_exit(void)
{
	stop(ARRAY_SIZE(parts));
}

module_init(uintr_init);
module_exit(uintr_exit);
MODULE_LICENSE("GPL");
MODULE_AUTHOR("gvmm");
MODULE_DESCRIPTION("User interrupts: system calls 471-479, native or resident");
