package gdb

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPortAloneIsThisMachinesOnly(t *testing.T) {
	l, err := Listen(":0")
	require.NoError(t, err)
	defer l.Close()
	require.True(t, l.Addr().(*net.TCPAddr).IP.IsLoopback())
	require.Equal(t, l.Addr().String(), Remote(l))
}

func TestASocketIsAPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gdb")
	l, err := Listen("unix:" + path)
	require.NoError(t, err)
	defer l.Close()
	require.Equal(t, path, Remote(l))
	_, err = Listen("unix:" + path)
	require.Error(t, err, "one that is there")
}

func TestAddressesThatAreNoneAreRefused(t *testing.T) {
	for _, a := range []string{"", "1234", "localhost", ":http", ":-1", ":70000", "unix:", "a:b:c"} {
		_, err := Listen(a)
		require.Error(t, err, a)
	}
}
