package uintrtest

import (
	"fmt"
	"strings"
)

//go:generate go test -run TestHeaderIsCurrent -update .

// Header is the text of uintrtest.h: the records as C structs, with their offsets asserted.
func Header() string {
	var b strings.Builder
	b.WriteString("/* Code generated from layout.go by go generate. DO NOT EDIT.\n" +
		" *\n" +
		" * Records between the user-interrupt case table and a guest program: a ut_bases from the guest, a ut_case for\n" +
		" * each case to it, a ut_result for each from it. Little-endian; reserved bytes are 0. The package documentation\n" +
		" * of uintrtest says what a case is.\n" +
		" */\n#ifndef UINTRTEST_H\n#define UINTRTEST_H\n\n#include <stddef.h>\n#include <stdint.h>\n\nenum {\n")
	for op := range Op(Ops) {
		fmt.Fprintf(&b, "\tUT_OP_%s = %d,\n", strings.ToUpper(op.String()), op)
	}
	fmt.Fprintf(&b, "\tUT_OPS = %d,\n", Ops)
	for _, f := range []struct {
		name  string
		value Flags
	}{{"NO_GUEST", FlagNoGuest}, {"LOOPBACK", FlagLoopback}, {"PLACE_FRAME", FlagPlaceFrame}, {"PRIVILEGED", FlagPrivileged}} {
		fmt.Fprintf(&b, "\tUT_FLAG_%s = %d,\n", f.name, f.value)
	}
	b.WriteString("};\n")
	for _, s := range layout {
		writeStruct(&b, s)
	}
	b.WriteString("\n#endif\n")
	return b.String()
}

func writeStruct(b *strings.Builder, s cstruct) {
	fmt.Fprintf(b, "\nstruct %s {\n", s.name)
	end := 0
	pad := func(to int) {
		if to > end {
			fmt.Fprintf(b, "\t/* %3d */ uint8_t reserved%d[%d];\n", end, end, to-end)
		}
	}
	for _, m := range s.members {
		pad(m.offset)
		fmt.Fprintf(b, "\t/* %3d */ %s %s%s;", m.offset, m.ctype, m.name, m.dims)
		if m.comment != "" {
			fmt.Fprintf(b, " /* %s */", m.comment)
		}
		b.WriteByte('\n')
		end = m.offset + m.size
	}
	pad(s.size)
	b.WriteString("};\n")
	for _, m := range s.members {
		fmt.Fprintf(b, "_Static_assert(offsetof(struct %s, %s) == %d, \"%s.%s\");\n", s.name, m.name, m.offset, s.name, m.name)
	}
	fmt.Fprintf(b, "_Static_assert(sizeof(struct %s) == %d, \"%s\");\n", s.name, s.size, s.name)
}
