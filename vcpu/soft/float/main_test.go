package float

import (
	"fmt"
	"os"
	"testing"
)

var oracleDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "float")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	oracleDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}
