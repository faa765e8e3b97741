package hw

import (
	"encoding/binary"

	"gvmm/kvm"
	"gvmm/vmm/memory"
)

// The probe's guest-physical layout, mapped one to one and open to CPL 3.
const (
	probeRAM      = 1 << 20
	probePML4     = 0x1000
	probePDPT     = 0x2000
	probePD       = 0x3000
	probeDevices  = 0x4000 // page directory of 3-4 GiB
	probeGDT      = 0x5000
	probeIDT      = 0x6000
	probeTSS      = 0x8000
	probeData     = 0x10000
	probeCode     = 0x20000
	probeKernel   = 0x28000 // stack of CPL 0
	probeIST      = 0x2a000
	probeUser     = 0x30000 // stack of CPL 3
	probeVector   = 0x60
	probeUserCS   = 0x33
	probeUserSS   = 0x2b
	probeKernelCS = 0x10
)

// Words at probeData that the guest writes.
const (
	probeCount   = probeData      // interrupts handled
	probeStarted = probeData + 8  // 1 once it spins
	probeStamp   = probeData + 16 // TSC at the handler
	probeRIP     = probeData + 24 // of the interrupted code, from the frame
	probeRSP     = probeData + 32
	probeBeat    = probeData + 40 // rounds of the loop
)

// Entries in probeProgram.
const (
	probeSpin   = probeCode
	probeStub   = probeCode + 0x40 // stamps, then spins again: what the shim and the kick enter
	probeDirect = probeCode + 0x80
	probeShim   = probeCode + 0xc0
	probeEnd    = probeSpin + 0x40
)

// probeProgram is the guest's code; the test disassembles it.
var probeProgram = map[uint64][]byte{
	probeSpin: {
		0xbf, 0x00, 0x00, 0x01, 0x00, //                mov edi, probeData
		0x48, 0xc7, 0x47, 0x08, 0x01, 0x00, 0x00, 0x00, // mov qword [rdi+8], 1
		0xf3, 0x90, //                         1: pause
		0x48, 0xff, 0x47, 0x28, //                      inc qword [rdi+40]
		0xeb, 0xf8, //                                  jmp 1b
	},
	probeStub: {
		0xbf, 0x00, 0x00, 0x01, 0x00, // mov edi, probeData
		0x0f, 0x31, //                   rdtsc
		0x48, 0xc1, 0xe2, 0x20, //       shl rdx, 32
		0x48, 0x09, 0xd0, //             or rax, rdx
		0x48, 0x89, 0x47, 0x10, //       mov [rdi+16], rax
		0x48, 0xff, 0x07, //             inc qword [rdi]
		0xeb, 0xa9, //                   jmp probeSpin
	},
	probeDirect: {
		0x50, 0x52, 0x57, //                          push rax, rdx, rdi
		0x0f, 0x31, //                                rdtsc
		0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, //  shl rdx, 32; or rax, rdx
		0xbf, 0x00, 0x00, 0x01, 0x00, //              mov edi, probeData
		0x48, 0x89, 0x47, 0x10, //                    mov [rdi+16], rax
		0x48, 0x8b, 0x44, 0x24, 0x18, 0x48, 0x89, 0x47, 0x18, // mov rax, [rsp+24]; mov [rdi+24], rax
		0x48, 0x8b, 0x44, 0x24, 0x30, 0x48, 0x89, 0x47, 0x20, // mov rax, [rsp+48]; mov [rdi+32], rax
		0x48, 0xff, 0x07, //                          inc qword [rdi]
		0xb8, 0xb0, 0x00, 0xe0, 0xfe, //              mov eax, EOI
		0xc7, 0x00, 0x00, 0x00, 0x00, 0x00, //        mov dword [rax], 0
		0x5f, 0x5a, 0x58, 0x48, 0xcf, //              pop rdi, rdx, rax; iretq
	},
	probeShim: {
		0x50,                                                                      // push rax
		0x48, 0x8b, 0x44, 0x24, 0x08, 0x48, 0x89, 0x04, 0x25, 0x18, 0x00, 0x01, 0, // mov rax, [rsp+8]; mov [probeRIP], rax
		0x48, 0x8b, 0x44, 0x24, 0x20, 0x48, 0x89, 0x04, 0x25, 0x20, 0x00, 0x01, 0, // mov rax, [rsp+32]; mov [probeRSP], rax
		0x48, 0xc7, 0x44, 0x24, 0x08, 0x40, 0x00, 0x02, 0x00, // mov qword [rsp+8], probeStub
		0xb8, 0xb0, 0x00, 0xe0, 0xfe, // mov eax, EOI
		0xc7, 0x00, 0x00, 0x00, 0x00, 0x00, // mov dword [rax], 0
		0x58, 0x48, 0xcf, // pop rax; iretq
	},
}

// probeMemory fills the guest's memory.
func probeMemory(m *memory.Memory, handler uint64, direct bool) error {
	set := func(addr, v uint64) error { return m.Store64(addr, v) }
	const table, page, device = 7, 0x87, 0x97
	words := map[uint64]uint64{
		probePML4: probePDPT | table, probePDPT: probePD | table, probePDPT + 3*8: probeDevices | table,
		probePD:         page,
		probeGDT + 0x10: 0x00af9b000000ffff, probeGDT + 0x18: 0x00cf93000000ffff,
		probeGDT + 0x28: 0x00cff3000000ffff, probeGDT + 0x30: 0x00affb000000ffff,
		probeGDT + 0x40:                       0x0000890000000067 | probeTSS<<16,
		probeDevices + (0xfee00000>>21&511)*8: 0xfee00000 | device,
	}
	for addr, v := range words {
		if err := set(addr, v); err != nil {
			return err
		}
	}
	var tss [0x68]byte
	binary.LittleEndian.PutUint64(tss[4:], probeKernel)
	binary.LittleEndian.PutUint64(tss[36:], probeIST)
	binary.LittleEndian.PutUint16(tss[102:], 0x68)
	if err := m.WriteAt(tss[:], probeTSS); err != nil {
		return err
	}
	for addr, code := range probeProgram {
		if err := m.WriteAt(code, addr); err != nil {
			return err
		}
	}
	// Trap gate to CPL 3, or interrupt gate to CPL 0; both on IST 1.
	low := handler&0xffff | probeKernelCS<<16 | 1<<32 | 0x8e<<40 | handler>>16<<48
	if direct {
		low = handler&0xffff | probeUserCS<<16 | 1<<32 | 0xef<<40 | handler>>16<<48
	}
	return set(probeIDT+16*probeVector, low)
}

// probeRegisters puts the processor into the loop at CPL 3.
func probeRegisters(v *kvm.VCPU) error {
	var s kvm.SRegs
	if err := v.GetSRegs(&s); err != nil {
		return err
	}
	data := kvm.Segment{Limit: 0xffffffff, Selector: probeUserSS, Type: 3, Present: 1, DPL: 3, DB: 1, S: 1, G: 1}
	code := data
	code.Selector, code.Type, code.DB, code.L = probeUserCS, 11, 0, 1
	s.CS, s.SS, s.DS, s.ES, s.FS, s.GS = code, data, data, data, data, data
	s.TR = kvm.Segment{Base: probeTSS, Limit: 0x67, Selector: 0x40, Type: 11, Present: 1}
	s.LDT = kvm.Segment{Type: 2, Unusable: 1}
	s.GDT = kvm.DTable{Base: probeGDT, Limit: 0x4f}
	s.IDT = kvm.DTable{Base: probeIDT, Limit: 0xfff}
	s.CR0, s.CR3, s.CR4, s.EFER = 0x80050033, probePML4, 0x620, 0xd01
	if err := v.SetSRegs(&s); err != nil {
		return err
	}
	var apic kvm.LAPIC
	if err := v.GetLAPIC(&apic); err != nil {
		return err
	}
	apic.SetReg(0xf0, 0x1ff)
	if err := v.SetLAPIC(&apic); err != nil {
		return err
	}
	return v.SetRegs(&kvm.Regs{RIP: probeSpin, RSP: probeUser, RFLAGS: 0x202})
}
