/*
 * x87oracle < records > results: executes one x87 instruction of the host on each
 * record {u8 state[108] as of FNSAVE, u8 code[8], u8 mem[16], u32 flags}, with the
 * memory operand at [rdi], and writes {u8 state[108], u8 mem[16], u32 flags, u64 rax}.
 * No record has an exception pending.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

typedef struct { uint8_t state[108], code[8], mem[16]; uint32_t flags; } __attribute__((packed)) in_t;
typedef struct { uint8_t state[108], mem[16]; uint32_t flags; uint64_t rax; } __attribute__((packed)) out_t;

int main(void)
{
	static in_t in[1024];
	static out_t out[1024];
	size_t n, k;
	uint8_t *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (code == MAP_FAILED)
		return 1;
	while ((n = fread(in, sizeof *in, 1024, stdin)) > 0) {
		memset(out, 0, sizeof out);
		for (k = 0; k < n; k++) {
			uint64_t rax = 0, fl = in[k].flags | 2;
			memcpy(out[k].mem, in[k].mem, 16);
			memset(code, 0x90, 8); /* code[] is an instruction and NOPs */
			memcpy(code, in[k].code, 8);
			code[8] = 0xc3;
			asm volatile(
				"frstor %[in]\n\tpush %[fl]\n\tpopfq\n\tcall *%[code]\n\t"
				"pushfq\n\tpop %[fl]\n\tfnsave %[out]\n\tfninit"
				: [out] "=m"(out[k].state), "+a"(rax), [fl] "+&r"(fl)
				: [in] "m"(in[k].state), [code] "r"(code), "D"(out[k].mem)
				: "cc", "memory");
			out[k].rax = rax;
			out[k].flags = fl;
		}
		fwrite(out, sizeof *out, n, stdout);
	}
	return 0;
}
