package bootable

import (
	"slices"
	"strings"
)

// newest sorts names of kernels, newest version first, and what is kept for
// emergencies last.
func newest(names []string) {
	slices.SortFunc(names, func(a, b string) int {
		if ra, rb := spare(a), spare(b); ra != rb {
			if ra {
				return 1
			}
			return -1
		}
		return compareVersions(b, a)
	})
}

func spare(name string) bool {
	return strings.Contains(name, "rescue") || strings.Contains(name, "fallback") ||
		strings.HasSuffix(strings.TrimSuffix(name, ".conf"), ".old")
}

// compareVersions orders names as versions: numbers in them by value, and ~ in
// front of everything, the end included (as dpkg and rpm do).
func compareVersions(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		if x, a = run(a, false); true {
			y, b = run(b, false)
		}
		if c := compareText(x, y); c != 0 {
			return c
		}
		x, a = run(a, true)
		y, b = run(b, true)
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}

// run cuts off the digits, or what is none, that s begins with.
func run(s string, digits bool) (string, string) {
	n := 0
	for n < len(s) && (s[n] >= '0' && s[n] <= '9') == digits {
		n++
	}
	return s[:n], s[n:]
}

func compareText(x, y string) int {
	weight := func(s string, i int) int {
		switch {
		case i == len(s):
			return 0
		case s[i] == '~':
			return -1
		}
		return int(s[i]) + 1
	}
	for i := range max(len(x), len(y)) {
		if d := weight(x, min(i, len(x))) - weight(y, min(i, len(y))); d != 0 {
			return d
		}
	}
	return 0
}
