// SPDX-License-Identifier: Apache-2.0
// A PC's devices as a kernel meets them: IOAPIC, 8259s, PIT, RTC, PM timer, COM1, fw_cfg.
#include "system.h"

#define COM1 0x3f8
#define PM_TIMER 0x608

static uint32_t io_read(uint8_t r) { mmio_write32(0xfec00000, r); return mmio_read32(0xfec00010); }
static void io_write(uint8_t r, uint32_t v) { mmio_write32(0xfec00000, r); mmio_write32(0xfec00010, v); }
static void io_pin(int pin, uint64_t v) { io_write(0x11 + 2 * pin, v >> 32); io_write(0x10 + 2 * pin, v); }
#define MASKED (1ull << 16)
#define LEVEL (1ull << 15)

static void io_delay(void) { for (int i = 0; i < 4; i++) inb(0x80); }
static void pause_ticks(uint64_t n) { uint64_t b = rdtsc(); while (rdtsc() - b < n) pause(); }

// The 8259s at vectors 20H and 28H, all masked.
static void pic_setup(void)
{
	static const uint16_t ports[] = { 0x20, 0xa0 };
	for (int i = 0; i < 2; i++) {
		outb(ports[i], 0x11);
		outb(ports[i] + 1, 0x20 + 8 * i);
		outb(ports[i] + 1, i ? 2 : 4);
		outb(ports[i] + 1, 1);
		outb(ports[i] + 1, 0xff);
	}
}

static void pit_program(uint8_t control, uint16_t n)
{
	outb(0x43, control);
	outb(0x40 + (control >> 6), n);
	outb(0x40 + (control >> 6), n >> 8);
}

TEST(platform_ioapic_registers, PC)
{
	CHECK_EQ(io_read(1) & 0xff, 0x20);
	CHECK_EQ(io_read(1) >> 16 & 0xff, 23);
	for (int pin = 0; pin < 24; pin++) {
		io_pin(pin, 0xff00000000000000 | MASKED | 0x30);
		CHECK_EQ(io_read(0x11 + 2 * pin), 0xff000000);
		CHECK_EQ(io_read(0x10 + 2 * pin), MASKED | 0x30);
		io_pin(pin, MASKED);
	}
}

TEST(platform_ioapic_edge_from_the_PIT, PC)
{
	me()->seen[0x50] = 0;
	pic_setup();
	io_pin(2, 0x50);
	pit_program(0x34, 11932); // mode 2, 100 Hz
	sti();
	WAIT_FOR(me()->seen[0x50] >= 3);
	io_pin(2, MASKED);
	cli();
	outb(0x43, 0x30); // one shot: an interrupt at its end alone
	io_pin(2, 0x50);
	me()->seen[0x50] = 0;
	outb(0x40, 0xe8), outb(0x40, 3);
	sti();
	WAIT_FOR(me()->seen[0x50] == 1);
	pause_ticks(5000000);
	CHECK_EQ(me()->seen[0x50], 1);
	io_pin(2, MASKED);
	cli();
}

static volatile uint32_t serial_irqs, remote_irr;
static bool serial_level(struct frame *f)
{
	if (f->vector != 0x51)
		return false;
	serial_irqs++;
	remote_irr = io_read(0x10 + 8) >> 14 & 1;
	if (serial_irqs == 3)
		outb(COM1 + 1, 0); // the line falls
	return false; // EOI; while the line is high it comes again
}

TEST(platform_ioapic_level_comes_again_until_the_line_falls, PC)
{
	serial_irqs = 0;
	me()->hook = serial_level;
	outb(COM1 + 4, 0x0b); // OUT2 lets interrupts out
	outb(COM1 + 1, 0);
	io_pin(4, LEVEL | 0x51);
	CHECK_EQ(io_read(0x18) >> 14 & 1, 0);
	outb(COM1 + 1, 2); // transmitter empty: it is
	CHECK_EQ(io_read(0x18) >> 14 & 1, 1); // on its way, IF is 0
	sti();
	WAIT_FOR(serial_irqs >= 3);
	pause_ticks(2000000);
	cli();
	CHECK_EQ(serial_irqs, 3);
	CHECK_EQ(remote_irr, 1);
	CHECK_EQ(io_read(0x18) >> 14 & 1, 0);
	io_pin(4, MASKED);
}

static bool serial_edge(struct frame *f)
{
	if (f->vector != 0x52)
		return false;
	serial_irqs++;
	remote_irr = inb(COM1 + 2); // IIR: reading it takes back "transmitter empty"
	return false;
}

TEST(platform_serial_transmitter_empty, PC)
{
	serial_irqs = 0;
	me()->hook = serial_edge;
	outb(COM1 + 4, 0x0b);
	outb(COM1 + 1, 0);
	inb(COM1 + 2);
	io_pin(4, 0x52);
	sti();
	outb(COM1 + 1, 2);
	WAIT_FOR(serial_irqs == 1);
	CHECK_EQ(remote_irr & 15, 2);
	cli();
	outb(COM1 + 1, 0);
	CHECK_EQ(inb(COM1 + 2) & 1, 1); // nothing pending
	CHECK_EQ(inb(COM1 + 5) & 0x60, 0x60);
	outb(COM1 + 4, 0x1b); // loopback
	outb(COM1, 'x');
	CHECK_EQ(inb(COM1 + 5) & 1, 1);
	CHECK_EQ(inb(COM1), 'x');
	CHECK_EQ(inb(COM1 + 5) & 1, 0);
	outb(COM1 + 4, 0x0b);
	outb(COM1 + 7, 0x5c);
	CHECK_EQ(inb(COM1 + 7), 0x5c); // scratch
	io_pin(4, MASKED);
}

static bool pic_eoi(struct frame *f)
{
	if (f->vector < 0x20 || f->vector > 0x2f)
		return false;
	if (f->vector >= 0x28) {
		if (f->vector == 0x28)
			outb(0x70, 0xc), inb(0x71);
		outb(0xa0, 0x20);
	}
	outb(0x20, 0x20);
	return true;
}

TEST(platform_8259_with_the_PIT, PC)
{
	me()->hook = pic_eoi;
	pic_setup();
	me()->seen[0x20] = 0;
	apic_write(0x350, 0x700); // LINT0: ExtINT
	pit_program(0x34, 11932);
	outb(0x21, 0xfe);
	sti();
	WAIT_FOR(me()->seen[0x20] >= 3);
	uint64_t n = me()->seen[0x20];
	__asm__ volatile("hlt" : : : "memory");
	WAIT_FOR(me()->seen[0x20] > n);
	outb(0x21, 0xff);
	cli();
	CHECK_EQ(inb(0x21), 0xff);
	n = me()->seen[0x20];
	sti();
	pause_ticks(60000000);
	CHECK(me()->seen[0x20] <= n + 1); // masked
	cli();
	outb(0x20, 0x0a); // IRR next
	WAIT_FOR(inb(0x20) & 1);
	apic_write(0x350, 1 << 16);
	pit_program(0x30, 10);
}

TEST(platform_rtc, PC)
{
	me()->hook = pic_eoi;
	pic_setup();
	outb(0x70, 0xb);
	uint8_t b = inb(0x71);
	outb(0x70, 0x0);
	uint8_t seconds = inb(0x71);
	if (b & 4)
		CHECK(seconds < 60);
	else
		CHECK((seconds & 15) < 10 && seconds >> 4 < 6);
	outb(0x70, 0x32);
	uint8_t century = inb(0x71);
	CHECK(century == 0x20 || century == 20);
	outb(0x70, 0xd);
	CHECK_EQ(inb(0x71) & 0x80, 0x80); // the battery
	me()->seen[0x28] = 0;
	outb(0x70, 0xa), outb(0x71, 0x26); // 1024 Hz
	outb(0x70, 0xb), outb(0x71, b | 0x40); // periodic
	outb(0x70, 0xc), inb(0x71);
	apic_write(0x350, 0x700);
	outb(0xa1, 0xfe);
	outb(0x21, 0xfb); // the cascade
	sti();
	WAIT_FOR(me()->seen[0x28] >= 5);
	cli();
	outb(0x70, 0xb), outb(0x71, b);
	outb(0x70, 0xc), inb(0x71);
	outb(0x21, 0xff), outb(0xa1, 0xff);
	apic_write(0x350, 1 << 16);
}

// calibrate is TSC ticks of n periods of the PIT's 1193182 Hz, by channel 2 and port 61H.
static uint64_t calibrate(uint16_t n)
{
	outb(0x61, (inb(0x61) & ~2) | 1);
	outb(0x43, 0xb0); // mode 0
	outb(0x42, n);
	uint64_t b = rdtsc();
	outb(0x42, n >> 8);
	while (!(inb(0x61) & 0x20))
		pause();
	return rdtsc() - b;
}

static bool near(uint64_t a, uint64_t b) { return a > b - b / 16 && a < b + b / 16; }

TEST(platform_clocks_agree, PC)
{
	struct regs c = cpuid(0x15, 0);
	CHECK(c.a && c.b && c.c);
	uint64_t hz = (uint64_t)c.c * c.b / c.a;
	bool pit = false, pm = false, apic = false;
	for (int i = 0; i < 20 && !(pit && pm && apic); i++) { // whoever is held up tries again
		pit |= near(calibrate(11932), hz / 100);
		uint32_t p = inl(PM_TIMER);
		uint64_t b = rdtsc();
		pause_ticks(hz / 100);
		uint64_t took = rdtsc() - b;
		p = (inl(PM_TIMER) - p) & 0xffffff;
		pm |= near(p * hz / took, 3579545);
		apic_write(0x3e0, 0xb);
		apic_write(0x320, 1 << 16);
		b = rdtsc();
		apic_write(0x380, 0xffffffff);
		pause_ticks(hz / 100);
		uint64_t counted = 0xffffffff - apic_read(0x390);
		apic |= near(counted * (hz / 1000) / ((rdtsc() - b) / 1000 + 1), c.c);
	}
	apic_write(0x380, 0);
	CHECK(pit);
	CHECK(apic);
	CHECK(pm);
}

TEST(platform_pit_latch_and_status, PC)
{
	pit_program(0x34, 0x8000);
	pause_ticks(100000); // the count is there with the next clock
	outb(0x43, 0x00); // latch counter 0
	uint16_t a = inb(0x40);
	a |= inb(0x40) << 8;
	CHECK(a <= 0x8000);
	outb(0x43, 0xe2); // read back: status of counter 0
	uint8_t status = inb(0x40);
	CHECK_EQ(status & 0x3f, 0x34);
	uint8_t first = inb(0x61) & 0x10; // refresh toggles
	WAIT_FOR((inb(0x61) & 0x10) != first);
	pit_program(0x30, 10);
	io_delay();
}

static void select(uint16_t key) { outw(0x510, key); }
static uint8_t fw_byte(void) { return inb(0x511); }

TEST(platform_fw_cfg, 0)
{
	select(0);
	CHECK_EQ(fw_byte(), 'Q');
	CHECK_EQ(fw_byte(), 'E');
	CHECK_EQ(fw_byte(), 'M');
	CHECK_EQ(fw_byte(), 'U');
	select(5);
	CHECK_EQ(fw_byte(), cpu_count);
	select(0x14);
	uint32_t size = 0;
	for (int i = 0; i < 4; i++)
		size |= fw_byte() << 8 * i;
	uint32_t n = 0;
	while (command_line[n])
		n++;
	CHECK(size == n || size == n + 1);
	select(0x15);
	for (uint32_t i = 0; i < n; i++)
		CHECK_EQ(fw_byte(), (uint8_t)command_line[i]);
	select(3);
	uint64_t ram = 0;
	for (int i = 0; i < 8; i++)
		ram |= (uint64_t)fw_byte() << 8 * i;
	CHECK_EQ(ram, 64 << 20);
}

TEST(platform_what_is_not_there_reads_ones, 0)
{
	CHECK_EQ(inb(0x2f0), 0xff);
	CHECK_EQ(inl(0x2f0), 0xffffffff);
	CHECK_EQ(mmio_read32(0xf0000000), 0xffffffff);
	mmio_write32(0xf0000000, 1);
}
