package image

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// osRelease is where a system says what it is (os-release(5)).
const osRelease = "/etc/os-release"

// parseOSRelease reads lines NAME=VALUE, the value perhaps quoted.
func parseOSRelease(text string) map[string]string {
	m := make(map[string]string)
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if plain, err := strconv.Unquote(value); err == nil {
			value = plain
		}
		m[name] = strings.Trim(value, "'")
	}
	return m
}

// host checks that the host can build, and returns its distribution's name.
func host() (string, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("%w: Debian on x86-64; this is %s on %s", ErrHost, runtime.GOOS, runtime.GOARCH)
	}
	text, err := os.ReadFile(osRelease)
	if err != nil {
		return "", fmt.Errorf("%w: Debian, with its apt: %w", ErrHost, err)
	}
	release := parseOSRelease(string(text))
	if release["ID"] != "debian" {
		return "", fmt.Errorf("%w: Debian, whose packages its apt knows; this is %s. A Debian container can build", ErrHost, release["PRETTY_NAME"])
	}
	for _, need := range []struct{ tool, from string }{
		{"apt-get", "apt"}, {"apt-cache", "apt"}, {"dpkg-deb", "dpkg"}, {"mke2fs", "e2fsprogs"}, {"debugfs", "e2fsprogs"},
	} {
		if _, err := tool(need.tool); err != nil {
			return "", fmt.Errorf("%w: %s; install the package %s", ErrHost, need.tool, need.from)
		}
	}
	return release["PRETTY_NAME"], nil
}
