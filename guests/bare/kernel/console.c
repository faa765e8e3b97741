// SPDX-License-Identifier: Apache-2.0
// What the kernel itself says, and the end of the machine.
#include "kernel.h"

void kernel_print(const char *s)
{
	while (*s)
		outb(GVMM_PORT_COM1, *s++);
}

void kernel_exit(uint32_t status)
{
	for (;;)
		outl(GVMM_PORT_EXIT, status);
}
