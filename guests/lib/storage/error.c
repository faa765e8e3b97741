/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

static _Thread_local char text[192];

const char *storage_error(void)
{
	return text;
}

int storage_fail(int error, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	int n = vsnprintf(text, sizeof text, format, list);
	va_end(list);
	if (n >= 0 && (size_t)n < sizeof text)
		snprintf(text + n, sizeof text - n, ": %s", strerror(error));
	return -error;
}
