package disk

import (
	"fmt"
	"testing"

	"gvmm/virtio/blk"
)

// BenchmarkRead4K reads pieces of 4 KiB, depth at a time, by each engine.
func BenchmarkRead4K(b *testing.B) {
	path := put(b, "raw", noise(8<<20, 1))
	for _, o := range []Options{
		{Engine: EngineSync}, {Engine: EngineUring}, {Direct: true, Engine: EngineSync}, {Direct: true, Engine: EngineUring},
		{Overlay: true, Engine: EngineSync}, {Overlay: true, Engine: EngineUring},
	} {
		for _, depth := range []int{1, 32} {
			b.Run(fmt.Sprintf("engine=%v,direct=%v,overlay=%v/depth=%d", o.Engine, o.Direct, o.Overlay, depth), func(b *testing.B) {
				d, err := Open(path, o)
				if err != nil {
					b.Skip(err)
				}
				defer d.Close()
				read4K(b, d, depth)
			})
		}
	}
}

func read4K(b *testing.B, d Image, depth int) {
	buffers := alignedBytes(4096*depth, 4096)
	s, submits := d.(blk.Submitter)
	done := make(chan error, depth)
	transfers := make([]blk.Transfer, depth)
	for i := range transfers {
		transfers[i] = blk.Transfer{Segments: [][]byte{buffers[4096*i:][:4096]}, Done: func(_ int, err error) { done <- err }}
	}
	b.SetBytes(int64(4096 * depth))
	b.ReportAllocs()
	for next := int64(0); b.Loop(); {
		for i := range transfers {
			t := &transfers[i]
			t.Off = next * 4096 * 7919 % d.Size() &^ 4095
			next++
			if submits && s.Submit(t) {
				continue
			}
			_, err := d.ReadAt(t.Segments, t.Off)
			done <- err
		}
		if submits {
			s.Commit()
		}
		for range depth {
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		}
	}
}
