/* SPDX-License-Identifier: Apache-2.0 */
/* What the library's files know of each other. */
#ifndef UINTR_INTERNAL_H
#define UINTR_INTERNAL_H

#include "uintr_user.h"

/* entry.S: where interrupts enter. They call uintr_dispatch(), the second without saving vector registers. */
void uintr_entry(void);
void uintr_entry_general(void);
void uintr_dispatch(uint64_t vector);

/* How uintr_entry saves vector registers: XSAVE with this mask, or FXSAVE if it is 0; into so many bytes. */
extern uint64_t uintr_xsave_mask, uintr_xsave_size;

/* The result of a call as ours are. */
static inline int uintr_result(int r)
{
	return r < 0 ? -errno : r;
}
#endif
