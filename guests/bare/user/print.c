// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include "user.h"

extern char user_command_line[];

static char line[256];
static size_t used;

static void flush(void)
{
	system_call(SYS_WRITE, (uint64_t)line, used, 0);
	used = 0;
}

static void put(char c)
{
	line[used++] = c;
	if (c == '\n' || used == sizeof line)
		flush();
}

static void number(uint64_t v, unsigned base)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = "0123456789abcdef"[v % base];
	while (v /= base);
	while (n)
		put(digits[--n]);
}

void print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	for (; *format; format++) {
		if (*format != '%') {
			put(*format);
			continue;
		}
		switch (*++format) {
		case 's':
			for (const char *s = va_arg(args, const char *); *s; s++)
				put(*s);
			break;
		case 'u':
			number(va_arg(args, uint64_t), 10);
			break;
		case 'x':
			number(va_arg(args, uint64_t), 16);
			break;
		}
	}
	va_end(args);
}

void die(const char *why)
{
	print("program: %s\n", why);
	system_call(SYS_EXIT, 1, 0, 0);
	__builtin_unreachable();
}

static const char *value(const char *name)
{
	for (const char *s = user_command_line; *s;) {
		const char *n = name;

		while (*s == ' ')
			s++;
		while (*n && *s == *n)
			s++, n++;
		if (!*n && *s == '=')
			return s + 1;
		while (*s && *s != ' ')
			s++;
	}
	return NULL;
}

uint64_t option(const char *name, uint64_t otherwise)
{
	const char *s = value(name);
	uint64_t v = 0;

	if (!s)
		return otherwise;
	for (; *s >= '0' && *s <= '9'; s++)
		v = v * 10 + (*s - '0');
	return v;
}

void option_text(const char *name, char *to, size_t n, const char *otherwise)
{
	const char *s = value(name);

	if (!s)
		s = otherwise;
	while (n-- > 1 && *s && *s != ' ')
		*to++ = *s++;
	*to = 0;
}
