package simd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vcpu/soft/simd"
)

// input and output are records that the host program reads and writes.
type input struct {
	A, B, C  simd.Vec // xmm1 and mm1, xmm2 and mm2, xmm0
	RAX, RDX uint64
	Stub     uint32 // which instruction
	Imm      uint32 // with which immediate
}

type output struct {
	XMM1, XMM0 simd.Vec
	MM1        uint64
	RAX, RCX   uint64
	Flags      uint64
}

// arithmeticFlags are CF, PF, AF, ZF, SF, OF.
const arithmeticFlags = 0x8D5

// host asks the processor under the test. It is a program that gcc makes from cases'
// texts, one function for each immediate of each, 32 bytes apart.
const hostMain = `
	.globl main
main:
	push %rbx
	push %r12
	push %rbp
	lea in(%rip), %rbx
	lea stubs(%rip), %r12
1:	mov stdin(%rip), %rcx
	mov %rbx, %rdi
	mov $72, %esi
	mov $1, %edx
	call fread@PLT
	test %rax, %rax
	jz 2f
	mov 64(%rbx), %eax
	mov (%r12,%rax,8), %r8
	mov 68(%rbx), %eax
	shl $5, %rax
	add %rax, %r8
	movdqu (%rbx), %xmm1
	movdqu 16(%rbx), %xmm2
	movdqu 32(%rbx), %xmm0
	movq (%rbx), %mm1
	movq 16(%rbx), %mm2
	mov 48(%rbx), %rax
	mov 56(%rbx), %rdx
	xor %ecx, %ecx
	push %rcx
	call *%r8
	pushfq
	pop %r9
	pop %r8
	lea out(%rip), %rdi
	movdqu %xmm1, (%rdi)
	movdqu %xmm0, 16(%rdi)
	movq %mm1, 32(%rdi)
	mov %rax, 40(%rdi)
	mov %rcx, 48(%rdi)
	mov %r9, 56(%rdi)
	emms
	mov $64, %esi
	mov $1, %edx
	mov stdout(%rip), %rcx
	call fwrite@PLT
	jmp 1b
2:	pop %rbp
	pop %r12
	pop %rbx
	xor %eax, %eax
	ret
	.bss
	.balign 16
in:	.skip 80
out:	.skip 64
	.section .note.GNU-stack,"",@progbits
`

func hostProgram(t *testing.T, cases []operation) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc to build the program that asks the host's processor")
	}
	var s strings.Builder
	s.WriteString("\t.text\n")
	for i, c := range cases {
		fmt.Fprintf(&s, "\t.balign 32\nstub%d:\n\tI=0\n\t.rept %d\n\t%s\n\tret\n\t.balign 32\n\tI=I+1\n\t.endr\n", i, c.imms(), c.text)
	}
	s.WriteString("\t.section .data.rel.ro,\"aw\"\nstubs:\n")
	for i := range cases {
		fmt.Fprintf(&s, "\t.quad stub%d\n", i)
	}
	s.WriteString("\t.text\n" + hostMain)
	dir := t.TempDir()
	source, program := filepath.Join(dir, "host.s"), filepath.Join(dir, "host")
	require.NoError(t, os.WriteFile(source, []byte(s.String()), 0o600))
	out, err := exec.Command(gcc, "-o", program, source).CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

func hostFlags(t *testing.T) []string {
	t.Helper()
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skip("no /proc/cpuinfo to know the host's processor by")
	}
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "flags" {
			return strings.Fields(value)
		}
	}
	t.Skip("no x86 flags in /proc/cpuinfo")
	return nil
}

// operands come from what makes lanes saturate, compare equal and change sign.
func randomVec(r *rand.Rand) simd.Vec {
	edges := []uint64{
		0, ^uint64(0), 0x8080808080808080, 0x7F7F7F7F7F7F7F7F, 0x8000800080008000, 0x7FFF7FFF7FFF7FFF,
		0x8000000080000000, 0x7FFFFFFF7FFFFFFF, 0x0101010101010101, 1, 15, 31, 63,
	}
	half := func() uint64 {
		switch r.IntN(5) {
		case 0:
			return edges[r.IntN(len(edges))]
		case 1: // few values, zeros and equal neighbours
			return r.Uint64() & 0x0303030303030303
		case 2: // words near zero, signed
			var v uint64
			for range 4 {
				v = v<<16 | uint64(uint16(r.IntN(7)-3))
			}
			return v
		}
		return r.Uint64()
	}
	return simd.Vec{Lo: half(), Hi: half()}
}

func randomInput(r *rand.Rand, c operation) input {
	in := input{A: randomVec(r), B: randomVec(r), C: randomVec(r), RAX: r.Uint64(), RDX: r.Uint64()}
	if c.count && r.IntN(4) > 0 {
		in.B.Lo = r.Uint64N(70)
	}
	if r.IntN(4) == 0 {
		in.B = in.A
	}
	if c.lengths {
		for _, l := range []*uint64{&in.RAX, &in.RDX} {
			switch r.IntN(8) {
			case 0: // whatever it is
			case 1:
				*l = 1 << 63
			case 2:
				*l = 1 << 31
			default:
				*l = uint64(r.IntN(41) - 20)
			}
		}
	}
	return in
}

func TestOperationsAreTheHostProcessors(t *testing.T) {
	has := hostFlags(t)
	known := slices.DeleteFunc(operations(), func(c operation) bool {
		if slices.Contains(has, c.feature) {
			return false
		}
		t.Logf("not compared, the host has no %s: %s", c.feature, c.text)
		return true
	})
	program := hostProgram(t, known)

	r := rand.New(rand.NewPCG(1, 2))
	var ins []input
	for stub, c := range known {
		for imm := range c.imms() {
			for range max(800/c.imms(), 24) {
				in := randomInput(r, c)
				in.Stub, in.Imm = uint32(stub), uint32(imm)
				ins = append(ins, in)
			}
		}
	}
	var stdin, stdout bytes.Buffer
	require.NoError(t, binary.Write(&stdin, binary.LittleEndian, ins))
	command := exec.Command(program)
	command.Stdin, command.Stdout = &stdin, &stdout
	require.NoError(t, command.Run())
	outs := make([]output, len(ins))
	require.NoError(t, binary.Read(&stdout, binary.LittleEndian, outs))

	if testing.Verbose() {
		t.Logf("%d cases of %d operations", len(ins), len(known))
	}
	wrong := make(map[uint32]int)
	for i, in := range ins {
		c := known[in.Stub]
		got := output{XMM1: in.A, XMM0: in.C, MM1: in.A.Lo, RAX: in.RAX}
		want := outs[i]
		c.do(&in, &got)
		if c.flags {
			want.Flags &= arithmeticFlags
		} else {
			want.Flags = 0
		}
		if got == want {
			continue
		}
		if wrong[in.Stub]++; wrong[in.Stub] <= 2 {
			t.Errorf("%s, imm %#x\n  of %x\n got %x\nwant %x", c.text, in.Imm, in, got, want)
		}
	}
}
