package gdb

import (
	"encoding/binary"
	"fmt"
	"strings"

	"gvmm/vcpu"
)

// register is one of the target description: how many bytes of a thread's image it
// has, and how it is read and written.
type register struct {
	name, kind string
	feature    int // index of features
	size       int
	get        func(r *vcpu.Registers, p []byte)
	set        func(r *vcpu.Registers, p []byte)
}

// features are those of GDB's manual, §G.5.7, and one of ours.
var features = [...]string{"org.gnu.gdb.i386.core", "org.gnu.gdb.i386.sse", "org.gnu.gdb.i386.segments", "gvmm.x86.system"}

const (
	featureCore = iota
	featureSSE
	featureSegments
	featureSystem
)

// registers are all of them, by number.
var registers = makeRegisters()

// imageSize is the length of the image that g reads, in bytes.
var imageSize = func() (n int) {
	for i := range registers {
		n += registers[i].size
	}
	return n
}()

// Numbers of the registers that a stop reply gives along.
const (
	numberRSP = 7
	numberRIP = 16
)

func makeRegisters() []register {
	var all []register
	feature := featureCore
	// word adds an unsigned number of n bytes.
	word := func(name, kind string, n int, at func(r *vcpu.Registers) *uint64) {
		all = append(all, register{name: name, kind: kind, feature: feature, size: n,
			get: func(r *vcpu.Registers, p []byte) {
				var b [8]byte
				binary.LittleEndian.PutUint64(b[:], *at(r))
				copy(p, b[:])
			},
			set: func(r *vcpu.Registers, p []byte) {
				var b [8]byte
				copy(b[:], p)
				*at(r) = binary.LittleEndian.Uint64(b[:])
			}})
	}
	short := func(name string, at func(r *vcpu.Registers) *uint16) {
		all = append(all, register{name: name, kind: "int32", feature: feature, size: 4,
			get: func(r *vcpu.Registers, p []byte) { binary.LittleEndian.PutUint32(p, uint32(*at(r))) },
			set: func(r *vcpu.Registers, p []byte) { *at(r) = binary.LittleEndian.Uint16(p) }})
	}
	half := func(name string, at func(r *vcpu.Registers) *uint64) {
		all = append(all, register{name: name, kind: "int32", feature: feature, size: 4,
			get: func(r *vcpu.Registers, p []byte) { binary.LittleEndian.PutUint32(p, uint32(*at(r))) },
			set: func(r *vcpu.Registers, p []byte) {
				*at(r) = *at(r)&^0xffffffff | uint64(binary.LittleEndian.Uint32(p))
			}})
	}
	for i, g := range [...]struct {
		name   string
		number int
	}{
		{"rax", 0}, {"rbx", 3}, {"rcx", 1}, {"rdx", 2}, {"rsi", 6}, {"rdi", 7}, {"rbp", 5}, {"rsp", 4},
		{"r8", 8}, {"r9", 9}, {"r10", 10}, {"r11", 11}, {"r12", 12}, {"r13", 13}, {"r14", 14}, {"r15", 15},
	} {
		kind := "int64"
		if i == 6 || i == 7 {
			kind = "data_ptr"
		}
		word(g.name, kind, 8, func(r *vcpu.Registers) *uint64 { return &r.General[g.number] })
	}
	word("rip", "code_ptr", 8, func(r *vcpu.Registers) *uint64 { return &r.RIP })
	word("eflags", "flags", 4, func(r *vcpu.Registers) *uint64 { return &r.RFLAGS })
	for _, s := range [...]struct {
		name   string
		number int
	}{{"cs", 1}, {"ss", 2}, {"ds", 3}, {"es", 0}, {"fs", 4}, {"gs", 5}} {
		short(s.name, func(r *vcpu.Registers) *uint16 { return &r.Selectors[s.number] })
	}
	for i := range 8 {
		all = append(all, register{name: fmt.Sprintf("st%d", i), kind: "i387_ext", size: 10,
			get: func(r *vcpu.Registers, p []byte) { copy(p, r.X87.ST[i][:]) },
			set: func(r *vcpu.Registers, p []byte) { copy(r.X87.ST[i][:], p) }})
	}
	short("fctrl", func(r *vcpu.Registers) *uint16 { return &r.X87.Control })
	short("fstat", func(r *vcpu.Registers) *uint16 { return &r.X87.Status })
	all = append(all, register{name: "ftag", kind: "int32", size: 4, get: getTag, set: setTag})
	short("fiseg", func(r *vcpu.Registers) *uint16 { return &r.X87.InstructionSel })
	half("fioff", func(r *vcpu.Registers) *uint64 { return &r.X87.Instruction })
	short("foseg", func(r *vcpu.Registers) *uint16 { return &r.X87.DataSel })
	half("fooff", func(r *vcpu.Registers) *uint64 { return &r.X87.Data })
	short("fop", func(r *vcpu.Registers) *uint16 { return &r.X87.Opcode })

	feature = featureSSE
	for i := range 16 {
		all = append(all, register{name: fmt.Sprintf("xmm%d", i), kind: "vec128", feature: feature, size: 16,
			get: func(r *vcpu.Registers, p []byte) { copy(p, r.XMM[i][:]) },
			set: func(r *vcpu.Registers, p []byte) { copy(r.XMM[i][:], p) }})
	}
	all = append(all, register{name: "mxcsr", kind: "int32", feature: feature, size: 4,
		get: func(r *vcpu.Registers, p []byte) { binary.LittleEndian.PutUint32(p, r.MXCSR) },
		set: func(r *vcpu.Registers, p []byte) { r.MXCSR = binary.LittleEndian.Uint32(p) }})

	feature = featureSegments
	word("fs_base", "int64", 8, func(r *vcpu.Registers) *uint64 { return &r.FSBase })
	word("gs_base", "int64", 8, func(r *vcpu.Registers) *uint64 { return &r.GSBase })

	feature = featureSystem
	word("k_gs_base", "int64", 8, func(r *vcpu.Registers) *uint64 { return &r.KernelGSBase })
	word("cr0", "int64", 8, func(r *vcpu.Registers) *uint64 { return &r.CR0 })
	word("cr2", "int64", 8, func(r *vcpu.Registers) *uint64 { return &r.CR2 })
	word("cr3", "int64", 8, func(r *vcpu.Registers) *uint64 { return &r.CR3 })
	word("cr4", "int64", 8, func(r *vcpu.Registers) *uint64 { return &r.CR4 })
	word("cr8", "int64", 8, func(r *vcpu.Registers) *uint64 { return &r.CR8 })
	word("efer", "int64", 8, func(r *vcpu.Registers) *uint64 { return &r.EFER })
	return all
}

// getTag makes the x87 tag word of SDM 1 §8.1.7: two bits a physical register.
func getTag(r *vcpu.Registers, p []byte) {
	var tags uint32
	top := int(r.X87.Status >> 11 & 7)
	for physical := range 8 {
		tag := uint32(3) // empty
		if r.X87.Tag>>physical&1 != 0 {
			st := &r.X87.ST[(physical-top)&7]
			exponent := binary.LittleEndian.Uint16(st[8:]) & 0x7fff
			significand := binary.LittleEndian.Uint64(st[:])
			switch {
			case exponent == 0 && significand == 0:
				tag = 1
			case exponent == 0 || exponent == 0x7fff || significand>>63 == 0:
				tag = 2
			default:
				tag = 0
			}
		}
		tags |= tag << (2 * physical)
	}
	binary.LittleEndian.PutUint32(p, tags)
}

func setTag(r *vcpu.Registers, p []byte) {
	tags := binary.LittleEndian.Uint16(p)
	r.X87.Tag = 0
	for i := range 8 {
		if tags>>(2*i)&3 != 3 {
			r.X87.Tag |= 1 << i
		}
	}
}

// flagNames are the bits of EFLAGS that have a name.
var flagNames = [...]struct {
	bit  int
	name string
}{
	{0, "CF"}, {2, "PF"}, {4, "AF"}, {6, "ZF"}, {7, "SF"}, {8, "TF"}, {9, "IF"}, {10, "DF"}, {11, "OF"}, {14, "NT"},
	{16, "RF"}, {17, "VM"}, {18, "AC"}, {19, "VIF"}, {20, "VIP"}, {21, "ID"},
}

// description is the target description, target.xml.
var description = func() string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd">` + "\n" +
		`<target version="1.0"><architecture>i386:x86-64</architecture>` + "\n")
	for f, name := range features {
		fmt.Fprintf(&b, "<feature name=%q>\n", name)
		switch f {
		case featureCore:
			b.WriteString(`<flags id="flags" size="4">`)
			for _, n := range flagNames {
				fmt.Fprintf(&b, `<field name=%q start="%d" end="%d"/>`, n.name, n.bit, n.bit)
			}
			b.WriteString("</flags>\n")
		case featureSSE:
			b.WriteString(vectorTypes)
		}
		for _, r := range registers {
			if r.feature == f {
				fmt.Fprintf(&b, `<reg name=%q bitsize="%d" type=%q/>`+"\n", r.name, r.size*8, r.kind)
			}
		}
		b.WriteString("</feature>\n")
	}
	b.WriteString("</target>\n")
	return b.String()
}()

const vectorTypes = `<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>` +
	`<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>` +
	`<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>` +
	`<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>` +
	`<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/>` +
	`<field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>` + "\n"
