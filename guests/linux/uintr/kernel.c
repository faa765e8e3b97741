// SPDX-License-Identifier: GPL-2.0
/* What a kernel without patches does not export: functions by name, tracepoints. */
#include <linux/kprobes.h>
#include <linux/tracepoint.h>

#include "uintr.h"

static unsigned long (*lookup_name)(const char *name);

/* Address of a function or variable, exported or not; NULL if there is none. */
void *uintr_symbol(const char *name)
{
	void *address = (void *)lookup_name(name);

	if (!address)
		pr_debug("no %s in this kernel\n", name);
	return address;
}

/* A kprobe may be set by name anywhere, and tells the address. */
int uintr_kernel_init(void)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	int err = register_kprobe(&probe);

	if (err) {
		pr_err("kallsyms_lookup_name is not to be found (%d)\n", err);
		return err;
	}
	lookup_name = (void *)probe.addr;
	unregister_kprobe(&probe);
	return 0;
}

struct search {
	const char *name;
	struct tracepoint *found;
};

static void compare(struct tracepoint *tp, void *data)
{
	struct search *s = data;

	if (!strcmp(tp->name, s->name))
		s->found = tp;
}

static struct tracepoint *find_tracepoint(const char *name)
{
	struct search s = { .name = name };

	for_each_kernel_tracepoint(compare, &s);
	return s.found;
}

int uintr_probe_tracepoint(const char *name, void *probe)
{
	struct tracepoint *tp = find_tracepoint(name);

	if (!tp) {
		pr_err("this kernel has no tracepoint %s\n", name);
		return -ENODEV;
	}
	return tracepoint_probe_register(tp, probe, NULL);
}

void uintr_unprobe_tracepoint(const char *name, void *probe)
{
	tracepoint_probe_unregister(find_tracepoint(name), probe, NULL);
}
