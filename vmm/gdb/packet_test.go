package gdb

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func messages(t testing.TB, stream string) (all []message, err error) {
	r := reader{bufio.NewReader(strings.NewReader(stream))}
	for {
		m, err := r.next()
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
}

func TestTheStreamIsTakenApart(t *testing.T) {
	text := func(s string) message { return message{packet, []byte(s)} }
	for stream, want := range map[string][]message{
		"":                    nil,
		"+$g#67-":             {{kind: ack}, text("g"), {kind: nak}},
		"$#00":                {text("")},
		"$m0,1#FA":            {text("m0,1")},
		"\x03$?#3f\x03":       {{kind: interrupt}, text("?"), {kind: interrupt}},
		"$g#68$g#67":          {{kind: damaged}, text("g")},
		"$g#zz":               {{kind: damaged}},
		"$cut$g#67":           {text("g")},
		"noise $g#67\n noise": {text("g")},
	} {
		got, err := messages(t, stream)
		require.ErrorIs(t, err, io.EOF, "%q", stream)
		require.Len(t, got, len(want), "%q", stream)
		for i := range want {
			require.Equal(t, want[i].kind, got[i].kind, "%q", stream)
			require.Equal(t, string(want[i].data), string(got[i].data), "%q", stream)
		}
	}
	_, err := messages(t, "$g")
	require.ErrorIs(t, err, io.EOF)
	_, err = messages(t, "$g#6")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestAPacketThatIsTooLongEndsTheSession(t *testing.T) {
	longest := string(frame(bytes.Repeat([]byte{'a'}, MaxPacket)))
	got, err := messages(t, longest)
	require.ErrorIs(t, err, io.EOF)
	require.Len(t, got, 1)
	_, err = messages(t, string(frame(bytes.Repeat([]byte{'a'}, MaxPacket+1))))
	require.ErrorIs(t, err, ErrProtocol)
}

func TestWhatIsFramedAndEscapedComesBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(rt, "data")
		wire := escaped(nil, data)
		require.NotContains(rt, string(wire), "#")
		require.NotContains(rt, string(wire), "$")
		got, err := messages(t, string(frame(wire)))
		require.ErrorIs(rt, err, io.EOF)
		require.Len(rt, got, 1)
		back, ok := unescaped(got[0].data)
		require.True(rt, ok)
		require.True(rt, bytes.Equal(data, back))
	})
	_, ok := unescaped([]byte("ab}"))
	require.False(t, ok)
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("+$qSupported:swbreak+#00$g#67\x03-"))
	f.Add([]byte("$X0,2:}\x03a#00"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := reader{bufio.NewReader(bytes.NewReader(stream))}
		for n := 0; ; n++ {
			m, err := r.next()
			if err != nil {
				return
			}
			if len(m.data) > MaxPacket || n > len(stream) {
				t.Fatalf("%d messages, %d bytes", n, len(m.data))
			}
		}
	})
}
