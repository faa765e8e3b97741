// SPDX-License-Identifier: Apache-2.0
#include "user.h"

enum { BY_UIRET, BY_CALL, BY_KERNEL };

static void (*fast_senduipi)(uint64_t);

void interrupts_register(int through_kernel)
{
	fast_uiret = program_info->fast_uiret;
	fast_senduipi = (void (*)(uint64_t))program_info->fast_senduipi;
	handler_return = through_kernel ? BY_KERNEL : fast_uiret ? BY_CALL : BY_UIRET;
	if (system_call(SYS_HANDLER, (uint64_t)user_interrupt_entry, 0, 0))
		die("no handler can be registered");
}

void interrupts_enable(void)
{
	if (handler_return != BY_KERNEL)
		uintr_stui();
}

void send_user_interrupt(uint64_t index)
{
	if (fast_senduipi)
		fast_senduipi(index);
	else
		uintr_senduipi(index);
}
