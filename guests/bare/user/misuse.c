// SPDX-License-Identifier: Apache-2.0
// A guest that does everything wrong: each misuse gets a line, "ok" if the architecture's behaviour was
// seen. It needs a disk of two sectors or more; its kernel has the services for test images.
#include "user.h"

enum { UD = 6, SS = 12, GP = 13, PF = 14 };
enum { MSR_RR = 0x985, MSR_HANDLER, MSR_STACKADJUST, MSR_MISC, MSR_PD, MSR_TT };
#define UNMAPPED 0xffffffff40000000 /* between the kernel's parts */
#define KBASE    0xffffffff80000000
#define MMIO(a)  ((uint64_t)(a) | 0xffffffff00000000)
#define PATIENCE (1ull << 29)

static struct fault fault;
static uint8_t fault_stack[8192] __attribute__((aligned(16)));
static void *resume[5]; /* __builtin_setjmp's */
static volatile uint64_t handled;
static uint64_t failures, myself; /* UITT index */

static void check(const char *what, int seen)
{
	print("%s: %s\n", what, seen ? "ok" : "FAILED");
	failures += !seen;
}

static uint64_t peek(uint64_t address, uint64_t size)
{
	uint64_t v = 0;

	system_call(SYS_PEEK, address, size, (uint64_t)&v);
	return v;
}

static void poke(uint64_t address, uint64_t size, uint64_t v)
{
	system_call(SYS_POKE, address, size, (uint64_t)&v);
}

void on_user_interrupt(uint64_t vector, uint64_t tsc)
{
	(void)vector, (void)tsc;
	handled++;
}

void thread_main(uint64_t cpu)
{
	(void)cpu;
}

static void on_fault(void)
{
	__builtin_longjmp(resume, 1);
}

// faults runs f(argument): the vector of the fault that it meets, 0 if none.
static __attribute__((noinline)) uint64_t faults(void (*f)(uint64_t), uint64_t argument)
{
	fault.vector = 0;
	fault.stack = (uint64_t)fault_stack + sizeof fault_stack - 8;
	if (!__builtin_setjmp(resume))
		f(argument);
	return fault.vector;
}

static int becomes(uint64_t (*f)(uint64_t), uint64_t argument, uint64_t wanted)
{
	uint64_t begin = __builtin_ia32_rdtsc();

	while (f(argument) != wanted)
		if (__builtin_ia32_rdtsc() - begin > PATIENCE)
			return 0;
	return 1;
}

/* ---- SENDUIPI and delivery ---- */

static void ud2(uint64_t unused)
{
	(void)unused;
	__asm__ volatile("ud2");
}

static void read_byte(uint64_t address)
{
	(void)*(volatile uint8_t *)address;
}

static void send_with(const char *what, uint64_t low, uint64_t high, uint64_t vector)
{
	uint64_t entry = program_info->uitt + 16 * myself, old[2] = { peek(entry, 8), peek(entry + 8, 8) };

	poke(entry, 8, low);
	poke(entry + 8, 8, high);
	check(what, faults(uintr_senduipi, myself) == vector && (vector != PF || !(fault.error & 4)));
	poke(entry, 8, old[0]);
	poke(entry + 8, 8, old[1]);
}

static void sending(void)
{
	uint64_t upid = program_info->upids, uitt = program_info->uitt, control;

	check("SENDUIPI beyond the table", faults(uintr_senduipi, 64) == GP);
	check("SENDUIPI of index 2^40", faults(uintr_senduipi, 1ull << 40) == GP);
	send_with("UITT entry not valid", 0, upid, GP);
	send_with("UITT entry with a reserved bit", 1 | 0x80, upid, GP);
	send_with("UITT entry with user vector 64", 1 | 64 << 8, upid, GP);
	send_with("UITT entry with a misaligned UPID", 1, upid + 8, GP);
	send_with("UPID not mapped", 1, UNMAPPED, PF);
	control = peek(upid, 8);
	poke(upid, 8, control | 1 << 7);
	check("UPID with a reserved bit", faults(uintr_senduipi, myself) == GP);
	check("UPID with a reserved bit stays as it is", peek(upid, 8) == (control | 1 << 7) && !peek(upid + 8, 8));
	poke(upid, 8, control);
	system_call(SYS_WRMSR, MSR_TT, uitt, 0);
	check("SENDUIPI while the table is disabled", faults(uintr_senduipi, myself) == UD);
	system_call(SYS_WRMSR, MSR_TT, UNMAPPED | 1, 0);
	check("UITT not mapped", faults(uintr_senduipi, myself) == PF && !(fault.error & 4));
	system_call(SYS_WRMSR, MSR_TT, uitt | 1, 0);
	check("UD2 is still illegal", faults(ud2, 0) == UD);
	check("SENDUIPI works after all that", faults(uintr_senduipi, myself) == 0);
}

static void reach(void)
{
	uint64_t expected = program_info->way == GVMM_WAY_DIRECT ? 0 : PF;

	check("UPIDs from the program", faults(read_byte, program_info->upids) == expected);
	check("UITT from the program", faults(read_byte, program_info->uitt) == expected);
	check("the block from the program", faults(read_byte, program_info->block) == expected);
	check("the remapping table from the program", faults(read_byte, program_info->irt) == PF);
	check("kernel data from the program", faults(read_byte, KBASE + 0x200000) == PF);
}

static uint64_t count(uint64_t unused)
{
	(void)unused;
	return handled;
}

// recognised is UIRR, wherever this way has it.
static uint64_t recognised(void)
{
	uint64_t uirr = 0;

	if (program_info->way != GVMM_WAY_NATIVE)
		return peek(program_info->block + UC_UIRR, 8);
	system_call(SYS_RDMSR, MSR_RR, (uint64_t)&uirr, 0);
	return uirr;
}

static uint64_t pending(uint64_t unused)
{
	(void)unused;
	uintr_testui(); // trapped, so that what waits is delivered
	return (peek(program_info->upids, 8) & 1) | peek(program_info->upids + 8, 8) | recognised();
}

static void stui_on(uint64_t rsp)
{
	__asm__ volatile("mov %0, %%rsp\n.byte 0xf3, 0x0f, 0x01, 0xef\nud2" : : "r"(rsp) : "memory");
}

static uint64_t waits(uint64_t unused)
{
	(void)unused;
	return !!recognised();
}

static void deliver_on(const char *what, uint64_t rsp, uint64_t vector)
{
	uint64_t before;

	uintr_clui();
	before = handled;
	uintr_senduipi(myself);
	check("a post waits while UIF is clear", becomes(waits, 0, 1));
	uint64_t met = faults(stui_on, rsp);
	/* The CPU itself delivers as soon as the kernel has entered the fault handler, on its good stack. */
	check(what, met == vector && handled == before + (program_info->way == GVMM_WAY_NATIVE));
	check("the interrupt comes once the stack is good again", becomes(pending, 0, 0) && handled == before + 1);
}

static void delivery(void)
{
	enum { STORM = 2000 };
	uint64_t before = handled;

	check("nothing pending", becomes(pending, 0, 0));
	before = handled;
	deliver_on("stack in the kernel's half", program_info->block + 0x600, PF);
	deliver_on("stack pointer not canonical", 0x8000000000000100, SS);
	before = handled;
	for (int i = 0; i < STORM; i++)
		send_user_interrupt(myself);
	check("a storm of self-interrupts", becomes(pending, 0, 0) && handled > before && handled <= before + STORM);
	before = handled;
	for (int i = 0; i < 100; i++)
		system_call(SYS_IPI, 0xec, 0, 0);
	check("notifications with nothing posted", becomes(pending, 0, 0) && handled == before);
	uintr_senduipi(myself);
	check("an interrupt after the storms", becomes(count, 0, before + 1));
}

/* ---- MSRs and CPUID ---- */

static void refused(const char *what, uint32_t msr, uint64_t value)
{
	uint64_t before = 0, after = 1;

	system_call(SYS_RDMSR, msr, (uint64_t)&before, 0);
	int gp = system_call(SYS_WRMSR, msr, value, 0) == SYS_EINVAL;
	system_call(SYS_RDMSR, msr, (uint64_t)&after, 0);
	check(what, gp && (before == after || after == 1));
}

static void msrs(void)
{
	uint64_t v;
	uint32_t a, b, c, d;
	/* The software CPU's linear addresses have 57 bits. */
	const uint64_t not_canonical = program_info->way == GVMM_WAY_NATIVE ? 1ull << 56 : 1ull << 47;

	refused("UINTR_HANDLER not canonical", MSR_HANDLER, not_canonical);
	refused("UINTR_STACKADJUST not canonical", MSR_STACKADJUST, 1ull << 63);
	refused("UINTR_MISC with bit 40", MSR_MISC, 1ull << 40);
	refused("UINTR_MISC with bit 63", MSR_MISC, 1ull << 63);
	refused("UINTR_PD misaligned", MSR_PD, program_info->upids + 32);
	refused("UINTR_PD not canonical", MSR_PD, not_canonical);
	refused("UINTR_TT with bit 1", MSR_TT, program_info->uitt | 3);
	refused("UINTR_TT not canonical", MSR_TT, not_canonical);
	refused("block outside RAM", GVMM_MSR_BLOCK, 0xfee00001);
	refused("block beyond all memory", GVMM_MSR_BLOCK, 0xfffffffffffff001);
	refused("block misaligned", GVMM_MSR_BLOCK, 0x200801);
	refused("latency log outside RAM", GVMM_MSR_LATENCY, 0xffffffffffffffff);
	refused("latency log across the end of RAM", GVMM_MSR_LATENCY, 0xfffffff0);
	static struct gvmm_latency_log log = { .entries = 3 };
	refused("latency log whose ring is no power of two", GVMM_MSR_LATENCY, (uint64_t)&log);
	log.entries = 1ull << 61;
	refused("latency log whose ring wraps", GVMM_MSR_LATENCY, (uint64_t)&log);
	log = (struct gvmm_latency_log){ .entries = 16, .stamps = 0xfffffffffffffff8 };
	refused("latency log with stamps outside RAM", GVMM_MSR_LATENCY, (uint64_t)&log);
	log = (struct gvmm_latency_log){ .requester = 0xffff, .entries = 16, .stamps = (uint64_t)&fault_stack };
	refused("latency log of a device that is not there", GVMM_MSR_LATENCY, (uint64_t)&log);
	log = (struct gvmm_latency_log){ .requester = 8, .queue = 0xffffffff, .entries = 16, .stamps = (uint64_t)&fault_stack };
	refused("latency log of a queue that is not there", GVMM_MSR_LATENCY, (uint64_t)&log);
	check("RDMSR of an unknown MSR", system_call(SYS_RDMSR, 0x47564dff, (uint64_t)&v, 0) == SYS_EINVAL);
	check("WRMSR of an unknown MSR", system_call(SYS_WRMSR, 0x47564dff, 0, 0) == SYS_EINVAL);
	__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0x4fffffff), "c"(77));
	check("CPUID of an unknown leaf", 1);
}

/* ---- the disk, by hand ---- */

enum { NEXT = 1, WRITE = 2, INDIRECT = 4, QUEUE = 8, NEEDS_RESET = 64 };
enum { /* struct virtio_pci_common_cfg */
	STATUS = 20, QUEUE_SELECT = 22, QUEUE_SIZE = 24, QUEUE_VECTOR = 26, QUEUE_ENABLE = 28, QUEUE_DESC = 32,
};

static struct { uint64_t address; uint32_t length; uint16_t flags, next; } table[QUEUE] __attribute__((aligned(16)));
static struct { uint16_t flags, idx, ring[QUEUE]; } avail __attribute__((aligned(16)));
static struct { uint16_t flags; volatile uint16_t idx; struct { uint32_t id, length; } ring[QUEUE]; } used __attribute__((aligned(16)));
static struct { uint32_t type, reserved; uint64_t sector; } header;
static uint8_t buffer[4096] __attribute__((aligned(4096)));
static volatile uint8_t status;
static struct device device;
static struct disk disk;

#define REGISTER(type, at) (*(volatile type *)(device.common + (at)))

static void ring_doorbell(uint64_t queue)
{
	*(volatile uint32_t *)(device.notify + queue * device.notify_multiplier) = queue;
}

static void set_feature(uint32_t word, uint32_t bits)
{
	REGISTER(uint32_t, 8) = word;
	REGISTER(uint32_t, 12) = bits;
}

// start resets the disk and sets up queue 0 with the rings above and one good read in slots 0 to 2.
static void start(void)
{
	const void *rings[3] = { table, &avail, &used };

	REGISTER(uint8_t, STATUS) = 0;
	REGISTER(uint8_t, STATUS) = 3;
	set_feature(0, 0);
	REGISTER(uint32_t, 0) = 1;
	set_feature(1, REGISTER(uint32_t, 4) & 3); /* VERSION_1, ACCESS_PLATFORM */
	REGISTER(uint8_t, STATUS) = 11;
	REGISTER(uint16_t, QUEUE_SELECT) = 0;
	REGISTER(uint16_t, QUEUE_SIZE) = QUEUE;
	REGISTER(uint16_t, QUEUE_VECTOR) = 0;
	for (int i = 0; i < 3; i++) {
		REGISTER(uint32_t, QUEUE_DESC + 8 * i) = (uint64_t)rings[i];
		REGISTER(uint32_t, QUEUE_DESC + 8 * i + 4) = 0;
	}
	avail.flags = avail.idx = used.flags = used.idx = 0;
	for (int i = 0; i < QUEUE; i++)
		avail.ring[i] = 0;
	header.sector = 1;
	table[0].address = (uint64_t)&header, table[0].length = 16, table[0].flags = NEXT, table[0].next = 1;
	table[1].address = (uint64_t)buffer, table[1].length = SECTOR, table[1].flags = NEXT | WRITE, table[1].next = 2;
	table[2].address = (uint64_t)&status, table[2].length = 1, table[2].flags = WRITE, table[2].next = 0;
	status = 0xff;
	REGISTER(uint16_t, QUEUE_ENABLE) = 1;
	REGISTER(uint8_t, STATUS) = 15;
}

static void submit(uint16_t head, uint16_t by)
{
	avail.ring[avail.idx % QUEUE] = head;
	__atomic_store_n(&avail.idx, (uint16_t)(avail.idx + by), __ATOMIC_SEQ_CST);
	ring_doorbell(0);
}

static uint64_t answered(uint64_t unused)
{
	(void)unused;
	return used.idx || REGISTER(uint8_t, STATUS) & NEEDS_RESET;
}

static int needs_reset(void)
{
	return becomes(answered, 0, 1) && REGISTER(uint8_t, STATUS) & NEEDS_RESET;
}

static int reads_well(void)
{
	start();
	submit(0, 1);
	return becomes(answered, 0, 1) && used.idx == 1 && status == 0;
}

static void queues(void)
{
	start();
	table[2].flags = NEXT | WRITE;
	table[2].next = 1;
	submit(0, 1);
	check("a chain of descriptors that loops", needs_reset());
	start();
	submit(0, QUEUE + 1);
	check("avail.idx jumps", needs_reset());
	start();
	submit(QUEUE, 1);
	check("a chain that begins outside the table", needs_reset());
	start();
	table[0].next = QUEUE + 5;
	submit(0, 1);
	check("a chain that leaves the table", needs_reset());
	start();
	table[1].address = 0xfffffffffffffff0;
	submit(0, 1);
	check("a buffer that wraps", becomes(answered, 0, 1) && status != 0);
	start();
	table[1].address = 0xe0010000; /* its own MSI-X table */
	submit(0, 1);
	check("a buffer in a BAR", becomes(answered, 0, 1) && status != 0);
	start();
	table[1].length = 0xffffffff;
	submit(0, 1);
	check("a buffer of 4 GiB", becomes(answered, 0, 1) && status != 0);
	start();
	table[0].flags = INDIRECT;
	submit(0, 1);
	check("an indirect table that was not agreed on", needs_reset());
	start();
	table[0].flags |= WRITE;
	submit(0, 1);
	check("a header that the device would write", becomes(answered, 0, 1));
	start();
	header.sector = ~0ull / SECTOR;
	submit(0, 1);
	check("a sector beyond the disk", becomes(answered, 0, 1) && status == 1);
	start();
	for (uint32_t q = 1; q < 1024; q += 101)
		ring_doorbell(q);
	*(volatile uint32_t *)(device.notify + 2) = 0;
	check("doorbells of queues that do not exist", REGISTER(uint8_t, STATUS) == 15);
	REGISTER(uint16_t, QUEUE_SELECT) = 0xffff;
	check("a queue that does not exist has size 0", REGISTER(uint16_t, QUEUE_SIZE) == 0);
	check("a good read after a reset", reads_well());
}

/* ---- PCI and interrupt remapping ---- */

static uint32_t config_read(uint32_t offset)
{
	system_call(SYS_OUT, 0xcf8, 1u << 31 | device.requester << 8 | offset, 0);
	return system_call(SYS_IN, 0xcfc, 0, 0);
}

static void config_write(uint32_t offset, uint32_t v)
{
	system_call(SYS_OUT, 0xcf8, 1u << 31 | device.requester << 8 | offset, 0);
	system_call(SYS_OUT, 0xcfc, v, 0);
}

static uint64_t msix_table(void)
{
	uint32_t at = config_read(0x34) & 0xfc;

	for (int i = 0; at && i < 48; i++, at = config_read(at) >> 8 & 0xfc)
		if ((config_read(at) & 0xff) == 0x11)
			return MMIO((config_read(0x10) & ~15u) + (config_read(at + 4) & ~7u));
	return 0;
}

// reason takes the reason of the device's fault record, 0 if there is none, and clears all records.
static uint64_t reason(uint64_t unused)
{
	enum { FSTS = 0x34, FRCD = 0x220, RECORDS = 8 };
	uint64_t found = 0;

	(void)unused;
	for (int i = 0; i < RECORDS; i++) {
		uint64_t at = program_info->iommu + FRCD + 16 * i, high = peek(at + 8, 8);

		if (!(high >> 63))
			continue;
		if ((high & 0xffff) == device.requester)
			found = high >> 32 & 0xff;
		poke(at + 12, 4, 1u << 31);
	}
	poke(program_info->iommu + FSTS, 4, 1);
	return found;
}

// interrupt completes a read with this MSI-X address and data, and table entry 200.
static void interrupt(const char *what, uint64_t address, uint32_t data, uint64_t low, uint64_t high, uint64_t wanted)
{
	uint64_t slot = msix_table(), entry = program_info->irt + 16 * 200;

	poke(entry, 8, low);
	poke(entry + 8, 8, high);
	poke(slot, 4, address);
	poke(slot + 4, 4, address >> 32);
	poke(slot + 8, 4, data);
	poke(slot + 12, 4, 0);
	reason(0);
	check(what, reads_well() && becomes(reason, 0, wanted));
}

static void remapping(void)
{
	enum { VERIFY = 1 << 18, UPM_POSTED = 1 | 1 << 13 | 1 << 15 };
	const uint64_t remappable = 0xfee00010, ours = remappable | 200 << 5, good = 1 | 0x41 << 16;
	uint64_t self = device.requester | VERIFY;

	config_write(msix_table() ? 4 : 0, 6);
	interrupt("an interrupt without an entry", ours, 0, 0, 0, 0x22);
	interrupt("another device's entry", ours, 0, good, self ^ 8, 0x26);
	interrupt("an index beyond the table", remappable | 0x300 << 5, 0, good, self, 0x21);
	interrupt("an index that overflows", remappable | 0x7fff << 5 | 0xc, 0xffff, good, self, 0x21);
	interrupt("an entry with reserved bits", ours, 0, good | 7 << 12, self, 0x24);
	interrupt("a message in compatibility format", 0xfee00000, 0x41, good, self, 0x25);
	if (!program_info->posted)
		return;
	interrupt("a user-posted entry outside the pools", ours, 0, UPM_POSTED | 0x200000ull << 32, self, 0x2e);
	interrupt("a user-posted entry of vector 64", ours, 0, UPM_POSTED | 64 << 16, self, 0x24);
	interrupt("a user-posted entry in a device's registers", ours, 0, UPM_POSTED | 0xfee00000ull << 32, self, 0x2e);
}

static int pool_refused(uint64_t base, uint32_t entries)
{
	enum { CONTROL = 0xf08, POOL_STATUS = 0xf0c, BASE = 0xf10, COUNT = 0xf18, LOAD_REFUSED = 4 };

	poke(program_info->iommu + BASE, 8, base);
	poke(program_info->iommu + COUNT, 4, entries);
	poke(program_info->iommu + CONTROL, 4, 3);
	return !!(peek(program_info->iommu + POOL_STATUS, 4) & LOAD_REFUSED);
}

static void pools(void)
{
	static uint64_t entries[8] __attribute__((aligned(64)));
	uint64_t base = peek(program_info->iommu + 0xf10, 8), n = peek(program_info->iommu + 0xf18, 4);

	if (!program_info->posted)
		return;
	check("a pool table outside RAM", pool_refused(0xfed90000, 1));
	check("a pool table beyond all memory", pool_refused(0xffffffffffffffe0, 2));
	check("a pool table of 2^32 entries", pool_refused(base, 0xffffffff));
	entries[0] = 0xffffffffffffffc0, entries[1] = 0xffffffff;
	check("a pool that wraps", pool_refused((uint64_t)entries, 1));
	entries[0] = (uint64_t)entries, entries[1] = 1;
	check("a pool over its own table", pool_refused((uint64_t)entries, 1));
	entries[0] = entries[4] = 0x200000, entries[1] = entries[5] = 2;
	check("two pools that overlap", pool_refused((uint64_t)entries, 2));
	check("the kernel's pool table again", !pool_refused(base, n));
}

static void absent(void)
{
	uint32_t low = config_read(0x10), high = config_read(0x14);
	uint64_t ram = KBASE + 0x240000, before = peek(ram, 8);

	check("memory where nothing is", peek(MMIO(0xfd000000), 4) == 0xffffffff);
	poke(MMIO(0xfd000000), 4, 1);
	poke(MMIO(0xfd000000), 8, 1);
	check("a port where nothing is", (uint32_t)system_call(SYS_IN, 0x1234, 0, 0) == 0xffffffff);
	system_call(SYS_OUT, 0x1234, 1, 0);
	for (uint64_t at = 0; at < 4096; at += 4)
		peek(program_info->iommu + at, 4);
	poke(program_info->iommu + 0xffc, 8, ~0ull); // across its end
	check("registers of the remapping unit, all", 1);
	for (uint32_t base = 0x240000; base; base = base == 0x240000 ? 0xfed80000 : 0) {
		config_write(0x10, base & ~0x1ffffu);
		config_write(0x14, 0);
		check("a BAR on what is there already", (uint32_t)config_read(0x10) >> 17 == base >> 17);
	}
	config_write(0x10, 0xffffffff);
	config_write(0x14, 0xffffffff);
	check("RAM under a BAR stays RAM", peek(ram, 8) == before);
	config_write(0x10, low);
	config_write(0x14, high);
	check("the disk lives after its BAR came back", reads_well());
}

static void last_read(void)
{
	uint16_t slot;
	uint8_t result = 0xff;
	const char *why = disk_open(&disk, 0, 1);

	if (why)
		die(why);
	buffer[0] = 0;
	disk_read(&disk, 0, 1, buffer, SECTOR);
	uint64_t begin = __builtin_ia32_rdtsc();
	while (!disk_reap(&disk, &slot, &result) && __builtin_ia32_rdtsc() - begin < PATIENCE)
		;
	check("a good read at the end", result == 0);
	print("sector 1:");
	for (int i = 0; i < 8; i++)
		print(" %x", (uint64_t)buffer[i]);
	print("\n");
}

int main(void)
{
	if (!program_info->way)
		die("this machine offers no user interrupts");
	if (system_call(SYS_DEVICE, 0, (uint64_t)&device, 0))
		die("there is no disk");
	if (system_call(SYS_BIND, 0, 0, 5) < 0)
		die("the disk's interrupt cannot be bound");
	system_call(SYS_FAULT, (uint64_t)on_fault, (uint64_t)&fault, 0);
	interrupts_register(0);
	myself = system_call(SYS_SENDER, 0, 3, 0);
	uintr_stui();
	sending();
	reach();
	delivery();
	msrs();
	queues();
	remapping();
	pools();
	absent();
	last_read();
	print("%u misuses went wrong\n", failures);
	return failures != 0;
}
