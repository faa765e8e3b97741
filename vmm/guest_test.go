package vmm

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gvmm/guests/guesttest"
	"gvmm/vcpu"
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

// guestImage builds an image, or skips where it cannot be built.
func guestImage(t testing.TB, name string) string {
	t.Helper()
	return guesttest.Image(t, images, name)
}

// engineCase is an engine and a way of user interrupts that tests run guests with.
type engineCase struct {
	accel vcpu.Accel
	way   vcpu.Way
}

func (e engineCase) String() string { return e.accel.String() + " " + e.way.String() }

// engines are all there are; a test skips what its host lacks.
var engines = []engineCase{
	{vcpu.AccelKVM, vcpu.WayDirect}, {vcpu.AccelKVM, vcpu.WayResident}, {vcpu.AccelSoft, vcpu.WayNative},
}

// on puts the engine into a configuration, or skips.
func (e engineCase) on(t testing.TB, c Config) Config {
	t.Helper()
	if e.accel == vcpu.AccelKVM {
		guesttest.RequireKVM(t)
	}
	c.Accel, c.Way = e.accel, e.way
	return c
}

// eachEngine runs a test on every engine that the host has.
func eachEngine(t *testing.T, test func(t *testing.T, e engineCase)) {
	for _, e := range engines {
		t.Run(e.String(), func(t *testing.T) {
			e.on(t, Config{})
			test(t, e)
		})
	}
}

// newMachine builds a machine that the test closes.
func newMachine(t testing.TB, c Config) *Machine {
	t.Helper()
	m, err := New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// run runs the machine to its end.
func run(t testing.TB, m *Machine) (status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute) // a hang, even where the race detector runs on a busy host
	defer cancel()
	status, err := m.Run(ctx)
	require.NoError(t, err)
	return status
}
