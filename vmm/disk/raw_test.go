package disk

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/virtio/blk"
)

func withRing(t testing.TB, d Image) blk.Submitter {
	s, ok := d.(blk.Submitter)
	if !ok {
		t.Skipf("no io_uring on this host: %s", d.Describe().Why)
	}
	return s
}

// Each engine, past the page cache or through it, is a plain copy.
func TestRawImageIsACopy(t *testing.T) {
	for _, o := range []Options{{Engine: EngineThreads}, {Engine: EngineSync}, {}, {Direct: true, Engine: EngineThreads}, {Direct: true}} {
		t.Run(o.Engine.String()+map[bool]string{true: " direct"}[o.Direct], func(t *testing.T) {
			content := noise(1<<20+512, 1)
			path := put(t, "raw", content)
			d := mustOpen(t, path, o)
			rapid.Check(t, func(t *rapid.T) {
				first := rapid.IntRange(0, len(content)/512-1).Draw(t, "sector")
				if rapid.Bool().Draw(t, "aligned") {
					first &^= 7
				}
				n := min(rapid.IntRange(0, 600<<10).Draw(t, "bytes")&^511, len(content)-first*512)
				off, how := int64(first)*512, rapid.IntRange(0, 2).Draw(t, "how")
				b := alignedBytes(n+64, 4096)[rapid.SampledFrom([]int{0, 0, 1, 16}).Draw(t, "shift"):][:n]
				transfer(t, d, how, false, cutUp(t, b), off)
				require.True(t, bytes.Equal(content[off:][:n], b))
				copy(b, noise(n, uint64(off)))
				transfer(t, d, how, true, cutUp(t, b), off)
				copy(content[off:], b)
			})
			require.NoError(t, d.Sync())
			require.NoError(t, d.Close())
			got, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(content, got))
		})
	}
}

func TestRingCarriesOutManyTransfersAtOnce(t *testing.T) {
	content := noise(4<<20, 1)
	s := withRing(t, mustOpen(t, put(t, "raw", content), Options{}))
	const goroutines, rounds, batch = 4, 20, 90 // more than the ring has room for
	var all sync.WaitGroup
	var refused atomic.Int64
	for g := range goroutines {
		all.Go(func() {
			for round := range rounds {
				var done sync.WaitGroup
				for i := range batch {
					off := int64((g*7+round*13+i*31)%1024) * 4096
					b := make([]byte, 4096)
					done.Add(1)
					x := &blk.Transfer{Segments: [][]byte{b[:1000], b[1000:]}, Off: off, Done: func(n int, err error) {
						if n != 4096 || err != nil || !bytes.Equal(b, content[off:][:4096]) {
							t.Errorf("%d bytes at %d: %v", n, off, err)
						}
						done.Done()
					}}
					if !s.Submit(x) {
						refused.Add(1)
						done.Done()
						s.Commit()
					}
				}
				s.Commit()
				done.Wait()
			}
		})
	}
	all.Wait()
	require.Less(t, refused.Load(), int64(goroutines*rounds*batch))
}

func TestFileCutShortIsAnErrorOnTheRing(t *testing.T) {
	path := put(t, "raw", noise(1<<20, 1))
	s := withRing(t, mustOpen(t, path, Options{}))
	require.NoError(t, os.Truncate(path, 4096))
	for off, want := range map[int64]int{0: 4096, 4096 - 512: 512, 8192: 0} {
		done := make(chan struct{})
		require.True(t, s.Submit(&blk.Transfer{Segments: [][]byte{make([]byte, 4096)}, Off: off, Done: func(n int, err error) {
			require.Equal(t, want, n)
			if want < 4096 {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			}
			close(done)
		}}))
		s.Commit()
		<-done
	}
}

// What the kernel does not take is done without it.
func TestRingThatTheKernelRefusesStillServes(t *testing.T) {
	content := noise(64<<10, 1)
	d := mustOpen(t, put(t, "raw", content), Options{})
	withRing(t, d)
	r := &ring{files: []int{int(d.(ringed).file.Fd())}}
	for i := range uint32(10) {
		r.free = append(r.free, i)
	}
	require.NoError(t, r.open(16, []int32{int32(r.files[0])}))
	fd := r.fd
	defer func() {
		r.fd = fd
		r.release()
	}()
	var done sync.WaitGroup
	for i := range 10 {
		b := make([]byte, 4096)
		done.Add(1)
		require.True(t, r.submit(0, &blk.Transfer{Segments: [][]byte{b}, Off: int64(i) * 4096, Done: func(n int, err error) {
			if err != nil || !bytes.Equal(b, content[i*4096:][:4096]) {
				t.Errorf("transfer %d: %v", i, err)
			}
			done.Done()
		}}))
	}
	r.fd = -1
	r.commit()
	done.Wait()
	r.redone.Wait()
}

func TestSubmittingDoesNotAllocate(t *testing.T) {
	s := withRing(t, mustOpen(t, put(t, "raw", noise(1<<20, 1)), Options{Overlay: true}))
	done := make(chan struct{}, 1)
	x := &blk.Transfer{Segments: [][]byte{make([]byte, 4096)}, Done: func(int, error) { done <- struct{}{} }}
	require.Less(t, testing.AllocsPerRun(300, func() {
		s.Submit(x)
		s.Commit()
		<-done
	}), 1.0)
}

func TestOneWriterOrManyReaders(t *testing.T) {
	path := put(t, "raw", make([]byte, 4096))
	read, write, overlay := Options{ReadOnly: true}, Options{}, Options{Overlay: true}
	for _, c := range []struct {
		name          string
		first, second Options
		want          string
	}{
		{"two readers", read, read, ""},
		{"reader and overlay", read, overlay, ""},
		{"two overlays", overlay, overlay, ""},
		{"two writers", write, write, "has " + path + " open: it cannot be written to"},
		{"writer after reader", read, write, "has " + path + " open: it cannot be written to"},
		{"writer after overlay", overlay, write, "has " + path + " open: it cannot be written to"},
		{"reader after writer", write, read, "writes to " + path},
		{"overlay after writer", write, overlay, "writes to " + path},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, err := Open(path, c.first)
			require.NoError(t, err)
			second, err := Open(path, c.second)
			if c.want == "" {
				require.NoError(t, err)
				require.NoError(t, second.Close())
			} else {
				require.ErrorIs(t, err, ErrLocked)
				require.ErrorContains(t, err, c.want)
			}
			require.NoError(t, first.Close())
			again, err := Open(path, c.second)
			require.NoError(t, err, "the lock ends with the disk")
			require.NoError(t, again.Close())
		})
	}
}

func TestOptionsThatContradictAreRefused(t *testing.T) {
	raw := put(t, "raw", make([]byte, 4096))
	qcow := put(t, "x.qcow2", small(t).build(t))
	vmdk := put(t, "x.vmdk", append([]byte("KDMV"), make([]byte, 508)...))
	for _, c := range []struct {
		path string
		o    Options
		want string
	}{
		{raw, Options{ReadOnly: true, Overlay: true}, "choose one of them"},
		{raw, Options{Backing: true, Format: FormatRaw}, "a raw image has no backing file"},
		{raw, Options{Backing: true}, "is raw, and has no backing file"},
		{raw, Options{ReadOnly: true, Format: FormatQCOW2}, "it is not qcow2"},
		{qcow, Options{}, "qemu-img convert -O raw " + qcow + " NEW.raw"},
		{qcow, Options{Overlay: true, Direct: true}, "direct I/O is for raw images"},
		{qcow, Options{ReadOnly: true, Direct: true, Format: FormatQCOW2}, "direct I/O is for raw images"},
		{qcow, Options{ReadOnly: true, Engine: EngineUring}, "is for raw images and overlays"},
		{vmdk, Options{}, "looks like VMDK"},
	} {
		_, err := Open(c.path, c.o)
		require.ErrorContains(t, err, c.want)
		require.NotContains(t, err.Error(), "\n")
	}
	require.EqualValues(t, 512, mustOpen(t, vmdk, Options{Format: FormatRaw}).Size())
}

// A guest that writes a qcow2 header to its raw disk does not get another file
// with it at the next start.
func TestRawDiskThatAGuestTurnedIntoQCOW2IsRefused(t *testing.T) {
	q := small(t)
	q.backing, q.format = "/etc/passwd", "raw"
	path := put(t, "raw", q.build(t))
	for _, o := range []Options{{}, {ReadOnly: true}, {Overlay: true}} {
		_, err := Open(path, o)
		require.Error(t, err)
	}
	d := mustOpen(t, path, Options{Format: FormatRaw})
	require.Equal(t, qcow2Magic, string(readAll(t, d)[:4]))
}

// A process that is killed leaves nothing.
func TestKilledProcessLeavesNothing(t *testing.T) {
	if path := os.Getenv("DISK_TEST_OVERLAY"); path != "" {
		d, err := Open(path, Options{Overlay: true})
		require.NoError(t, err)
		_, err = d.WriteAt([][]byte{noise(1<<20, 1)}, 0)
		require.NoError(t, err)
		os.Stdout.WriteString("ready\n")
		select {}
	}
	dir, path := t.TempDir(), put(t, "raw", make([]byte, 1<<20))
	self, err := os.Executable()
	require.NoError(t, err)
	c := exec.Command(self, "-test.run=^TestKilledProcessLeavesNothing$")
	c.Env = append(os.Environ(), "DISK_TEST_OVERLAY="+path, "TMPDIR="+dir)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	line := make([]byte, 6)
	_, err = io.ReadFull(out, line)
	require.NoError(t, err)
	require.Equal(t, "ready", strings.TrimSpace(string(line)))
	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Empty(t, left)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(make([]byte, 1<<20), got))
}

func TestNamesOfFormatsAndEngines(t *testing.T) {
	for _, f := range []Format{FormatAuto, FormatRaw, FormatQCOW2} {
		got, err := ParseFormat(f.String())
		require.NoError(t, err)
		require.Equal(t, f, got)
	}
	_, err := ParseEngine("aio")
	require.EqualError(t, err, `"aio": auto, uring, threads or sync`)
}
