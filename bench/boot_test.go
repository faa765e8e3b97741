package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func TestABootEndsAtItsMarkerHoweverItsTextArrives(t *testing.T) {
	text := fmt.Sprintf("%10000s%s and more", "", BootMarker)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"bytes": iotest.OneByteReader, "halves": iotest.HalfReader, "whole": func(r io.Reader) io.Reader { return r },
	} {
		o := BootOptions{Marker: BootMarker}
		seconds, err := o.boot(context.Background(), func(ctx context.Context, w io.Writer) error {
			require.NoError(t, ctx.Err())
			_, err := io.CopyBuffer(struct{ io.Writer }{w}, wrap(strings.NewReader(text)), make([]byte, 100))
			require.NoError(t, err)
			return ctx.Err()
		})
		require.NoError(t, err, name)
		require.Positive(t, seconds, name)
	}
}

func TestABootWithoutItsMarkerSaysHowFarItCame(t *testing.T) {
	o := BootOptions{Marker: "never"}
	_, err := o.boot(context.Background(), func(_ context.Context, w io.Writer) error {
		_, _ = io.WriteString(w, "first\r\nKernel panic\r\n")
		return errors.New("reset")
	})
	require.ErrorContains(t, err, `reset before the kernel said "never": Kernel panic`)
}
