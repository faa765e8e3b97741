package disk

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"gvmm/virtio/blk"
)

// overlayBase is as long as a few regions and a bit.
const overlayBase = 2<<20 + 300<<10 + 5*512

// transfer reads or writes by whichever way how says, of those that the image
// has: 0 blocking, 1 prompt, 2 submitted.
func transfer(t require.TestingT, d Image, how int, write bool, segments [][]byte, off int64) {
	n, err := 0, error(nil)
	want := int(length(segments))
	s, ok := d.(blk.Submitter)
	switch {
	case how == 2 && ok:
		done := make(chan struct{})
		x := blk.Transfer{Segments: segments, Off: off, Write: write, Done: func(m int, e error) {
			n, err = m, e
			close(done)
		}}
		if s.Submit(&x) {
			s.Commit()
			<-done
			break
		}
		fallthrough
	default:
		if write {
			n, err = d.WriteAt(segments, off)
			break
		}
		if how == 1 {
			if n, err = d.TryReadAt(segments, off); err != blk.ErrWouldBlock {
				break
			}
		}
		n, err = d.ReadAt(segments, off)
	}
	require.NoError(t, err)
	require.Equal(t, want, n)
}

// cutUp cuts b into segments, some of them empty.
func cutUp(t *rapid.T, b []byte) (segments [][]byte) {
	for len(b) > 0 {
		n := min(len(b), rapid.OneOf(rapid.Just(4096), rapid.IntRange(0, 100_000)).Draw(t, "segment"))
		segments, b = append(segments, b[:n:n]), b[n:]
	}
	return segments
}

// Whatever is done to an overlay, it is what the same does to a copy of the
// image, and the image stays.
func TestOverlayIsACopy(t *testing.T) {
	for _, o := range []Options{
		{Overlay: true, Engine: EngineThreads},
		{Overlay: true},
		{Overlay: true, Direct: true},
	} {
		t.Run(fmt.Sprintf("engine=%v,direct=%v", o.Engine, o.Direct), func(t *testing.T) {
			content := noise(overlayBase, 1)
			path := put(t, "base", content)
			rapid.Check(t, func(t *rapid.T) {
				d, err := Open(path, o)
				require.NoError(t, err)
				defer d.Close()
				model := bytes.Clone(content)
				for range rapid.IntRange(1, 30).Draw(t, "steps") {
					overlayStep(t, d, model)
				}
				got := make([]byte, len(model))
				transfer(t, d, 0, false, [][]byte{got}, 0)
				require.True(t, bytes.Equal(model, got))
			})
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(content, after), "the image has changed")
		})
	}
}

func overlayStep(t *rapid.T, d Image, model []byte) {
	sectors := len(model) / 512
	first := rapid.IntRange(0, sectors-1).Draw(t, "sector")
	count := rapid.OneOf(rapid.IntRange(0, 16), rapid.IntRange(0, 400), rapid.IntRange(0, sectors)).Draw(t, "sectors")
	if rapid.Bool().Draw(t, "cluster") {
		first, count = first&^127, (count+127)&^127
	}
	count = min(count, sectors-first)
	off, n := int64(first)*512, int64(count)*512
	part := model[off:][:n]
	how := rapid.IntRange(0, 2).Draw(t, "how")
	switch rapid.IntRange(0, 4).Draw(t, "op") {
	case 0, 1:
		b := noise(int(n), rapid.Uint64().Draw(t, "seed"))
		transfer(t, d, how, true, cutUp(t, b), off)
		copy(part, b)
	case 2:
		b := make([]byte, n)
		transfer(t, d, how, false, cutUp(t, b), off)
		require.True(t, bytes.Equal(part, b), "read of %d at %d", n, off)
	case 3:
		require.NoError(t, d.WriteZeroes(off, n, rapid.Bool().Draw(t, "unmap")))
		clear(part)
	case 4:
		require.NoError(t, d.Discard(off, n))
		from, to := (off+clusterBytes-1)/clusterBytes*clusterBytes, off+n
		if to != int64(len(model)) {
			to -= to % clusterBytes
		}
		if from < to {
			clear(model[from:to])
		}
	}
}

// Writers of different sectors of the same clusters never undo each other.
func TestNeighboursInAClusterWriteAtOnce(t *testing.T) {
	for _, engine := range []Engine{EngineThreads, EngineAuto} {
		const writers, rounds = 8, 12
		content := noise(2<<20, 2)
		d := mustOpen(t, put(t, "base", content), Options{Overlay: true, Engine: engine})
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				own := func(do func(off int64, how int)) {
					for s, i := w, 0; s < len(content)/512; s, i = s+writers*5, i+1 {
						do(int64(s)*512, (i+w)%3)
					}
				}
				for round := range rounds {
					own(func(off int64, how int) {
						switch {
						case round%4 == 3 && w == 0:
							require.NoError(t, d.WriteZeroes(off, 512, true))
						default:
							transfer(t, d, how, true, [][]byte{noise(512, uint64(off)+uint64(round))}, off)
						}
					})
					own(func(off int64, how int) {
						want, got := noise(512, uint64(off)+uint64(round)), make([]byte, 512)
						if round%4 == 3 && w == 0 {
							clear(want)
						}
						transfer(t, d, how, false, [][]byte{got}, off)
						if !bytes.Equal(want, got) {
							t.Errorf("round %d: sector %d is not what was written", round, off/512)
						}
					})
				}
			})
		}
		all.Wait()
		got := readAll(t, d)
		for s := range len(content) / 512 {
			if s%(writers*5) >= writers {
				require.True(t, bytes.Equal(content[s*512:][:512], got[s*512:][:512]), "sector %d, which nobody wrote", s)
			}
		}
	}
}

// late is an image whose reads take long, and differently so.
type late struct{ Image }

func (l late) ReadAt(segments [][]byte, off int64) (int, error) {
	n, err := l.Image.ReadAt(segments, off)
	time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
	return n, err
}

// While a cluster's first write copies what is around it, another one waits.
func TestFirstWritesOfAClusterDoNotUndoEachOther(t *testing.T) {
	content := noise(6<<20, 5)
	d := mustOpen(t, put(t, "base", content), Options{Overlay: true, Engine: EngineThreads})
	v := d.(*overlay)
	v.base = late{v.base}
	for c := range len(content) / clusterBytes {
		var both sync.WaitGroup
		for _, sector := range []int{0, 1, 127} {
			off := c*clusterBytes + sector*512
			both.Go(func() {
				if _, err := d.WriteAt([][]byte{noise(512, uint64(off)+1)}, int64(off)); err != nil {
					t.Error(err)
				}
			})
			copy(content[off:], noise(512, uint64(off)+1))
		}
		both.Wait()
	}
	require.True(t, bytes.Equal(content, readAll(t, d)))
}

// A write that fails part of the way leaves the clusters that it made no use of
// as they were.
func TestOverlayThatCannotBeWrittenIsAnErrorAndNothingElse(t *testing.T) {
	content := noise(1<<20, 3)
	d := mustOpen(t, put(t, "base", content), Options{Overlay: true, Engine: EngineThreads})
	v, shut := d.(*overlay), put(t, "shut", make([]byte, 1<<20))
	kept := v.data
	file, err := os.Open(shut)
	require.NoError(t, err)
	defer file.Close()
	v.data, err = blk.NewFile(file)
	require.NoError(t, err)
	_, err = d.WriteAt([][]byte{make([]byte, 512)}, 4096)
	require.ErrorIs(t, err, unix.EBADF)
	v.data = kept
	require.True(t, bytes.Equal(content, readAll(t, d)))
}

func TestOverlayHasNoName(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	d := mustOpen(t, put(t, "base", noise(1<<20, 3)), Options{Overlay: true})
	_, err := d.WriteAt([][]byte{noise(1<<20, 4)}, 0)
	require.NoError(t, err)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range left {
		require.True(t, e.IsDir(), "%s", e.Name()) // the tests' own
	}
}

func TestOverlayOfAFolderThatIsNotThereSaysWhatChoosesIt(t *testing.T) {
	path := put(t, "base", make([]byte, 4096))
	t.Setenv("TMPDIR", "/nonexistent")
	_, err := Open(path, Options{Overlay: true})
	require.ErrorContains(t, err, "TMPDIR chooses another folder")
}
