// SPDX-License-Identifier: Apache-2.0
// Runs the tests of the image: only=NAME,... or all but skip=NAME,... of the command line;
// several=1 leaves out those that one CPU is enough for.
#include "system.h"
#include <stdarg.h>

extern const struct test tests_begin[], tests_end[];
const char *command_line;
uint64_t present;
static const char *running;
static uint32_t failures;
static volatile bool failed_here;
static volatile uint32_t console_lock;

static void put(char c) { outb(GVMM_PORT_COM1, c); }

static void number(uint64_t v, unsigned base)
{
	char digits[24];
	int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (n)
		put(digits[--n]);
}

void print(const char *format, ...)
{
	va_list a;

	va_start(a, format);
	for (; *format; format++) {
		if (*format != '%') {
			put(*format);
			continue;
		}
		switch (*++format) {
		case 's':
			for (const char *s = va_arg(a, const char *); *s; s++)
				put(*s);
			break;
		case 'u':
			number(va_arg(a, uint64_t), 10);
			break;
		case 'x':
			put('0'), put('x');
			number(va_arg(a, uint64_t), 16);
			break;
		}
	}
	va_end(a);
}

// failed ends the test, on whatever processor.
void failed(const char *file, int line, const char *what, uint64_t got, uint64_t want, bool values)
{
	cli();
	write_cr4(read_cr4() & ~CR4_SMAP);
	while (__atomic_exchange_n(&console_lock, 1, __ATOMIC_ACQUIRE))
		pause();
	if (!failed_here) {
		print("FAILED %s: %s:%u: CPU %u: %s", running, file, (uint64_t)line, me()->index, what);
		if (values)
			print(": %x, want %x", got, want);
		if (me()->trap.vector && me()->trap.rip)
			print(" (last trap: vector %u error %x rip %x cr2 %x)", me()->trap.vector, me()->trap.error, me()->trap.rip, me()->cr2);
		print("\n");
		failed_here = true;
	}
	__atomic_store_n(&console_lock, 0, __ATOMIC_RELEASE);
	jump(me()->check);
}

bool same(const char *a, const char *b, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (a[i] != b[i])
			return false;
	return true;
}

static uint64_t length(const char *s)
{
	uint64_t n = 0;

	while (s[n])
		n++;
	return n;
}

bool option(const char *name, const char **value, uint64_t *n)
{
	uint64_t l = length(name);

	for (const char *c = command_line; *c;) {
		const char *end = c;
		while (*end && *end != ' ')
			end++;
		if ((uint64_t)(end - c) > l && same(c, name, l) && c[l] == '=') {
			*value = c + l + 1;
			*n = end - *value;
			return true;
		}
		c = *end ? end + 1 : end;
	}
	return false;
}

// listed looks for a name in a list with commas.
static bool listed(const char *list, uint64_t n, const char *name)
{
	uint64_t l = length(name), begin = 0;

	for (uint64_t i = 0; i <= n; i++)
		if (i == n || list[i] == ',') {
			if (i - begin == l && same(list + begin, name, l))
				return true;
			begin = i + 1;
		}
	return false;
}

static void show_monitor(uint64_t unused)
{
	(void)unused;
	wrmsr(0x1a0, rdmsr(0x1a0) | 1 << 18);
}

static void find_present(void)
{
	try(show_monitor, 0); // IA32_MISC_ENABLE; not every processor has it
	struct regs one = cpuid(1, 0), seven = cpuid(7, 0);

	present |= cpu_count > 1 ? SMP : 0;
	present |= mmio_read32(0xfec00000) != 0xffffffff ? PC : 0;
	present |= seven.d >> 5 & 1 ? USERINT : 0;
	present |= seven.b >> 7 & 1 ? NEEDS_SMEP : 0;
	present |= seven.b >> 20 & 1 ? NEEDS_SMAP : 0;
	present |= seven.b >> 10 & 1 ? NEEDS_INVPCID : 0;
	present |= seven.b & 1 ? NEEDS_FSGSBASE : 0;
	present |= one.c >> 17 & 1 ? NEEDS_PCID : 0;
	present |= one.c >> 21 & 1 ? NEEDS_X2APIC : 0;
	present |= one.c >> 24 & 1 ? NEEDS_DEADLINE : 0;
	present |= one.c >> 26 & 1 ? NEEDS_XSAVE : 0;
	present |= one.c >> 3 & 1 ? NEEDS_MONITOR : 0;
	present |= seven.c >> 16 & 1 ? NEEDS_LA57 : 0;
	present |= seven.c >> 2 & 1 ? NEEDS_UMIP : 0;
	present |= seven.c >> 5 & 1 ? NEEDS_WAITPKG : 0;
}

static const char *const needs[] = {
	"more than one CPU", "a PC's devices", "UINTR", "SMEP", "SMAP", "PCID", "LA57", "x2APIC", "TSC-deadline", "UMIP", "WAITPKG", "INVPCID", "FSGSBASE",
	"MONITOR", "XSAVE",
};

static void absent(const struct test *t)
{
	print("absent %s: it needs", t->name);
	for (unsigned i = 0; i < sizeof needs / sizeof *needs; i++)
		if (t->needs & ~present & 1u << i)
			print(" %s", needs[i]);
	print("\n");
}

static void run(const struct test *t)
{
	running = t->name;
	failed_here = false;
	me()->trap.vector = 0;
	if (!mark(me()->check)) {
		reset_processor();
		memory_reset();
		t->run();
	}
	if (failed_here)
		failures++;
	else
		print("ok %s\n", t->name);
}

void system_main(uint64_t index, uint64_t info)
{
	struct cpu *c = &cpus[index];
	const char *list;
	uint64_t n;

	c->index = index;
	traps_init(c);
	apic_write(0xf0, 0x100 | VECTOR_SPURIOUS);
	if (index)
		cpu_main(c);
	command_line = *(uint64_t *)(info + 24) ? (const char *)*(uint64_t *)(info + 24) : "";
	outw(0x510, 5);
	cpu_count = inb(0x511);
	cpu_count |= (uint32_t)inb(0x511) << 8;
	if (cpu_count > MAX_CPUS)
		cpu_count = MAX_CPUS;
	running = "start";
	if (!mark(c->check)) {
		smp_start();
		find_present();
	} else {
		outb(GVMM_PORT_EXIT, 1);
	}
	for (const struct test *t = tests_begin; t < tests_end; t++) {
		if (option("only", &list, &n) && !listed(list, n, t->name))
			continue;
		if (option("several", &list, &n) && !(t->needs & SMP))
			continue;
		if (option("skip", &list, &n) && listed(list, n, t->name))
			print("skipped %s\n", t->name);
		else if (t->needs & ~present)
			absent(t);
		else
			run(t);
	}
	print("%u failed\n", (uint64_t)failures);
	outb(GVMM_PORT_EXIT, failures != 0);
	for (;;)
		__asm__ volatile("cli; hlt");
}
