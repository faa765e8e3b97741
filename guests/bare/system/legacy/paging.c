// SPDX-License-Identifier: Apache-2.0
// 32-bit paging with 4 MiB pages, and PAE paging.
#include "legacy.h"

#define PG 0x80000000
#define WP 0x10000
#define T 0xc0000000u
static uint32_t pd;
static void read_(uint32_t la) { load(la); }
static void write_(uint32_t la) { store(la, 1); }
static void call_(uint32_t la) { __asm__ volatile("call *%0" : : "r"(la) : "eax", "memory"); }
static void to_cr3(uint32_t v) { write_cr3(v); }
static void to_cr4(uint32_t v) { write_cr4(v); }

static void paging_32(void)
{
	pd = page_alloc();
	for (uint32_t i = 0; i < 16; i++)
		*(uint32_t *)(pd + 4 * i) = i << 22 | 0x87;
	write_cr4(0x10); // PSE
	write_cr3(pd);
	write_cr0(read_cr0() | PG | WP);
}

static uint32_t *pde(uint32_t la) { return (uint32_t *)(pd + (la >> 22) * 4); }

TEST(paging_32_bit)
{
	paging_32();
	uint32_t pt = page_alloc(), page = page_alloc(), *pte = (uint32_t *)pt;

	*pde(T) = pt | 7;
	*pte = page | 7;
	store(T + 8, 0x1234);
	CHECK_EQ(load(page + 8), 0x1234);
	CHECK_EQ(*pte & 0x60, 0x60);
	CHECK_EQ(*pde(T) & 0x20, 0x20);
	TRAPS(PF, 0, read_, T + 0x1000);
	CHECK_EQ(last_cr2, T + 0x1000);
	TRAPS(PF, 2, write_, T + 0x1000);
	USER_TRAPS(PF, 4, read_, T + 0x1000);
	TRAPS(PF, 0, call_, T + 0x1000); // without NXE or SMEP a fetch is not told
	*pte = page | 3, invlpg(T);
	USER_TRAPS(PF, 5, read_, T);
	USER_TRAPS(PF, 7, write_, T);
	RUNS(write_, T);
	*pte = page | 5, invlpg(T);
	TRAPS(PF, 3, write_, T);
	USER_RUNS(read_, T);
	write_cr0(read_cr0() & ~WP);
	RUNS(write_, T);
	write_cr0(read_cr0() | WP);
	*pde(T) = pt | 5, *pte = page | 7, invlpg(T);
	TRAPS(PF, 3, write_, T);
}

TEST(paging_32_bit_4_MiB_pages)
{
	paging_32();
	*pde(T) = 0x2000000 | 0x87; // 32 MiB
	store(0x2000000 + 0x3ff000, 0x77);
	CHECK_EQ(load(T + 0x3ff000), 0x77);
	CHECK_EQ(*pde(T) & 0x60, 0x20);
	store(T, 1);
	CHECK_EQ(*pde(T) & 0x60, 0x60);
	*pde(T) |= 1 << 21; // reserved
	invlpg(T + 0x123456);
	TRAPS(PF, 9, read_, T);
	TRAPS(PF, 11, write_, T);
	// Without CR4.PSE the bit is ignored, and the entry names a table. All that runs needs small pages first.
	uint32_t pt = page_alloc(), low = page_alloc(), tables = page_alloc();
	for (uint32_t i = 0; i < 1024; i++)
		*(uint32_t *)(low + 4 * i) = i << 12 | 7, *(uint32_t *)(tables + 4 * i) = (0x1000000 + (i << 12)) | 7;
	*(uint32_t *)pt = 0x1234007;
	*pde(0) = low | 7, *pde(0x1000000) = tables | 7;
	*pde(T) = pt | 0x87;
	write_cr3(pd);
	store(0x1000000 + 0x234008, 0xabc);
	write_cr4(0);
	uint32_t got = load(T + 8);
	write_cr4(0x10);
	CHECK_EQ(got, 0xabc);
}

static uint64_t *pdpt, *pds[4];
static void paging_pae(void)
{
	pdpt = (uint64_t *)page_alloc();
	for (int i = 0; i < 4; i++) {
		pds[i] = (uint64_t *)page_alloc();
		pdpt[i] = (uint32_t)pds[i] | 1;
	}
	for (uint32_t i = 0; i < 32; i++)
		pds[0][i] = (uint64_t)i << 21 | 0x87;
	write_cr4(0x20); // PAE
	write_cr3((uint32_t)pdpt);
	wrmsr(0xc0000080, 0x800); // NXE
	write_cr0(read_cr0() | PG | WP);
}

TEST(paging_PAE)
{
	paging_pae();
	uint64_t *pt = (uint64_t *)page_alloc();
	uint32_t page = page_alloc();

	pds[3][0] = (uint32_t)pt | 7;
	pt[0] = page | 7;
	*(uint8_t *)page = 0xc3;
	RUNS(call_, T);
	CHECK_EQ(pt[0] & 0x60, 0x20);
	store(T + 8, 5);
	CHECK_EQ(pt[0] & 0x60, 0x60);
	CHECK_EQ(load(page + 8), 5);
	pt[0] |= 1ull << 63, invlpg(T);
	TRAPS(PF, 0x11, call_, T);
	USER_TRAPS(PF, 0x15, call_, T);
	RUNS(read_, T);
	TRAPS(PF, 0x10, call_, T + 0x1000);
	pt[0] = page | 7 | 1ull << 62, invlpg(T); // reserved: all above the address but NX
	TRAPS(PF, 9, read_, T);
	pt[0] = page | 3, invlpg(T);
	USER_TRAPS(PF, 5, read_, T);
	pds[3][1] = 0x2000000 | 0x87;
	store(0x2000000 + 0x100, 9);
	CHECK_EQ(load(T + 0x200100), 9);
	pds[3][1] = 0x2000000 | 0x2087, invlpg(T + 0x200000); // bit 13 of a 2 MiB page
	TRAPS(PF, 9, read_, T + 0x200000);
}

TEST(paging_PAE_pointers_are_loaded_with_CR3)
{
	paging_pae();
	pds[3][0] = 0x2000000 | 0x87;
	store(0x2000000, 0x5a5a);
	CHECK_EQ(load(T), 0x5a5a);
	pdpt[3] |= 1 << 1; // reserved
	TRAPS(GP, 0, to_cr3, pdpt);
	pdpt[3] = (uint32_t)pds[3] | 1 | 1ull << 63;
	TRAPS(GP, 0, to_cr3, pdpt);
	pdpt[3] = (uint32_t)pds[3] | 1 | 1 << 5;
	TRAPS(GP, 0, to_cr4, read_cr4() | 1 << 7); // which loads them too
	CHECK_EQ(load(T), 0x5a5a);
	pdpt[3] = 0; // not looked at before the next load of CR3
	invlpg(T);
	CHECK_EQ(load(T), 0x5a5a);
	write_cr3((uint32_t)pdpt);
	TRAPS(PF, 0, read_, T);
	pdpt[3] = (uint32_t)pds[3] | 1;
	TRAPS(PF, 0, read_, T);
	write_cr3((uint32_t)pdpt);
	RUNS(read_, T);
}
