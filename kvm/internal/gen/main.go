// Command gen writes kvm/zconstants_amd64.go: the numbers of <linux/kvm.h> as
// Go constants. It compiles and runs a C program which prints them, so the
// header is the only source; building the kvm package needs no compiler.
//
// Usage: gen [-o file]; the environment variable CC names the C compiler.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("o", "", "file to write (standard output if empty)")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	values, err := headerValues(compiler(), allNames())
	if err != nil {
		return err
	}
	src, err := render(values)
	if err != nil {
		return err
	}
	if out == "" {
		_, err = os.Stdout.Write(src)
		return err
	}
	return os.WriteFile(out, src, 0o644)
}
