package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheGeneratedSwitchIsUpToDate(t *testing.T) {
	generate()
	want := render()
	got, err := os.ReadFile("../../hot_unsafe.go")
	require.NoError(t, err)
	require.True(t, string(want) == string(got), "run go generate ./vcpu/soft")
}

func TestEachCaseHasOneName(t *testing.T) {
	seen := make(map[string]bool)
	for _, h := range cases {
		if h.name == "" {
			continue
		}
		require.False(t, seen[h.name], h.name)
		seen[h.name] = true
	}
	require.Greater(t, len(seen), 400)
}
