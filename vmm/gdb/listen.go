package gdb

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Listen opens what a debugger connects to: "HOST:PORT", ":PORT", which is this
// machine's loopback and nobody else's, or "unix:PATH". Whoever can connect owns the
// guest.
func Listen(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if path == "" {
			return nil, fmt.Errorf("gdb: %q names no socket", address)
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			return nil, fmt.Errorf("gdb: %w", err)
		}
		return l, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("gdb: %q: HOST:PORT, :PORT or unix:PATH", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, fmt.Errorf("gdb: %q: %q is no port", address, port)
	} else if host == "" {
		address = fmt.Sprintf("127.0.0.1:%d", n)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("gdb: %w", err)
	}
	return l, nil
}

// Remote is how a debugger names l: target remote takes it.
func Remote(l net.Listener) string { return l.Addr().String() }
