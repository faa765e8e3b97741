// SPDX-License-Identifier: Apache-2.0
// Translation: page sizes, rights, accessed and dirty bits, error codes, invalidation.
#include "system.h"

#define FETCH 16

static void store_zero(uint64_t la) { store64(la, 0); }
static void load_8(uint64_t la) { load64(la); }
static void fill_32(uint64_t la) { fill((void *)la, 1, 32); }
static uint64_t cr2(void) { return me()->cr2; }

TEST(paging_three_sizes_show_one_memory, 0)
{
	uint64_t pa = page_alloc_2m();

	*entry_of(T, 3) = P | W | PS;                       // 1 GiB at 0
	*entry_of(T + (1ull << 30), 2) = pa | P | W | PS;   // 2 MiB
	map(T + (2ull << 30), pa + 0x5000, P | W);
	store64(T + pa + 0x5008, 0x1122334455667788);
	CHECK_EQ(load64(T + (1ull << 30) + 0x5008), 0x1122334455667788);
	CHECK_EQ(load64(T + (2ull << 30) + 8), 0x1122334455667788);
	store64(T + (2ull << 30) + 8, 1);
	CHECK_EQ(load64(pa + 0x5008), 1);
	store64(T + (1ull << 30) + 0x1ffff8, 7);
	CHECK_EQ(load64(pa + 0x1ffff8), 7);
}

TEST(paging_accessed_and_dirty, 0)
{
	uint64_t pa = page_alloc_2m();

	for (int level = 1; level <= 3; level++) {
		uint64_t la = T + ((uint64_t)level << 36);
		uint64_t *e = entry_of(la, level);
		*e = (level == 3 ? 0 : pa) | P | W | U | (level > 1 ? PS : 0);
		if (level < 4) {
			read8(la + pa % 0x1000);
			CHECK_EQ(*e & (A | D), A);
			for (int up = level + 1; up <= 4; up++)
				CHECK_EQ(*entry_of(la, up) & A, A);
			store64(la + (level == 3 ? pa : 0), 1);
			CHECK_EQ(*e & (A | D), A | D);
		}
		*e &= ~(uint64_t)(A | D);
		invlpg(la);
		store64(la + (level == 3 ? pa : 0), 1);
		CHECK_EQ(*e & (A | D), A | D);
		*e &= ~(uint64_t)D; // after a read alone the processor must look again before it writes
		invlpg(la);
		read8(la);
		CHECK_EQ(*e & D, 0);
		store64(la + (level == 3 ? pa : 0), 1);
		CHECK_EQ(*e & D, D);
	}
}

TEST(paging_a_read_modify_write_dirties_its_page, 0)
{
	uint64_t v = 5, *e;

	map_new(T, P | W);
	e = entry_of(T, 1);
	__asm__ volatile("lock cmpxchgq %1, (%2)" : "+a"(v) : "r"(9ull), "r"(T) : "memory"); // it fails, and writes
	CHECK_EQ(v, 0);
	CHECK_EQ(*e & D, D);
}

TEST(paging_what_is_not_present, 0)
{
	*entry_of(T, 1) = 0;
	TRAPS(PF, 0, read8, T + 5);
	CHECK_EQ(cr2(), T + 5);
	TRAPS(PF, 2, write8, T + 6);
	CHECK_EQ(cr2(), T + 6);
	TRAPS(PF, FETCH, execute, T + 7);
	CHECK_EQ(cr2(), T + 7);
	CHECK_EQ(me()->trap.rip, T + 7);
	USER_TRAPS(PF, 4, user_read8, T + 5);
	USER_TRAPS(PF, 6, user_write8, T + 5);
	USER_TRAPS(PF, 4 | FETCH, user_execute, T + 5);
	for (int level = 2; level <= 4; level++) { // a table that is not there
		uint64_t la = T + ((uint64_t)level << 39), *e = entry_of(la, level);
		*e = 0;
		TRAPS(PF, 0, read8, la);
		USER_TRAPS(PF, 6, user_write8, la);
	}
}

TEST(paging_a_page_that_appears_needs_no_invalidation, 0)
{
	uint64_t *e = entry_of(T, 1), pa = page_alloc();

	TRAPS(PF, 0, read8, T);
	*e = pa | P;
	RUNS(read8, T);
	TRAPS(PF, 3, write8, T); // may not write
	*e |= W;
	RUNS(write8, T);
	*e |= U;
	invlpg(T);
	USER_RUNS(user_read8, T);
}

TEST(paging_write_protection, 0)
{
	map_new(T, P | U);
	TRAPS(PF, 3, write8, T);
	USER_TRAPS(PF, 7, user_write8, T);
	write_cr0(read_cr0() & ~CR0_WP);
	RUNS(write8, T);
	CHECK_EQ(*entry_of(T, 1) & D, D);
	CHECK_EQ(load8(T), 0x5a);
	USER_TRAPS(PF, 7, user_write8, T);
	write_cr0(read_cr0() | CR0_WP);
	TRAPS(PF, 3, write8, T);
	for (int level = 2; level <= 4; level++) { // one level forbids
		uint64_t la = T + ((uint64_t)level << 39);
		map_new(la, P | W | U);
		*entry_of(la, level) &= ~(uint64_t)W;
		invlpg(la);
		RUNS(read8, la);
		TRAPS(PF, 3, write8, la);
		USER_TRAPS(PF, 7, user_write8, la);
	}
}

TEST(paging_supervisor_pages_are_not_the_users, 0)
{
	for (int level = 1; level <= 4; level++) {
		uint64_t la = T + ((uint64_t)level << 39);
		*(uint8_t *)map_new(la, P | W | U) = 0xc3;
		USER_RUNS(user_read8, la);
		USER_RUNS(user_execute, la);
		*entry_of(la, level) &= ~(uint64_t)U;
		invlpg(la);
		RUNS(read8, la);
		USER_TRAPS(PF, 5, user_read8, la);
		CHECK_EQ(cr2(), la);
		USER_TRAPS(PF, 7, user_write8, la);
		USER_TRAPS(PF, 5 | FETCH, user_execute, la);
		RUNS(execute, la);
	}
}

TEST(paging_no_execute, 0)
{
	for (int level = 1; level <= 4; level++) {
		uint64_t la = T + ((uint64_t)level << 39);
		*(uint8_t *)map_new(la, P | W | U) = 0xc3;
		RUNS(execute, la);
		*entry_of(la, level) |= NX;
		invlpg(la);
		RUNS(read8, la);
		TRAPS(PF, 1 | FETCH, execute, la);
		CHECK_EQ(cr2(), la);
		USER_TRAPS(PF, 5 | FETCH, user_execute, la);
		wrmsr(0xc0000080, rdmsr(0xc0000080) & ~0x800ull); // without NXE bit 63 is reserved
		TRAPS(PF, 9, read8, la);
		TRAPS(PF, 11, write8, la);
		TRAPS(PF, 9, execute, la); // and a fetch is not told
		wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
		RUNS(read8, la);
	}
}

TEST(paging_smep, NEEDS_SMEP)
{
	*(uint8_t *)map_new(T, P | W | U) = 0xc3;
	RUNS(execute, T);
	write_cr4(read_cr4() | CR4_SMEP);
	TRAPS(PF, 1 | FETCH, execute, T);
	USER_RUNS(user_execute, T);
	RUNS(read8, T);
	*entry_of(T, 3) &= ~(uint64_t)U; // one level makes it the supervisor's
	invlpg(T);
	RUNS(execute, T);
	write_cr4(read_cr4() & ~CR4_SMEP);
	RUNS(execute, T);
}

static void stac_read(uint64_t la) { __asm__ volatile("stac; movb (%0), %%al; clac" : : "r"(la) : "rax"); }
static void stac_write(uint64_t la) { __asm__ volatile("stac; movb $1, (%0); clac" : : "r"(la) : "memory"); }
static void load_fs(uint64_t selector) { __asm__ volatile("mov %w0, %%fs; xor %%eax, %%eax; mov %%eax, %%fs" : : "r"(selector) : "rax"); }
static void stac_load_fs(uint64_t selector) { __asm__ volatile("stac; mov %w0, %%fs; clac; xor %%eax, %%eax; mov %%eax, %%fs" : : "r"(selector) : "rax"); }
USER static void user_load_fs(uint64_t selector) { __asm__ volatile("mov %w0, %%fs" : : "r"(selector)); }

TEST(paging_smap, NEEDS_SMAP)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) gdtr = { 0x17f, T + 0x3000 - 0x100 }, old;
	uint64_t pa = map_new(T + 0x2000, P | W);

	// A GDT over two pages: what events need in the first, what the test loads in the second, a user's.
	copy((void *)(pa + 0xf00), gdt, 0x100);
	((uint64_t *)map_new(T + 0x3000, P | W | U))[1] = 0x00cff3000000ffff;
	map_new(T, P | W | U);
	write_cr4(read_cr4() | CR4_SMAP);
	TRAPS(PF, 1, read8, T);
	TRAPS(PF, 3, write8, T);
	RUNS(stac_read, T);
	RUNS(stac_write, T);
	TRAPS(PF, 1, read8, T);
	USER_RUNS(user_read8, T);
	// What the processor reads for itself is not excused by RFLAGS.AC.
	__asm__ volatile("sgdt %0" : "=m"(old));
	__asm__ volatile("lgdt %0" : : "m"(gdtr));
	bool plain = try(load_fs, 0x108 | 3);
	struct frame first = me()->trap;
	__asm__ volatile("lgdt %0" : : "m"(old));
	CHECK(plain);
	CHECK_EQ(first.vector, PF);
	CHECK_EQ(first.error, 1);
	CHECK_EQ(cr2(), T + 0x3008);
	__asm__ volatile("lgdt %0" : : "m"(gdtr));
	plain = try(stac_load_fs, 0x108 | 3);
	first = me()->trap;
	__asm__ volatile("lgdt %0" : : "m"(old));
	CHECK(plain);
	CHECK_EQ(first.vector, PF);
	CHECK_EQ(first.error, 1);
	write_cr4(read_cr4() & ~CR4_SMAP);
	RUNS(read8, T);
}

TEST(paging_implicit_accesses_are_the_supervisors, 0)
{
	struct { uint16_t limit; uint64_t base; } __attribute__((packed)) gdtr = { 0x17f, T }, old;
	uint64_t pa = page_alloc();

	*entry_of(T, 1) = 0;
	__asm__ volatile("sgdt %0" : "=m"(old));
	copy((void *)pa, gdt, 0x180);
	((uint64_t *)pa)[0x108 / 8] = 0x00cff3000000ffff;
	for (uint64_t slot = 0; slot < 2; slot++) {
		// The GDT is copied to two pages: what events need in the first, the test's in the second.
		uint64_t base = T + 0x1000 - 0x100;
		map(T, pa, P | W | A);
		*entry_of(T + 0x1000, 1) = slot ? page_alloc() | P | W : 0;
		invlpg(T + 0x1000);
		copy((void *)(pa + 0x1000 - 0x100), gdt, 0x100);
		gdtr.base = base;
		if (slot)
			store64(T + 0x1008, 0x00cff3000000ffff);
		__asm__ volatile("lgdt %0" : : "m"(gdtr));
		bool trapped = user((void *)user_load_fs, 0x108 | 3);
		__asm__ volatile("lgdt %0" : : "m"(old));
		if (slot) {
			CHECK(!trapped);
			CHECK_EQ(load64(T + 0x1008), 0x00cff3000000ffff); // it was accessed already
		} else {
			CHECK(trapped);
			CHECK_EQ(me()->trap.vector, PF);
			CHECK_EQ(me()->trap.error, 0);
			CHECK_EQ(cr2(), T + 0x1008);
		}
	}
}

TEST(paging_reserved_bits, 0)
{
	uint32_t width = cpuid(0x80000008, 0).a & 0xff;

	map_new(T, P | W | U);
	for (int level = 1; level <= 4; level++) {
		uint64_t *e = entry_of(T, level), was = *e;
		if (width < 52) {
			*e = was | 1ull << 51;
			invlpg(T);
			TRAPS(PF, 9, read8, T);
			TRAPS(PF, 11, write8, T);
			USER_TRAPS(PF, 13, user_read8, T);
			TRAPS(PF, 9 | FETCH, execute, T);
		}
		*e = was | 1ull << 52; // ignored
		invlpg(T);
		RUNS(read8, T);
		*e = was;
		invlpg(T);
	}
	*entry_of(T, 4) |= PS;
	invlpg(T);
	TRAPS(PF, 9, read8, T);
	*entry_of(T, 4) &= ~(uint64_t)PS;
	*entry_of(T + (1ull << 30), 3) = P | W | PS | 1 << 13;
	TRAPS(PF, 9, read8, T + (1ull << 30));
	*entry_of(T + (2ull << 30), 2) = P | W | PS | 1 << 13;
	TRAPS(PF, 9, read8, T + (2ull << 30));
	*entry_of(T + (2ull << 30), 2) = P | W | PS | 1 << 12; // PAT
	invlpg(T + (2ull << 30));
	RUNS(read8, T + (2ull << 30));
}

static void to_cr0(uint64_t v) { write_cr0(v); }
static void to_cr3(uint64_t v) { write_cr3(v); }
static void to_cr4(uint64_t v) { write_cr4(v); }
static void to_cr8(uint64_t v) { write_cr8(v); }
static void to_efer(uint64_t v) { wrmsr(0xc0000080, v); }

TEST(paging_control_registers_refuse, 0)
{
	uint64_t cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4(), efer = rdmsr(0xc0000080);

	TRAPS(GP, 0, to_cr0, cr0 & ~1ull);       // PG without PE
	TRAPS(GP, 0, to_cr0, cr0 & ~CR0_PG);     // in 64-bit code
	TRAPS(GP, 0, to_cr0, cr0 | CR0_NW);      // NW without CD
	TRAPS(GP, 0, to_cr0, cr0 | 1ull << 32);
	TRAPS(GP, 0, to_cr3, cr3 | 1ull << 62);
	TRAPS(GP, 0, to_cr4, cr4 & ~CR4_PAE);
	TRAPS(GP, 0, to_cr4, cr4 | 1ull << 31);
	TRAPS(GP, 0, to_cr4, cr4 | 1ull << 63);
	TRAPS(GP, 0, to_cr4, cr4 ^ CR4_LA57);
	TRAPS(GP, 0, to_cr8, 16);
	TRAPS(GP, 0, to_efer, efer & ~0x100ull); // LME while paging
	TRAPS(GP, 0, to_efer, efer | 1 << 1);
	CHECK_EQ(read_cr0(), cr0);
	CHECK_EQ(read_cr3(), cr3);
	CHECK_EQ(read_cr4(), cr4);
	CHECK_EQ(rdmsr(0xc0000080), efer);
}

TEST(paging_invlpg_of_any_byte_drops_a_big_page, 0)
{
	uint64_t a = page_alloc_2m(), b = page_alloc_2m();

	store64(a, 1), store64(b, 2);
	*entry_of(T, 2) = a | P | W | PS;
	CHECK_EQ(load64(T), 1);
	*entry_of(T, 2) = b | P | W | PS;
	invlpg(T + 0x123456);
	CHECK_EQ(load64(T), 2);
	invlpg(1ull << 55); // not canonical: nothing
}

TEST(paging_global_pages_go_when_they_must, 0)
{
	uint64_t a = page_alloc(), b = page_alloc();

	store64(a, 1), store64(b, 2);
	write_cr4(read_cr4() | CR4_PGE);
	map(T, a, P | W | G);
	CHECK_EQ(load64(T), 1);
	map(T, b, P | W | G); // with INVLPG
	CHECK_EQ(load64(T), 2);
	*entry_of(T, 1) = a | P | W | G;
	write_cr4(read_cr4() & ~CR4_PGE);
	write_cr4(read_cr4() | CR4_PGE);
	CHECK_EQ(load64(T), 1);
	*entry_of(T, 1) = b | P | W; // not global any more: CR3 drops it once it was loaded so
	invlpg(T);
	CHECK_EQ(load64(T), 2);
	*entry_of(T, 1) = a | P | W;
	write_cr3(read_cr3());
	CHECK_EQ(load64(T), 1);
}

struct invpcid { uint64_t pcid, la; };
static void invpcid(uint64_t kind, uint64_t pcid, uint64_t la)
{
	struct invpcid d = { pcid, la };
	__asm__ volatile("invpcid %0, %1" : : "m"(d), "r"(kind) : "memory");
}
static void try_invpcid(uint64_t p) { uint64_t *a = (uint64_t *)p; invpcid(a[0], a[1], a[2]); }

TEST(paging_pcids_keep_address_spaces_apart, NEEDS_PCID)
{
	uint64_t a = page_alloc(), b = page_alloc(), second = page_alloc(), *e;

	store64(a, 1), store64(b, 2);
	map(T, a, P | W);
	copy((void *)second, boot_pml4, 4096);
	((uint64_t *)second)[1] = 0;
	// The second space has its own tables for T.
	uint64_t pdpt = page_alloc(), pd = page_alloc(), pt = page_alloc();
	((uint64_t *)second)[1] = pdpt | 7;
	*(uint64_t *)pdpt = pd | 7, *(uint64_t *)pd = pt | 7;
	e = (uint64_t *)pt;
	*e = b | P | W;
	TRAPS(GP, 0, to_cr4, read_cr4() | CR4_PCIDE | CR4_LA57);
	write_cr3((uint64_t)boot_pml4 | PCD);
	TRAPS(GP, 0, to_cr4, read_cr4() | CR4_PCIDE); // CR3[11:0] is not 0
	write_cr3((uint64_t)boot_pml4);
	write_cr4(read_cr4() | CR4_PCIDE);
	for (int i = 0; i < 4; i++) {
		uint64_t keep = i > 1 ? 1ull << 63 : 0;
		write_cr3(((uint64_t)boot_pml4 | 1) | keep);
		CHECK_EQ(read_cr3(), (uint64_t)boot_pml4 | 1);
		CHECK_EQ(load64(T), 1);
		write_cr3((second | 0xfff) | keep);
		CHECK_EQ(read_cr3(), second | 0xfff);
		CHECK_EQ(load64(T), 2);
	}
	if (present & NEEDS_INVPCID) {
		static const uint64_t wrong[][3] = {
			{ 4, 0, 0 }, { 0, 0x1000, 0 }, { 0, 1, 1ull << 60 }, { 1, 1ull << 12, 0 }, { ~0ull, 0, 0 },
		};
		for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
			TRAPS(GP, 0, try_invpcid, wrong[i]);
		for (uint64_t kind = 0; kind < 4; kind++) {
			*e = (kind & 1 ? b : a) | P | W;
			invpcid(kind, 0xfff, kind ? 0 : T);
			CHECK_EQ(load64(T), kind & 1 ? 2 : 1);
		}
		// Of an address space that is not the current one.
		write_cr3(((uint64_t)boot_pml4 | 1) | 1ull << 63);
		*e = a | P | W;
		invpcid(1, 0xfff, 0);
		write_cr3((second | 0xfff) | 1ull << 63);
		CHECK_EQ(load64(T), 1);
		write_cr3(((uint64_t)boot_pml4 | 1) | 1ull << 63);
		*e = b | P | W;
		invpcid(0, 0xfff, T);
		write_cr3((second | 0xfff) | 1ull << 63);
		CHECK_EQ(load64(T), 2);
	}
	write_cr3((uint64_t)boot_pml4);
	write_cr4(read_cr4() & ~CR4_PCIDE);
	if (present & NEEDS_INVPCID) {
		uint64_t other[3] = { 1, 1, 0 };
		TRAPS(GP, 0, try_invpcid, other); // a PCID without PCIDs
		other[1] = 0;
		RUNS(try_invpcid, other);
	}
}

static void push_at(uint64_t la) { __asm__ volatile("mov %%rsp, %%rbx; mov %0, %%rsp; push %%rax; mov %%rbx, %%rsp" : : "r"(la) : "rbx", "memory"); }

TEST(paging_addresses_must_be_canonical, 0)
{
	TRAPS(GP, 0, read8, 1ull << 47);
	TRAPS(GP, 0, write8, 1ull << 63);
	TRAPS(GP, 0, read8, 0xffff7fffffffffff);
	USER_TRAPS(GP, 0, user_read8, 1ull << 47);
	TRAPS(PF, 0, read8, 0xffff800000000000);
	TRAPS(GP, 0, execute, 1ull << 47);
	USER_TRAPS(GP, 0, user_execute, 1ull << 47);
	gate(SS, trap_entries + 16 * SS, 0, 1, IDT_INTERRUPT, KCS);
	me()->tss.ist[0] = page_alloc() + 4096;
	TRAPS(SS, 0, push_at, 1ull << 48);
}

TEST(paging_an_access_over_two_pages_is_done_whole_or_not_at_all, 0)
{
	uint64_t pa = map_new(T, P | W), pb;

	*entry_of(T + 0x1000, 1) = 0;
	fill((void *)pa, 0x11, 4096);
	uint64_t la = T + 0xffd;
	TRAPS(PF, 2, store_zero, la);
	CHECK_EQ(cr2(), T + 0x1000);
	CHECK_EQ(*(uint8_t *)(pa + 0xffd), 0x11);
	CHECK_EQ(*(uint8_t *)(pa + 0xfff), 0x11);
	pb = map_new(T + 0x1000, P);
	TRAPS(PF, 3, store_zero, la);
	CHECK_EQ(*(uint8_t *)(pa + 0xffd), 0x11);
	*entry_of(T + 0x1000, 1) |= W;
	invlpg(T + 0x1000);
	store64(la, 0x8877665544332211);
	CHECK_EQ(load64(la), 0x8877665544332211);
	CHECK_EQ(*(uint8_t *)(pa + 0xfff), 0x33);
	CHECK_EQ(*(uint8_t *)pb, 0x44);
	// The first page missing: CR2 is the first byte.
	*entry_of(T, 1) = 0;
	invlpg(T);
	TRAPS(PF, 0, read8, T + 0xfff);
	TRAPS(PF, 0, load_8, la);
	CHECK_EQ(cr2(), la);
}

static uint64_t repair, repaired;
static bool map_it(struct frame *f)
{
	if (f->vector != PF)
		return false;
	repaired = f->rip;
	*entry_of(read_cr2(), 1) = repair | P | W | U;
	me()->cr2 = read_cr2();
	return true;
}

TEST(paging_an_instruction_over_two_pages_restarts, 0)
{
	uint64_t pa = map_new(T, P | W | U);

	repair = page_alloc();
	*entry_of(T + 0x1000, 1) = 0;
	// mov $0x11223344, %eax; ret: two bytes in the first page.
	copy((void *)(pa + 0xffe), "\xb8\x44", 2);
	copy((void *)repair, "\x33\x22\x11\xc3", 4);
	me()->hook = map_it;
	uint64_t got;
	__asm__ volatile("call *%1" : "=a"(got) : "r"(T + 0xffe) : "memory");
	CHECK_EQ(got, 0x11223344);
	CHECK_EQ(repaired, T + 0xffe);
	CHECK_EQ(cr2(), T + 0x1000);
	// The second half changes frames under it.
	uint64_t other = page_alloc();
	copy((void *)other, "\x77\x66\x55\xc3", 4);
	map(T + 0x1000, other, P | W | U);
	__asm__ volatile("call *%1" : "=a"(got) : "r"(T + 0xffe) : "memory");
	CHECK_EQ(got, 0x55667744);
}

TEST(paging_a_string_store_restarts_where_it_was, 0)
{
	uint64_t n = 0x1800, to = T + 0x800;

	map_new(T, P | W);
	*entry_of(T + 0x1000, 1) = 0;
	repair = page_alloc();
	me()->hook = map_it;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(0x77) : "memory");
	CHECK_EQ(n, 0);
	CHECK_EQ(to, T + 0x2000);
	CHECK_EQ(load8(T + 0x7ff), 0);
	CHECK_EQ(load8(T + 0x800), 0x77);
	CHECK_EQ(load8(T + 0x1fff), 0x77);
	me()->hook = 0;
	n = 0x20, to = T + 0x1ff0;
	uint64_t before = to;
	*entry_of(T + 0x2000, 1) = 0;
	invlpg(T + 0x2000);
	TRAPS(PF, 2, fill_32, before);
	CHECK_EQ(me()->trap.rcx, 0x10);
	CHECK_EQ(me()->trap.rdi, T + 0x2000);
}

TEST(paging_five_levels, NEEDS_LA57)
{
	uint64_t root = page_alloc(), pa = page_alloc(), high = 1ull << 48 | T;
	uint64_t t[4];

	*(uint64_t *)root = (uint64_t)boot_pml4 | 7;
	for (int i = 0; i < 4; i++)
		t[i] = page_alloc();
	((uint64_t *)root)[1] = t[0] | 7;
	((uint64_t *)t[0])[1] = t[1] | 7;
	*(uint64_t *)t[1] = t[2] | 7, *(uint64_t *)t[2] = t[3] | 7;
	*(uint64_t *)t[3] = pa | 7;
	map(T, page_alloc(), P | W);
	modes(root, read_cr4() | CR4_LA57);
	bool on = read_cr4() & CR4_LA57;
	bool refused = try(to_cr4, read_cr4() & ~CR4_LA57), wrong = try(read8, 1ull << 57), right = try(write8, high);
	bool absent = try(read8, high + 0x1000);
	uint64_t code = me()->trap.error, address = cr2();
	store64(T, 3);
	modes((uint64_t)boot_pml4, read_cr4() & ~CR4_LA57);
	CHECK(on);
	CHECK(refused);
	CHECK(wrong);
	CHECK(!right);
	CHECK(absent);
	CHECK_EQ(code, 0);
	CHECK_EQ(address, high + 0x1000);
	CHECK_EQ(*(uint8_t *)pa, 0x5a);
	CHECK_EQ(load64(T), 3);
	TRAPS(GP, 0, read8, high);
}
