/* SPDX-License-Identifier: Apache-2.0 */
/* The user-interrupt instructions, for compilers with or without -muintr. */
#ifndef GVMM_UINTR_H
#define GVMM_UINTR_H
#include <stdint.h>

static inline void uintr_clui(void) { __asm__ volatile(".byte 0xf3, 0x0f, 0x01, 0xee" : : : "memory"); }
static inline void uintr_stui(void) { __asm__ volatile(".byte 0xf3, 0x0f, 0x01, 0xef" : : : "memory"); }

static inline int uintr_testui(void)
{
	uint8_t on;

	__asm__ volatile(".byte 0xf3, 0x0f, 0x01, 0xed" : "=@ccc"(on) : : "memory");
	return on;
}

static inline void uintr_senduipi(uint64_t index)
{
	__asm__ volatile(".byte 0xf3, 0x0f, 0xc7, 0xf0" : : "a"(index) : "memory");
}
#endif
