package linux

import (
	"bytes"
	"debug/elf"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// scripts are all programs for a shell, by name.
func scripts(t *testing.T) map[string][]byte {
	t.Helper()
	init, err := InitramfsInit()
	require.NoError(t, err)
	all := map[string][]byte{"initramfs/init": init}
	root, err := Root()
	require.NoError(t, err)
	require.NoError(t, fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, path)
		if bytes.HasPrefix(data, []byte("#!/bin/sh\n")) || path == "etc/profile" {
			all[path] = data
		}
		return err
	}))
	return all
}

func TestScriptsAreAShells(t *testing.T) {
	all := scripts(t)
	for _, name := range []string{"etc/init.d/rcS", "etc/init.d/rcK", "etc/init.d/console", "etc/udhcpc/default.script"} {
		require.Contains(t, all, name)
	}
	for name, text := range all {
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = bytes.NewReader(text)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
	}
}

func TestInittabNamesWhatIsThere(t *testing.T) {
	root, err := Root()
	require.NoError(t, err)
	tab, err := fs.ReadFile(root, "etc/inittab")
	require.NoError(t, err)
	for line := range strings.Lines(string(tab)) {
		if field := strings.Split(strings.TrimSpace(line), ":"); len(field) == 4 && strings.HasPrefix(field[3], "/etc/") {
			_, err := fs.Stat(root, field[3][1:])
			require.NoError(t, err)
		}
	}
}

// runConsole runs the console's script with a kernel command line and stand-ins for the
// programs that it calls, and returns what those were told.
func runConsole(t *testing.T, line string, status string) string {
	t.Helper()
	dir := t.TempDir()
	program := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755))
	}
	for _, name := range []string{"poweroff", "gvmm-exit", "sync", "umount"} {
		program(name, `echo "`+name+` $*"`)
	}
	program("cttyhack", `[ "$2" = -c ] && echo "run [$3]" || echo "shell"; exit `+status)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cmdline"), []byte(line+"\n"), 0o644))
	script := string(scripts(t)["etc/init.d/console"])
	script = strings.NewReplacer("/proc/cmdline", dir+"/cmdline", "cd /root", "", "cat /etc/motd", "", "PATH=/usr/local/sbin", "PATH="+dir+":/usr/local/sbin").Replace(script)
	cmd := exec.Command("sh", "-c", script)
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}

func TestConsoleRunsTheCommandLinesCommand(t *testing.T) {
	for line, want := range map[string]string{
		`ro gvmm.run="uname -a; echo 'x'" quiet`: "run [uname -a; echo 'x']\nsync \numount -a -r\npoweroff -f\n",
		`gvmm.run='echo "a b"' x="y"`:            "run [echo \"a b\"]\nsync \numount -a -r\npoweroff -f\n",
		`a gvmm.run=true b`:                      "run [true]\nsync \numount -a -r\npoweroff -f\n",
		`a gvmm.run=true`:                        "run [true]\nsync \numount -a -r\npoweroff -f\n",
		`a xgvmm.run=true`:                       "shell\n",
		``:                                       "shell\n",
	} {
		require.Equal(t, want, runConsole(t, line, "0"), line)
	}
}

func TestConsoleEndsWithTheCommandsStatus(t *testing.T) {
	for status, want := range map[string]string{"3": "gvmm-exit 3\n", "127": "gvmm-exit 127\n", "200": "gvmm-exit 127\n"} {
		require.Contains(t, runConsole(t, "gvmm.run=x", status), want)
	}
	require.NotContains(t, runConsole(t, "gvmm.run=x", "0"), "gvmm-exit")
}

func TestExitCodeIsAssembledFromItsSource(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip(err)
	}
	object := filepath.Join(t.TempDir(), "exit.o")
	out, err := exec.Command("gcc", "-c", "-o", object, "exit.S").CombinedOutput()
	require.NoError(t, err, string(out))
	f, err := elf.Open(object)
	require.NoError(t, err)
	defer f.Close()
	code, err := f.Section(".text").Data()
	require.NoError(t, err)
	require.Equal(t, code, exitCode)
}

func TestExitProgramIsAnExecutable(t *testing.T) {
	program := ExitProgram()
	f, err := elf.NewFile(bytes.NewReader(program))
	require.NoError(t, err)
	require.Equal(t, elf.ET_EXEC, f.Type)
	require.Len(t, f.Progs, 1)
	text, err := io.ReadAll(f.Progs[0].Open())
	require.NoError(t, err)
	require.Equal(t, program, text)
	require.Equal(t, exitCode, program[f.Entry-f.Progs[0].Vaddr:])
}
