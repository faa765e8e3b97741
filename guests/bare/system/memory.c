// SPDX-License-Identifier: Apache-2.0
// Pages for tests, and translations of linear addresses from T on.
#include "system.h"

static uint64_t next_page;
uint64_t memory_top = 60 << 20;

void memory_reset(void)
{
	uint64_t *root = (uint64_t *)boot_pml4;

	for (int i = 1; i < 512; i++)
		if (root[i])
			root[i] = 0;
	next_page = 8 << 20;
	write_cr3((uint64_t)boot_pml4);
}

uint64_t page_alloc(void)
{
	uint64_t p = next_page;

	CHECK(p + 4096 <= memory_top);
	next_page += 4096;
	fill((void *)p, 0, 4096);
	return p;
}

uint64_t page_alloc_2m(void)
{
	uint64_t p = (next_page + 0x1fffff) & ~0x1fffffull;

	CHECK(p + 0x200000 <= memory_top);
	next_page = p + 0x200000;
	return p;
}

uint64_t *entry_of(uint64_t la, int level)
{
	uint64_t *table = (uint64_t *)boot_pml4;

	for (int l = 4;; l--) {
		uint64_t *e = table + (la >> (3 + 9 * l) & 511);
		if (l == level)
			return e;
		if (!(*e & P))
			*e = page_alloc() | P | W | U;
		table = (uint64_t *)(*e & 0xffffffffff000);
	}
}

void map(uint64_t la, uint64_t pa, uint64_t flags)
{
	*entry_of(la, 1) = pa | flags;
	invlpg(la);
}

uint64_t map_new(uint64_t la, uint64_t flags)
{
	uint64_t p = page_alloc();

	map(la, p, flags);
	return p;
}
