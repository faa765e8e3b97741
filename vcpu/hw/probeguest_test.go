package hw

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/arch/x86/x86asm"
)

// disassemble lists the instructions of a part of the probe's program, jumps
// with their targets.
func disassemble(t *testing.T, at uint64) (out []string) {
	t.Helper()
	code := probeProgram[at]
	for len(code) > 0 {
		i, err := x86asm.Decode(code, 64)
		require.NoError(t, err)
		out = append(out, x86asm.IntelSyntax(i, at, nil))
		code, at = code[i.Len:], at+uint64(i.Len)
	}
	return out
}

func TestTheProbesProgramIsWhatItSays(t *testing.T) {
	data := fmt.Sprintf("mov edi, %#x", probeData)
	const eoi = "mov eax, -0x11fff50" // 0xfee000b0
	stamp := []string{"rdtsc", "shl rdx, 0x20", "or rax, rdx"}
	list := func(parts ...any) (all []string) {
		for _, p := range parts {
			switch p := p.(type) {
			case string:
				all = append(all, p)
			case []string:
				all = append(all, p...)
			}
		}
		return all
	}
	for at, want := range map[uint64][]string{
		probeSpin: {data, "mov qword ptr [rdi+0x8], 0x1", "pause", "inc qword ptr [rdi+0x28]", fmt.Sprintf("jmp %#x", probeSpin+0xd)},
		probeStub: list(data, stamp, "mov qword ptr [rdi+0x10], rax", "inc qword ptr [rdi]", fmt.Sprintf("jmp %#x", probeSpin)),
		probeDirect: list("push rax", "push rdx", "push rdi", stamp, data, "mov qword ptr [rdi+0x10], rax",
			"mov rax, qword ptr [rsp+0x18]", "mov qword ptr [rdi+0x18], rax",
			"mov rax, qword ptr [rsp+0x30]", "mov qword ptr [rdi+0x20], rax",
			"inc qword ptr [rdi]", eoi, "mov dword ptr [rax], 0x0", "pop rdi", "pop rdx", "pop rax", "iretq"),
		probeShim: list("push rax",
			"mov rax, qword ptr [rsp+0x8]", fmt.Sprintf("mov qword ptr [%#x], rax", probeRIP),
			"mov rax, qword ptr [rsp+0x20]", fmt.Sprintf("mov qword ptr [%#x], rax", probeRSP),
			fmt.Sprintf("mov qword ptr [rsp+0x8], %#x", probeStub),
			eoi, "mov dword ptr [rax], 0x0", "pop rax", "iretq"),
	} {
		require.Equal(t, want, disassemble(t, at), "%#x", at)
	}
}
