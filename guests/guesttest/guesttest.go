// Package guesttest is what tests of several packages need of a host and of guest
// images: each skips, with a reason, where the host does not give it.
package guesttest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/guests"
	"gvmm/kvm"
)

// RequireKVM skips the test where KVM cannot be used.
func RequireKVM(t testing.TB) {
	t.Helper()
	s, err := kvm.Open(kvm.DefaultPath)
	if err != nil {
		t.Skipf("needs KVM: %v", err)
	}
	require.NoError(t, s.Close())
}

// Image builds an image into the folder out and returns its path, or skips the
// test where it cannot be built.
func Image(t testing.TB, out, image string) string {
	t.Helper()
	path, err := guests.Build(out, image)
	if errors.Is(err, guests.ErrToolchain) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return path
}

// RequireABI compares numbers of ours with those that guests are built with.
func RequireABI(t testing.TB, ours map[string]uint64) {
	t.Helper()
	abi, err := guests.ABI()
	require.NoError(t, err)
	for name, v := range ours {
		theirs, ok := abi[name]
		require.True(t, ok, "abi.h lacks %s", name)
		require.Equal(t, theirs, v, name)
	}
}
