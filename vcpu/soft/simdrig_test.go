package soft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu/soft/decode"
	"gvmm/vcpu/soft/float"
	"gvmm/vcpu/soft/simd"
	"gvmm/vmm/memory"
)

// simdRAM is where the rig's memory operands are: guest-physical and linear.
const simdRAM = 0x10000

// noAPIC is a local APIC that is disabled.
type noAPIC struct{ LocalAPIC }

func (noAPIC) Base() (addr uint64, mmio bool) { return 0, false }

// simdRig makes a processor at CPL 3 in 64-bit mode, without paging, that may use all
// vector registers.
func simdRig(t testing.TB) (*CPU, *memory.Memory) {
	t.Helper()
	mem := memory.New()
	t.Cleanup(func() { require.NoError(t, mem.Close()) })
	require.NoError(t, mem.AddRAM(0, 1<<20))
	c := &CPU{machine: NewMachine(mem, nil), handler: nobody{}, apic: noAPIC{}}
	for i := range c.tlbs {
		for j := range c.tlbs[i] {
			c.tlbs[i][j].clear(j)
		}
	}
	c.cr0 = cr0PE | cr0NE | cr0MP
	c.cr4 = cr4OSFXSR | cr4OSXMMEXCPT
	c.efer = eferLME | eferLMA
	c.seg[cs].attr = attrP | attrS | attrCode | attrL
	c.cpl = 3
	c.updateMode()
	require.Equal(t, decode.Mode64, c.mode)
	c.mxcsr = 0x1f80
	return c, mem
}

// execSIMD executes one instruction.
func execSIMD(t testing.TB, c *CPU, code ...byte) bool {
	t.Helper()
	in, err := decode.Decode(code, decode.Mode64)
	require.NoError(t, err)
	require.Equal(t, len(code), int(in.Len))
	require.Equal(t, decode.GroupSIMD, in.Op.Group(), "%v", in.Op)
	c.rip, c.next = 0x1000, 0x1000+uint64(in.Len)
	c.fault = fault{}
	return c.execute(&in)
}

// simdRecord is a processor's state before or after an instruction: the image of
// FXSAVE64, RAX RCX RDX RBX, RFLAGS, the exception's vector, and memory with RDI at
// its byte 16.
type simdRecord struct {
	FX     [512]byte
	GPR    [4]uint64
	Flags  uint64
	Vector uint64
	Memory [64]byte
	Stub   uint64
}

const noVector = 255

func (r *simdRecord) word(off int) uint16    { return binary.LittleEndian.Uint16(r.FX[off:]) }
func (r *simdRecord) dword(off int) uint32   { return binary.LittleEndian.Uint32(r.FX[off:]) }
func (r *simdRecord) qword(off int) uint64   { return binary.LittleEndian.Uint64(r.FX[off:]) }
func (r *simdRecord) setXMM(i int, v []byte) { copy(r.FX[160+16*i:], v[:16]) }

// put makes the record the state of c.
func (r *simdRecord) put(c *CPU, ram []byte) {
	c.fpu.control, c.fpu.status, c.fpu.tag = r.word(0), r.word(2), uint16(r.FX[4])
	c.mxcsr = r.dword(24)
	top := int(c.fpu.status >> 11 & 7)
	for i := range 8 {
		c.fpu.reg[(top+i)&7] = float.F80{Man: r.qword(32 + 16*i), SE: r.word(40 + 16*i)}
	}
	for i := range c.xmm {
		c.xmm[i] = simd.Vec{Lo: r.qword(160 + 16*i), Hi: r.qword(168 + 16*i)}
	}
	copy(c.r[:4], r.GPR[:])
	c.r[rdi] = simdRAM + 16
	c.setArith(r.Flags)
	copy(ram, r.Memory[:])
}

// get is the state of c after an instruction that completed or not.
func (r *simdRecord) get(c *CPU, ram []byte, ok bool) {
	p := r.FX[:]
	binary.LittleEndian.PutUint16(p[0:], c.fpu.control)
	binary.LittleEndian.PutUint16(p[2:], c.fpu.status)
	p[4] = uint8(c.fpu.tag)
	binary.LittleEndian.PutUint32(p[24:], c.mxcsr)
	top := int(c.fpu.status >> 11 & 7)
	for i := range 8 {
		reg := c.fpu.reg[(top+i)&7]
		binary.LittleEndian.PutUint64(p[32+16*i:], reg.Man)
		binary.LittleEndian.PutUint16(p[40+16*i:], reg.SE)
	}
	for i, v := range c.xmm {
		binary.LittleEndian.PutUint64(p[160+16*i:], v.Lo)
		binary.LittleEndian.PutUint64(p[168+16*i:], v.Hi)
	}
	copy(r.GPR[:], c.r[:4])
	r.Flags = c.arith()
	r.Vector = noVector
	if !ok {
		r.Vector = uint64(c.fault.vector)
	}
	copy(r.Memory[:], ram)
}

// judged clears what is not compared: the x87 unit's last instruction and operand,
// what FXSAVE leaves undefined, flags that are not arithmetic.
func (r *simdRecord) judged() simdRecord {
	j := *r
	clear(j.FX[6:24])
	clear(j.FX[28:32])
	for i := range 8 {
		clear(j.FX[42+16*i : 48+16*i])
	}
	clear(j.FX[416:])
	j.Flags &= flagsArith
	return j
}

// simdHost is a program that executes instructions on records: it is made of the
// instructions' texts.
type simdHost struct {
	program string
	code    [][]byte // what the texts were assembled to
}

const simdHostC = `
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

struct record {
	uint8_t fx[512];
	uint64_t gpr[4], flags, vector;
	uint8_t memory[64];
	uint64_t stub;
} __attribute__((packed));

extern struct { uint8_t *code, *end; } stubs[];
extern const uint64_t count;
extern uint8_t faulted[];
extern void run(struct record *, uint8_t *code, uint8_t *memory);
uint64_t stack;

static union { struct record r; uint8_t space[768]; } now __attribute__((aligned(64)));

static void handler(int signal, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	struct _libc_fpstate *f = ((ucontext_t *)context)->uc_mcontext.fpregs;
	memcpy(now.r.fx, f, 512);
	now.r.gpr[0] = g[REG_RAX], now.r.gpr[1] = g[REG_RCX], now.r.gpr[2] = g[REG_RDX], now.r.gpr[3] = g[REG_RBX];
	now.r.flags = g[REG_EFL], now.r.vector = g[REG_TRAPNO];
	f->mxcsr = 0x1f80, f->cwd = 0x37f, f->swd = 0, f->ftw = 0;
	g[REG_RIP] = (greg_t)faulted, g[REG_RSP] = stack, g[REG_EFL] &= ~0x400;
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_NODEFER};
	int signals[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS};
	for (int i = 0; i < 4; i++)
		sigaction(signals[i], &action, 0);
	for (uint64_t i = 0; i < count; i++) {
		uint8_t line[16] = {stubs[i].end - stubs[i].code};
		memcpy(line + 1, stubs[i].code, line[0]);
		fwrite(line, 16, 1, stdout);
	}
	while (fread(&now.r, sizeof now.r, 1, stdin) == 1) {
		now.r.vector = 255;
		run(&now.r, stubs[now.r.stub].code, now.r.memory + 16);
		fwrite(&now.r, sizeof now.r, 1, stdout);
	}
	return 0;
}
`

const simdHostAsm = `
	.globl run, faulted
run:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, stack(%rip)
	mov %rdi, %r12
	mov %rdx, %rdi
	mov %rsi, %r11
	mov 512(%r12), %rax
	mov 520(%r12), %rcx
	mov 528(%r12), %rdx
	mov 536(%r12), %rbx
	fxrstor64 (%r12)
	pushq 544(%r12)
	popfq
	call *%r11
	pushfq
	popq 544(%r12)
	mov %rax, 512(%r12)
	mov %rcx, 520(%r12)
	mov %rdx, 528(%r12)
	mov %rbx, 536(%r12)
	fxsave64 (%r12)
faulted:
	fninit
	mov $0x1f80, %eax
	push %rax
	ldmxcsr (%rsp)
	pop %rax
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret
	.section .note.GNU-stack,"",@progbits
`

func newSIMDHost(t testing.TB, texts []string) *simdHost {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc to build the program that asks the host's processor")
	}
	var s strings.Builder
	s.WriteString("\t.text\n")
	for i, text := range texts {
		fmt.Fprintf(&s, "stub%d:\n\t%s\nend%d:\n\tret\n", i, text, i)
	}
	s.WriteString("\t.section .data.rel.ro,\"aw\"\n\t.globl stubs, count\nstubs:\n")
	for i := range texts {
		fmt.Fprintf(&s, "\t.quad stub%d, end%d\n", i, i)
	}
	fmt.Fprintf(&s, "count:\t.quad %d\n\t.text\n%s", len(texts), simdHostAsm)
	dir := t.TempDir()
	main, stubs, program := filepath.Join(dir, "main.c"), filepath.Join(dir, "stubs.s"), filepath.Join(dir, "host")
	require.NoError(t, os.WriteFile(main, []byte(simdHostC), 0o600))
	require.NoError(t, os.WriteFile(stubs, []byte(s.String()), 0o600))
	out, err := exec.Command(gcc, "-O1", "-o", program, main, stubs).CombinedOutput()
	require.NoError(t, err, string(out))
	h := &simdHost{program: program}
	lines, err := exec.Command(program).Output()
	require.NoError(t, err)
	require.Len(t, lines, 16*len(texts))
	for ; len(lines) > 0; lines = lines[16:] {
		h.code = append(h.code, lines[1:1+lines[0]])
	}
	return h
}

// run executes each record's instruction.
func (h *simdHost) run(t testing.TB, ins []simdRecord) []simdRecord {
	t.Helper()
	var stdin, stdout bytes.Buffer
	require.NoError(t, binary.Write(&stdin, binary.LittleEndian, ins))
	command := exec.Command(h.program)
	command.Stdin, command.Stdout = &stdin, &stdout
	require.NoError(t, command.Run())
	stdout.Next(16 * len(h.code))
	outs := make([]simdRecord, len(ins))
	require.NoError(t, binary.Read(&stdout, binary.LittleEndian, outs))
	return outs
}

// simdHostHas reports a flag of /proc/cpuinfo.
func simdHostHas(t testing.TB) func(flag string) bool {
	t.Helper()
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skip("no /proc/cpuinfo to know the host's processor by")
	}
	flags := map[string]bool{}
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "flags" {
			for _, f := range strings.Fields(value) {
				flags[f] = true
			}
		}
	}
	return func(flag string) bool { return flags[flag] }
}

// Numbers that floating-point and integer lanes are made of.
var (
	lanes32 = []uint32{
		0, 1 << 31, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00001, 0xffc12345, 0x7f800001, 0xff923456,
		1, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x3f000000, 0x40200000, 0xc0600000, 0x3fffffff,
		0x4f000000, 0xcf000000, 0xcf000001, 0x4effffff, 0x5f000000, 0xdf000000, 0x33800000, 0x1f800000, 0x40490fdb,
	}
	lanes64 = []uint64{
		0, 1 << 63, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000001,
		0xfff8123456789abc, 0x7ff0000000000001, 0xfff4123456789abc, 1, 1<<63 | 1, 0x000fffffffffffff, 0x0010000000000000,
		0x7fefffffffffffff, 0xffefffffffffffff, 0x3fe0000000000000, 0x4004000000000000, 0xc00c000000000000,
		0x41dfffffffc00000, 0x41dfffffffe00000, 0xc1e0000000000000, 0xc1e0000000200000, 0x43e0000000000000, 0xc3e0000000000000,
		0x3690000000000000, 0x380fffffffffffff, 0x47efffffefffffff, 0x47effffff0000000, 0x400921fb54442d18, 0x1ff0000000000000,
	}
)

// randomLanes is 16 bytes that mean something in lanes of some size.
func randomLanes(r *rand.Rand) []byte {
	var b []byte
	switch kind := r.IntN(8); kind {
	case 0, 1, 2:
		for range 4 {
			v := lanes32[r.IntN(len(lanes32))]
			if r.IntN(3) == 0 { // a number of common size
				v = r.Uint32()&0x807fffff | uint32(127-12+r.IntN(40))<<23
			}
			b = binary.LittleEndian.AppendUint32(b, v)
		}
	case 3, 4, 5:
		for range 2 {
			v := lanes64[r.IntN(len(lanes64))]
			if r.IntN(3) == 0 {
				v = r.Uint64()&0x800fffffffffffff | uint64(1023-12+r.IntN(80))<<52
			}
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	case 6: // small numbers: shift counts, integers
		for range 2 {
			b = binary.LittleEndian.AppendUint64(b, r.Uint64N(80))
		}
	default:
		for range 2 {
			b = binary.LittleEndian.AppendUint64(b, r.Uint64())
		}
	}
	return b
}

// randomSIMD is a state for one instruction.
func randomSIMD(r *rand.Rand) (s simdRecord) {
	p := s.FX[:]
	binary.LittleEndian.PutUint16(p[0:], 0x37f)
	binary.LittleEndian.PutUint16(p[2:], uint16(r.Uint32())&0x7f00) // top and conditions, no exceptions
	p[4] = uint8(r.Uint32())
	if r.IntN(16) == 0 { // an x87 exception is pending
		p[0], p[2], p[3] = 0x7e, 0x81, p[3]|0x80
	}
	mxcsr := uint32(0x1f80)
	switch r.IntN(4) {
	case 0: // whatever, with exceptions that may not be masked
		mxcsr = r.Uint32() & 0xffff
	case 1: // masked, with a rounding mode, DAZ and FTZ
		mxcsr |= r.Uint32() & 0xe07f
	case 2:
		mxcsr |= r.Uint32() & 0x003f
	}
	binary.LittleEndian.PutUint32(p[24:], mxcsr)
	for i := range 8 {
		copy(p[32+16*i:], randomLanes(r)[:10])
	}
	for i := range 16 {
		s.setXMM(i, randomLanes(r))
	}
	if r.IntN(8) == 0 {
		s.setXMM(2, p[160+16:160+32])
	}
	for i := range s.GPR {
		switch s.GPR[i] = r.Uint64(); r.IntN(4) {
		case 0, 1: // lengths of strings
			s.GPR[i] = uint64(int64(r.IntN(41) - 20))
		case 2: // and of those of which only the lower half is one
			s.GPR[i] = s.GPR[i]<<32 | r.Uint64N(20)
		}
	}
	s.Flags = r.Uint64()&flagsArith | 0x202
	for i := 0; i < len(s.Memory); i += 16 {
		copy(s.Memory[i:], randomLanes(r))
	}
	return s
}
