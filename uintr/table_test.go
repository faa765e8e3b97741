package uintr_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/uintr/uintrtest"
)

func TestCaseTable(t *testing.T) {
	for _, c := range uintrtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			got, err := uintrtest.Run(c)
			require.NoError(t, err)
			require.Empty(t, uintrtest.Compare(c, uintrtest.FlatBases, got))
		})
	}
}
