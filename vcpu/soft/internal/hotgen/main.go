// Command hotgen writes the run loop's switch, vcpu/soft/hot_unsafe.go: one case
// for each combination of operation, operand form and size that is worth one. Go
// inlines no case by itself and calls cost more than instructions, so the cases
// are written out.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"log"
	"os"
	"strings"
)

// hot is one case.
type hot struct {
	name string // of its code
	op   string // decode's
	form string
	mem  bool
	size int  // in bytes
	cc   int  // condition, -1 for any
	flat bool // the operand is base and displacement alone
	body string
}

var cases []hot

// add adds a case. One with a memory operand gets a second for operands without
// index and segment, which most are.
func add(h hot) {
	cases = append(cases, h)
	if h.mem && strings.Contains(h.body, address) {
		h.flat = true
		h.name += "Base"
		h.body = strings.Replace(h.body, address, flatAddress, 1)
		cases = append(cases, h)
	} else if h.mem && h.name == "" { // another case's
		h.flat = true
		h.body += "Base"
		cases = append(cases, h)
	}
}

// uintN is Go's type of n bytes.
func uintN(n int) string { return fmt.Sprintf("uint%d", 8*n) }

func sizeName(n int) string { return fmt.Sprintf("size%d", 8*n) }

// Pieces of bodies.
const (
	address = "la = r[o.base] + r[o.index]<<(o.scale&3) + uint64(int64(o.disp)) + c.bases[o.seg&7]\n" +
		"e = &t[la>>12&(tlbSize-1)]\n"
	flatAddress = "la = r[o.base] + uint64(int64(o.disp))\n" +
		"e = &t[la>>12&(tlbSize-1)]\n"
	regA = "r[o.a]"
	regB = "r[o.b]"
)

// load sets v to n bytes of memory.
func load(n int) string {
	return address + fmt.Sprintf("off = la - e.read\nif off > 4096-%d {\ngoto generic\n}\nv = uint64(*(*%s)(unsafe.Add(e.p, off)))\n", n, uintN(n))
}

// store writes an expression to memory.
func store(n int, value string) string {
	return address + fmt.Sprintf("off = la - e.write\nif off > 4096-%d {\ngoto generic\n}\n*(*%s)(unsafe.Add(e.p, off)) = %s(%s)\n", n, uintN(n), uintN(n), value)
}

// modify loads v from memory that may be written, for put.
func modify(n int) string {
	return address + fmt.Sprintf("off = la - e.write\nif off > 4096-%d {\ngoto generic\n}\nv = uint64(*(*%s)(unsafe.Add(e.p, off)))\n", n, uintN(n))
}

func put(n int, value string) string {
	return fmt.Sprintf("*(*%s)(unsafe.Add(e.p, off)) = %s(%s)\n", uintN(n), uintN(n), value)
}

// cut masks an expression to n bytes.
func cut(n int, e string) string {
	if n == 8 {
		return e
	}
	return fmt.Sprintf("uint64(%s(%s))", uintN(n), e)
}

// set writes an expression of n bytes, already cut, to a register.
func set(n int, reg, e string) string {
	switch n {
	case 1:
		return fmt.Sprintf("%s = %s&^0xff | %s\n", reg, reg, e)
	case 2:
		return fmt.Sprintf("%s = %s&^0xffff | %s\n", reg, reg, e)
	}
	return fmt.Sprintf("%s = %s\n", reg, e)
}

// kind is a class of flags with the operand size, of which one byte's is 0.
func kind(class string, n int) string {
	if n == 1 {
		return class
	}
	return class + "|" + sizeName(n)
}

func lazy(class string, n int, result, b string) string {
	return fmt.Sprintf("c.flagKind, c.flagR, c.flagB = %s, %s, %s\n", kind(class, n), result, b)
}

// alu computes v = v OP w with flags; v and w are cut to n bytes.
func alu(op string, n int) string {
	switch op {
	case "ADD":
		return "v = " + cut(n, "v + w") + "\n" + lazy("classAdd", n, "v", "w")
	case "SUB", "CMP":
		return "v = " + cut(n, "v - w") + "\n" + lazy("classSub", n, "v", "w")
	case "AND", "TEST":
		return "v &= w\n" + lazy("classLogic", n, "v", "0")
	case "OR":
		return "v |= w\n" + lazy("classLogic", n, "v", "0")
	case "XOR":
		return "v ^= w\n" + lazy("classLogic", n, "v", "0")
	case "ADC":
		return "off = c.carry()\nv = " + cut(n, "v + w + off") + "\n" +
			fmt.Sprintf("c.flagKind, c.flagR, c.flagB = %s+uint8(off)*(classAdc-classAdd), v, w\n", kind("classAdd", n))
	case "SBB":
		return "off = c.carry()\nv = " + cut(n, "v - w - off") + "\n" +
			fmt.Sprintf("c.flagKind, c.flagR, c.flagB = %s+uint8(off)*(classSbb-classSub), v, w\n", kind("classSub", n))
	}
	log.Fatal(op)
	return ""
}

func writes(op string) bool { return op != "CMP" && op != "TEST" }

func arithmetic() {
	for _, op := range []string{"ADD", "OR", "ADC", "SBB", "AND", "SUB", "XOR", "CMP", "TEST"} {
		for _, n := range []int{1, 4, 8} {
			a, b := cut(n, regA), cut(n, regB)
			imm := cut(n, "uint64(o.imm)")
			back := func(reg string) string {
				if !writes(op) {
					return ""
				}
				return set(n, reg, "v")
			}
			name := fmt.Sprintf("op%s%%s%d", op, 8*n)
			// A register operand of FormMR and FormRM: a is the destination, b the source.
			rr := "v, w = " + a + ", " + b + "\n" + alu(op, n) + back(regA)
			if op == "XOR" && n >= 4 {
				zero := regA + " = 0\n" + lazy("classLogic", n, "0", "0")
				add(hot{fmt.Sprintf("opZero%d", 8*n), "", "", false, n, -1, false,
					zero})
			}
			add(hot{fmt.Sprintf(name, "RR"), op, "MR", false, n, -1, false,
				rr})
			add(hot{"", op, "RM", false, n, -1, false,
				fmt.Sprintf(name, "RR")})
			add(hot{fmt.Sprintf(name, "RI"), op, "MI", false, n, -1, false,
				"v, w = " + a + ", " + imm + "\n" + alu(op, n) + back(regA)})
			if op != "TEST" {
				add(hot{fmt.Sprintf(name, "RM"), op, "RM", true, n, -1, false,
					load(n) + "v, w = " + a + ", v\n" + alu(op, n) + back(regA)})
			}
			memory := func(source string) string {
				if op == "ADC" || op == "SBB" {
					// off is the address: the carry goes elsewhere.
					body := alu(op, n)
					body = strings.ReplaceAll(body, "off", "cf")
					return modify(n) + "w = " + source + "\n" + body + put(n, "v")
				}
				if writes(op) {
					return modify(n) + "w = " + source + "\n" + alu(op, n) + put(n, "v")
				}
				return load(n) + "w = " + source + "\n" + alu(op, n)
			}
			add(hot{fmt.Sprintf(name, "MR"), op, "MR", true, n, -1, false,
				memory(b)})
			add(hot{fmt.Sprintf(name, "MI"), op, "MI", true, n, -1, false,
				memory(imm)})
		}
	}
	for _, n := range []int{4, 8} {
		multiply := "off = uint64(int64(int32(v)) * int64(int32(w)))\nv = uint64(uint32(off))\nc.setProduct(off != uint64(int32(off)))\n"
		if n == 8 {
			multiply = "off, la = bits.Mul64(v, w)\noff -= v&uint64(int64(w)>>63) + w&uint64(int64(v)>>63)\nv = la\nc.setProduct(off != uint64(int64(la)>>63))\n"
		}
		add(hot{fmt.Sprintf("opIMULRR%d", 8*n), "IMUL", "RM", false, n, -1, false, "v, w = " + regA + ", " + regB + "\n" + multiply + set(n, regA, "v")})
		add(hot{fmt.Sprintf("opIMULRM%d", 8*n), "IMUL", "RM", true, n, -1, false, load(n) + "w = " + regA + "\n" + multiply + set(n, regA, "v")})
		add(hot{fmt.Sprintf("opIMULRRI%d", 8*n), "IMUL", "RMI", false, n, -1, false, "v, w = " + regB + ", uint64(o.imm)\n" + multiply + set(n, regA, "v")})
		for _, x := range []struct{ op, class, sign string }{{"INC", "classInc", "+"}, {"DEC", "classDec", "-"}} {
			body := "w = c.carry()\nv = " + cut(n, regA+" "+x.sign+" 1") + "\n" + lazy(x.class, n, "v", "w")
			add(hot{fmt.Sprintf("op%sR%d", x.op, 8*n), x.op, "M", false, n, -1, false,
				body + set(n, regA, "v")})
			body = modify(n) + "w = c.carry()\nv = " + cut(n, "v "+x.sign+" 1") + "\n" + lazy(x.class, n, "v", "w") + put(n, "v")
			add(hot{fmt.Sprintf("op%sM%d", x.op, 8*n), x.op, "M", true, n, -1, false,
				body})
		}
		add(hot{fmt.Sprintf("opNEGR%d", 8*n), "NEG", "M", false, n, -1, false,
			"w = " + cut(n, regA) + "\nv = " + cut(n, "-w") + "\n" + lazy("classSub", n, "v", "w") + set(n, regA, "v")})
		add(hot{fmt.Sprintf("opNOTR%d", 8*n), "NOT", "M", false, n, -1, false,
			set(n, regA, cut(n, "^"+regA))})
		for _, x := range []struct{ op, class, before, after string }{
			{"SHL", "classShl", "v << (w - 1)", "v << 1"},
			{"SHR", "classShr", "v >> (w - 1)", "v >> 1"},
			{"SAR", "classShr", "", ""},
		} {
			steps := "v = " + cut(n, x.before) + "\nw = v\nv = " + cut(n, x.after) + "\n"
			if x.op == "SAR" {
				s := fmt.Sprintf("int%d", 8*n)
				u := uintN(n)
				steps = fmt.Sprintf("w = uint64(%s(%s(v) >> (w - 1)))\nv = uint64(%s(%s(w) >> 1))\n", u, s, u, s)
			}
			body := "v, w = " + cut(n, regA) + ", uint64(o.imm)\n" + steps + lazy(x.class, n, "v", "w") + set(n, regA, "v")
			add(hot{fmt.Sprintf("op%sRI%d", x.op, 8*n), x.op, "MI", false, n, -1, false,
				body})
			mask := 8*n - 1
			body = fmt.Sprintf("w = r[1] & %d\nv = %s\nif w != 0 {\n%s%s}\n", mask, cut(n, regA), steps, lazy(x.class, n, "v", "w")) + set(n, regA, "v")
			add(hot{fmt.Sprintf("op%sRC%d", x.op, 8*n), x.op, "MC", false, n, -1, false,
				body})
		}
	}
}

func moves() {
	for _, n := range []int{1, 2, 4, 8} {
		add(hot{fmt.Sprintf("opMOVRR%d", 8*n), "MOV", "MR", false, n, -1, false,
			set(n, regA, cut(n, regB))})
		add(hot{"", "MOV", "RM", false, n, -1, false,
			fmt.Sprintf("opMOVRR%d", 8*n)})
		add(hot{fmt.Sprintf("opMOVRI%d", 8*n), "MOV", "MI", false, n, -1, false,
			set(n, regA, cut(n, "uint64(o.imm)"))})
		add(hot{fmt.Sprintf("opMOVRM%d", 8*n), "MOV", "RM", true, n, -1, false,
			load(n) + set(n, regA, "v")})
		add(hot{fmt.Sprintf("opMOVMR%d", 8*n), "MOV", "MR", true, n, -1, false,
			store(n, regB)})
		add(hot{fmt.Sprintf("opMOVMI%d", 8*n), "MOV", "MI", true, n, -1, false,
			store(n, "o.imm")})
	}
	add(hot{"opLEA64", "LEA", "RM", true, 8, -1, false,
		regA + " = r[o.base] + r[o.index]<<(o.scale&3) + uint64(int64(o.disp))\n"})
	add(hot{"opLEA32", "LEA", "RM", true, 4, -1, false,
		regA + " = uint64(uint32(r[o.base] + r[o.index]<<(o.scale&3) + uint64(int64(o.disp))))\n"})
	for _, from := range []int{1, 2} {
		u, s := uintN(from), fmt.Sprintf("int%d", 8*from)
		for _, n := range []int{4, 8} {
			name := fmt.Sprintf("%d%d", 8*from, 8*n)
			if n == 4 { // the 64-bit one zero-extends just as far
				add(hot{"opMOVZXR" + name, "MOVZX", "RM", false, n*16 + from, -1, false,
					regA + " = uint64(" + u + "(" + regB + "))\n"})
				add(hot{"opMOVZXM" + name, "MOVZX", "RM", true, n*16 + from, -1, false,
					load(from) + regA + " = v\n"})
			} else {
				add(hot{"", "MOVZX", "RM", false, n*16 + from, -1, false,
					fmt.Sprintf("opMOVZXR%d32", 8*from)})
				add(hot{"", "MOVZX", "RM", true, n*16 + from, -1, false,
					fmt.Sprintf("opMOVZXM%d32", 8*from)})
			}
			sx := cut(n, "uint64("+s+"(%s))")
			add(hot{"opMOVSXR" + name, "MOVSX", "RM", false, n*16 + from, -1, false,
				regA + " = " + fmt.Sprintf(sx, regB) + "\n"})
			add(hot{"opMOVSXM" + name, "MOVSX", "RM", true, n*16 + from, -1, false,
				load(from) + regA + " = " + fmt.Sprintf(sx, "v") + "\n"})
		}
	}
	add(hot{"opMOVSXDR", "MOVSXD", "RM", false, 8*16 + 4, -1, false,
		regA + " = uint64(int32(" + regB + "))\n"})
	add(hot{"opMOVSXDM", "MOVSXD", "RM", true, 8*16 + 4, -1, false,
		load(4) + regA + " = uint64(int32(v))\n"})
	add(hot{"opCBW64", "CBW", "None", false, 8, -1, false,
		"r[0] = uint64(int32(r[0]))\n"})
	add(hot{"opCWD64", "CWD", "None", false, 8, -1, false,
		"r[2] = uint64(int64(r[0]) >> 63)\n"})
	add(hot{"opCWD32", "CWD", "None", false, 4, -1, false,
		"r[2] = uint64(uint32(int32(r[0]) >> 31))\n"})
	add(hot{"opNOP", "", "", false, 0, -1, false,
		""})
	for _, n := range []int{4, 8} {
		add(hot{fmt.Sprintf("opCMOVRR%d", 8*n), "CMOVCC", "RM", false, n, -1, false,
			"v = " + regA + "\nif c.cond(o.b >> 4) {\nv = r[o.b&15]\n}\n" + regA + " = " + cut(n, "v") + "\n"})
		add(hot{fmt.Sprintf("opXCHGRR%d", 8*n), "XCHG", "MR", false, n, -1, false,
			regA + ", " + regB + " = " + cut(n, regB) + ", " + cut(n, regA) + "\n"})
		add(hot{fmt.Sprintf("opBSWAP%d", 8*n), "BSWAP", "M", false, n, -1, false,
			regA + " = uint64(bits.ReverseBytes" + fmt.Sprint(8*n) + "(" + uintN(n) + "(" + regA + ")))\n"})
	}
	add(hot{"opSETR", "SETCC", "M", false, 1, -1, false,
		"v = 0\nif c.cond(o.b) {\nv = 1\n}\n" + set(1, regA, "v")})
}

func stack() {
	stackAt := func(la string) string { return "la = " + la + "\ne = &t[la>>12&(tlbSize-1)]\n" }
	pushed := func(value string) string {
		return stackAt("r[4] - 8") + "off = la - e.write\nif off > 4096-8 {\ngoto generic\n}\n*(*uint64)(unsafe.Add(e.p, off)) = " + value + "\nr[4] = la\n"
	}
	add(hot{"opPUSHR", "PUSH", "M", false, 8, -1, false,
		pushed(regA)})
	add(hot{"opPUSHI", "PUSH", "None", false, 8, -1, false,
		pushed("uint64(o.imm)")})
	popped := stackAt("r[4]") + "off = la - e.read\nif off > 4096-8 {\ngoto generic\n}\nv = *(*uint64)(unsafe.Add(e.p, off))\n"
	add(hot{"opPOPR", "POP", "M", false, 8, -1, false,
		popped + "r[4] = la + 8\n" + regA + " = v\n"})
	add(hot{"opLEAVE", "LEAVE", "None", false, 8, -1, false,
		strings.Replace(popped, "la = r[4]", "la = r[5]", 1) + "r[4], r[5] = la + 8, v\n"})
	add(hot{"opCALL", "CALL", "None", false, 8, -1, false,
		pushed("start + uint64(o.at) + uint64(o.len)") + "c.rip = start + uint64(o.imm)\nlink = 1\ngoto direct\n"})
	add(hot{"opCALLR", "CALL", "M", false, 8, -1, false,
		"v = " + regA + "\nif (v^start)>>47 != 0 && !c.canonical(v) {\ngoto generic\n}\n" + pushed("start + uint64(o.at) + uint64(o.len)") + "c.rip = v\ngoto indirect\n"})
	add(hot{"opCALLM", "CALL", "M", true, 8, -1, false,
		load(8) + "if (v^start)>>47 != 0 && !c.canonical(v) {\ngoto generic\n}\n" + pushed("start + uint64(o.at) + uint64(o.len)") + "c.rip = v\ngoto indirect\n"})
	add(hot{"opRET", "RET", "None", false, 8, -1, false,
		popped + "if (v^start)>>47 != 0 && !c.canonical(v) {\ngoto generic\n}\nr[4] = la + 8 + uint64(o.imm)\nc.rip = v\ngoto indirect\n"})
	add(hot{"opJMP", "JMP", "None", false, 8, -1, false,
		"c.rip = start + uint64(o.imm)\nlink = 1\ngoto direct\n"})
	add(hot{"opJMPR", "JMP", "M", false, 8, -1, false,
		"v = " + regA + "\nif (v^start)>>47 != 0 && !c.canonical(v) {\ngoto generic\n}\nc.rip = v\ngoto indirect\n"})
	add(hot{"opJMPM", "JMP", "M", true, 8, -1, false,
		load(8) + "if (v^start)>>47 != 0 && !c.canonical(v) {\ngoto generic\n}\nc.rip = v\ngoto indirect\n"})
}

// branch leaves for the target if the condition holds, else falls out of the block.
func branch(condition string) string {
	return "if " + condition + " {\nc.rip = start + uint64(o.imm)\nlink = 1\ngoto direct\n}\n"
}

var ccNames = []string{"O", "NO", "B", "NB", "Z", "NZ", "BE", "NBE", "S", "NS", "P", "NP", "L", "NL", "LE", "NLE"}

func branches() {
	for cc, name := range ccNames {
		condition := fmt.Sprintf("c.cond(%d)", cc)
		switch name {
		case "Z":
			condition = "c.zero()"
		case "NZ":
			condition = "!c.zero()"
		case "B":
			condition = "c.carry() != 0"
		case "NB":
			condition = "c.carry() == 0"
		}
		add(hot{"opJ" + name, "JCC", "None", false, 8, cc, false, branch(condition)})
	}
	// The ends of most loops: a count that steps, and a branch on its being zero.
	for _, n := range []int{4, 8} {
		for _, x := range []struct {
			name, condition string
			cc              int
		}{{"Z", "v == 0", 4}, {"NZ", "v != 0", 5}} {
			aside := strings.Replace(branch(x.condition), "uint64(o.imm)", "uint64(int64(o.disp))", 1)
			for _, op := range []string{"SUB", "ADD", "AND"} {
				body := "v, w = " + cut(n, regA) + ", " + cut(n, "uint64(o.imm)") + "\n" + alu(op, n) + set(n, regA, "v") + aside
				add(hot{fmt.Sprintf("op%sJ%sRI%d", op, x.name, 8*n), op + "+", "RI", false, n, x.cc, false, body})
			}
			body := "w = c.carry()\nv = " + cut(n, regA+" - 1") + "\n" + lazy("classDec", n, "v", "w") + set(n, regA, "v") + aside
			add(hot{fmt.Sprintf("opDECJ%s%d", x.name, 8*n), "DEC+", "RI", false, n, x.cc, false, body})
		}
	}
	// Comparison and branch in one. The flags stay for whoever asks later.
	compare := map[string]string{
		"B": "v < w", "NB": "v >= w", "Z": "v == w", "NZ": "v != w", "BE": "v <= w", "NBE": "v > w",
		"L": "%[1]s(v) < %[1]s(w)", "NL": "%[1]s(v) >= %[1]s(w)", "LE": "%[1]s(v) <= %[1]s(w)", "NLE": "%[1]s(v) > %[1]s(w)",
	}
	test := map[string]string{
		"Z": "v&w == 0", "NZ": "v&w != 0", "S": "%[1]s(v&w) < 0", "NS": "%[1]s(v&w) >= 0", "LE": "%[1]s(v&w) <= 0", "NLE": "%[1]s(v&w) > 0",
	}
	for _, n := range []int{1, 4, 8} {
		for cc, name := range ccNames {
			for _, x := range []struct {
				op    string
				conds map[string]string
				flags string
			}{
				{"CMP", compare, lazy("classSub", n, cut(n, "v - w"), "w")},
				{"TEST", test, lazy("classLogic", n, "v&w", "0")},
			} {
				condition, ok := x.conds[name]
				if !ok {
					continue
				}
				if strings.Contains(condition, "%") {
					condition = fmt.Sprintf(condition, fmt.Sprintf("int%d", 8*n))
				}
				fused := func(kind, operands string) {
					add(hot{name: fmt.Sprintf("op%sJ%s%s%d", x.op, name, kind, 8*n), op: x.op + "+", form: kind, mem: kind != "RR", size: n, cc: cc,
						body: operands + x.flags + branch(condition)})
				}
				fused("RR", "v, w = "+cut(n, regA)+", "+cut(n, regB)+"\n")
				// The target has no room beside an immediate of 32 bits: it is in disp.
				imm := cut(n, "uint64(o.imm)")
				add(hot{fmt.Sprintf("op%sJ%sRI%d", x.op, name, 8*n), x.op + "+", "RI", false, n, cc, false,
					"v, w = " + cut(n, regA) + ", " + imm + "\n" + x.flags + strings.Replace(branch(condition), "uint64(o.imm)", "uint64(int64(o.disp))", 1)})
				if x.op == "CMP" && n > 1 {
					fused("RM", load(n)+"v, w = "+cut(n, regA)+", v\n")
					fused("MR", load(n)+"w = "+cut(n, regB)+"\n")
				}
			}
		}
	}
}

// enabled leaves for execute where XMM registers may not be used.
const enabled = "if c.cr0&(cr0EM|cr0TS)|c.cr4&cr4OSFXSR != cr4OSFXSR {\ngoto generic\n}\n"

// load16 finds 16 bytes for reading; aligned, at a multiple of 16.
func load16(aligned bool) string {
	s := address
	if aligned {
		s = address + "if la&15 != 0 {\ngoto generic\n}\n"
	}
	return s + "off = la - e.read\nif off > 4096-16 {\ngoto generic\n}\n"
}

const (
	xmmA    = "c.xmm[o.a&15]"
	xmmB    = "c.xmm[o.b&15]"
	pointed = "*(*simd.Vec)(unsafe.Add(e.p, off))"
)

// vectors are the SSE instructions of copying, comparing and plain arithmetic.
func vectors() {
	for _, x := range []struct {
		op      string
		aligned bool
	}{{"MOVDQA", true}, {"MOVAPS", true}, {"MOVAPD", true}, {"MOVDQU", false}, {"MOVUPS", false}, {"MOVUPD", false}} {
		if x.op == "MOVDQA" {
			add(hot{"opMOVXMM", x.op, "RM", false, 16, -1, false, enabled + xmmA + " = " + xmmB + "\n"})
		} else {
			add(hot{"", x.op, "RM", false, 16, -1, false, "opMOVXMM"})
		}
		name := "opMOVU"
		if x.aligned {
			name = "opMOVA"
		}
		if x.op == "MOVDQA" || x.op == "MOVDQU" {
			add(hot{name + "RM", x.op, "RM", true, 16, -1, false, enabled + load16(x.aligned) + xmmA + " = " + pointed + "\n"})
			add(hot{name + "MR", x.op, "MR", true, 16, -1, false, enabled + strings.ReplaceAll(load16(x.aligned), "e.read", "e.write") + pointed + " = " + xmmB + "\n"})
		} else {
			add(hot{"", x.op, "RM", true, 16, -1, false, name + "RM"})
			add(hot{"", x.op, "MR", true, 16, -1, false, name + "MR"})
		}
	}
	for _, op := range []string{"PXOR", "PAND", "POR", "PANDN", "PADDB", "PADDW", "PADDD", "PADDQ", "PSUBB", "PSUBW", "PSUBD", "PSUBQ",
		"PCMPEQB", "PCMPEQW", "PCMPEQD", "PMINUB", "PUNPCKLBW", "PUNPCKLWD", "PUNPCKLDQ", "PUNPCKLQDQ", "PUNPCKHQDQ"} {
		add(hot{"op" + op, op, "RM", false, 16, -1, false, enabled + xmmA + " = simd." + op + "(" + xmmA + ", " + xmmB + ")\n"})
		add(hot{"op" + op + "M", op, "RM", true, 16, -1, false, enabled + load16(true) + xmmA + " = simd." + op + "(" + xmmA + ", " + pointed + ")\n"})
	}
	for _, x := range [][2]string{{"XORPS", "PXOR"}, {"XORPD", "PXOR"}, {"ANDPS", "PAND"}, {"ANDPD", "PAND"}, {"ORPS", "POR"}, {"ORPD", "POR"}} {
		alias, op := x[0], x[1]
		add(hot{"", alias, "RM", false, 16, -1, false, "op" + op})
		add(hot{"", alias, "RM", true, 16, -1, false, "op" + op + "M"})
	}
	add(hot{"opPSHUFD", "PSHUFD", "RMI", false, 16, -1, false, enabled + xmmA + " = simd.PSHUFD(" + xmmB + ", uint8(o.imm))\n"})
	for _, x := range []struct {
		op string
		n  int
	}{{"MOVQ", 8}, {"MOVSDX", 8}, {"MOVSS", 4}} {
		op, n := x.op, x.n
		add(hot{"op" + op + "RM", op, "RM", true, 16, -1, false, enabled + load(n) + xmmA + " = simd.Vec{Lo: v}\n"})
		add(hot{"op" + op + "MR", op, "MR", true, 16, -1, false, enabled + store(n, xmmB+".Lo")})
	}
	// Doubles go by the host's own arithmetic where nothing about them is out of the ordinary: nearest, all masked, the
	// inexact flag already set, operands and result normal.
	const plain = "if c.mxcsr&0xffe0 != 0x1fa0 || v>>52&0x7ff-1 >= 0x7fe || w>>52&0x7ff-1 >= 0x7fe {\ngoto generic\n}\n"
	for _, x := range []struct{ op, sign string }{{"ADDSD", "+"}, {"SUBSD", "-"}, {"MULSD", "*"}, {"DIVSD", "/"}} {
		body := "w = " + xmmA + ".Lo\n" + plain + "v = math.Float64bits(math.Float64frombits(w) " + x.sign + " math.Float64frombits(v))\n" +
			"if v>>52&0x7ff-1 >= 0x7fe {\ngoto generic\n}\n" + xmmA + ".Lo = v\n"
		add(hot{"op" + x.op, x.op, "RM", false, 16, -1, false, enabled + "v = " + xmmB + ".Lo\n" + body})
		add(hot{"op" + x.op + "M", x.op, "RM", true, 16, -1, false, enabled + load(8) + body})
	}
	compare := "w = " + xmmA + ".Lo\n" + plain + "off = 0\nif math.Float64frombits(w) < math.Float64frombits(v) {\noff = flagCF\n} else if w == v {\noff = flagZF\n}\nc.setArith(off)\n"
	for _, op := range []string{"UCOMISD", "COMISD"} {
		add(hot{"op" + op, op, "RM", false, 16, -1, false, enabled + "v = " + xmmB + ".Lo\n" + compare})
	}
	add(hot{"opCVTSI2SD32", "CVTSI2SD", "RM", false, 4, -1, false, enabled + xmmA + ".Lo = math.Float64bits(float64(int32(" + regB + ")))\n"})
}

// generate makes the cases.
func generate() {
	arithmetic()
	moves()
	stack()
	branches()
	vectors()
}

func main() {
	log.SetFlags(0)
	generate()
	if err := os.WriteFile("hot_unsafe.go", render(), 0o644); err != nil {
		log.Fatal(err)
	}
}

func render() []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, header)
	fmt.Fprintln(&b, "const (\nopGeneric uint16 = iota // by CPU.execute\nopEnd // behind the last instruction")
	for _, h := range cases {
		if h.name != "" {
			fmt.Fprintln(&b, h.name)
		}
	}
	fmt.Fprintln(&b, ")")
	fmt.Fprint(&b, selection)
	plain, fused := map[string]string{}, map[string]string{}
	var plainKeys, fusedKeys []string
	for _, h := range cases {
		code := h.name
		if code == "" {
			code = strings.TrimSpace(h.body) // another case's
		}
		switch {
		case h.op == "":
		case strings.HasSuffix(h.op, "+"):
			key := fmt.Sprintf("{decode.%s, %d, form%s, %d, %v}", strings.TrimSuffix(h.op, "+"), h.cc, h.form, h.size, h.flat)
			fusedKeys, fused[key] = append(fusedKeys, key), code
		default:
			key := fmt.Sprintf("{decode.%s, decode.Form%s, %v, %d, %d, %v}", h.op, h.form, h.mem, h.size, max(h.cc, 0), h.flat)
			plainKeys, plain[key] = append(plainKeys, key), code
		}
	}
	fmt.Fprintln(&b, "// hotCodes are the instructions that have a case of their own.\nvar hotCodes = map[hotKey]uint16{")
	for _, k := range plainKeys {
		fmt.Fprintf(&b, "%s: %s,\n", k, plain[k])
	}
	fmt.Fprintln(&b, "}\n\n// fusedCodes are the comparisons that have one together with the branch behind them.\nvar fusedCodes = map[fusedKey]uint16{")
	for _, k := range fusedKeys {
		fmt.Fprintf(&b, "%s: %s,\n", k, fused[k])
	}
	fmt.Fprintln(&b, "}")
	fmt.Fprint(&b, prologue)
	for _, h := range cases {
		if h.name != "" {
			fmt.Fprintf(&b, "case %s:\n%s", h.name, h.body)
		}
	}
	fmt.Fprint(&b, epilogue)
	out, err := format.Source(b.Bytes())
	if err != nil {
		_ = os.WriteFile("hot_unsafe.go", b.Bytes(), 0o644)
		log.Fatal(err)
	}
	return out
}
