package vmm

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/guests/guesttest"
)

// images is where this run of the tests has its guests.
var images string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gvmm-guests-")
	if err != nil {
		panic(err)
	}
	images = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// guestImage builds an image, or skips where it cannot be built or run.
func guestImage(t testing.TB, name string) string {
	t.Helper()
	return guesttest.Image(t, images, name)
}

// newMachine builds a machine that the test closes.
func newMachine(t testing.TB, c Config) *Machine {
	t.Helper()
	m, err := New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// run runs the machine to its end, within a minute.
func run(t testing.TB, m *Machine) (status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	status, err := m.Run(ctx)
	require.NoError(t, err)
	return status
}
