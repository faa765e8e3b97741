package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// compiler names the C compiler: $CC, or gcc.
func compiler() string {
	if cc := os.Getenv("CC"); cc != "" {
		return cc
	}
	return "gcc"
}

// headerValues compiles and runs a program that prints the value of each name
// in <linux/kvm.h>.
func headerValues(cc string, names []string) (map[string]uint64, error) {
	dir, err := os.MkdirTemp("", "kvmgen")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)

	src, bin := filepath.Join(dir, "print.c"), filepath.Join(dir, "print")
	if err := os.WriteFile(src, program(names), 0o600); err != nil {
		return nil, err
	}
	if msg, err := exec.Command(cc, "-o", bin, src).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", cc, err, msg)
	}
	out, err := exec.Command(bin).Output()
	if err != nil {
		return nil, err
	}
	return parse(out)
}

func program(names []string) []byte {
	var b bytes.Buffer
	b.WriteString("#include <stdio.h>\n#include <linux/kvm.h>\nint main(void) {\n")
	for _, n := range names {
		fmt.Fprintf(&b, "\tprintf(\"%s %%llu\\n\", (unsigned long long)(%s));\n", n, n)
	}
	b.WriteString("\treturn 0;\n}\n")
	return b.Bytes()
}

func parse(out []byte) (map[string]uint64, error) {
	values := make(map[string]uint64)
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		name, text, _ := strings.Cut(s.Text(), " ")
		v, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("value of %s: %w", name, err)
		}
		values[name] = v
	}
	return values, nil
}
