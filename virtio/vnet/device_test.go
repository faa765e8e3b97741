package vnet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/virtio"
	"gvmm/virtio/virtiotest"
	"gvmm/virtio/vnet"
)

func TestOffersWhatItsLinkCan(t *testing.T) {
	for _, c := range []struct {
		offloads vnet.Offloads
		has, not uint64
	}{
		{plenty, everyHost | everyGuest | mergeable | everyControl, multiqueue},
		{vnet.Offloads{}, mergeable | everyControl, everyHost | everyGuest},
		{vnet.Offloads{TxChecksum: true, RxChecksum: true, RxTSO6: true}, csum | guestCsum | guestTSO6, hostTSO4 | hostTSO6 | hostECN | guestTSO4},
	} {
		d, err := vnet.New(&wire{offloads: c.offloads}, vnet.Options{MAC: own})
		require.NoError(t, err)
		require.Equal(t, c.has, d.Features()&c.has)
		require.Zero(t, d.Features()&c.not)
	}
}

func TestFeaturesThatContradictAreRefused(t *testing.T) {
	d, err := vnet.New(&wire{offloads: plenty}, vnet.Options{MAC: own, Pairs: 2})
	require.NoError(t, err)
	for _, f := range []uint64{
		guestTSO4, guestTSO6, guestCsum | guestECN, hostTSO4, hostTSO6, csum | hostECN, ctrlRx, ctrlRxExtra, multiqueue, ctrlMAC, guestOffloads,
	} {
		require.ErrorIs(t, d.CheckFeatures(f), vnet.ErrFeatures, "%#x", f)
	}
	for _, f := range []uint64{0, d.Features(), mergeable, csum | hostTSO4, ctrlQueue | multiqueue} {
		require.NoError(t, d.CheckFeatures(f), "%#x", f)
	}
}

func TestOptionsAreJudged(t *testing.T) {
	for name, o := range map[string]vnet.Options{
		"no address":       {},
		"group's address":  {MAC: every},
		"too many pairs":   {MAC: own, Pairs: 9},
		"pairs below none": {MAC: own, Pairs: -1},
		"queue size":       {MAC: own, QueueSize: 100},
		"MTU":              {MAC: own, MTU: 67},
		"large MTU":        {MAC: own, MTU: 65536},
		"speed":            {MAC: own, Speed: -1},
	} {
		_, err := vnet.New(&wire{}, o)
		require.ErrorIs(t, err, vnet.ErrOptions, name)
	}
	_, err := vnet.New(nil, vnet.Options{MAC: own})
	require.ErrorIs(t, err, vnet.ErrOptions)
}

func TestConfigurationSpace(t *testing.T) {
	d, err := vnet.New(&wire{}, vnet.Options{MAC: own, Pairs: 3, MTU: 9000, Speed: 25000})
	require.NoError(t, err)
	p := make([]byte, 24)
	d.ReadConfig(0, p)
	require.Equal(t, []byte{2, 0, 0, 0, 0, 1, 1, 0, 3, 0, 0x28, 0x23, 0xA8, 0x61, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, p)
	d.WriteConfig(0, []byte{9, 9, 9, 9, 9, 9})
	d.ReadConfig(2, p[:4])
	require.Equal(t, []byte{0, 0, 0, 1}, p[:4], "nothing is writable")
	d.ReadConfig(1<<40, p[:4])
	require.Equal(t, []byte{0, 0, 0, 0}, p[:4])
}

func TestFrameGoesToTheLinkAsItWasCut(t *testing.T) {
	for _, scatter := range []bool{false, true} {
		r := start(t, setup{features: everyHost, scatter: scatter})
		frame := frameTo(other, 9000)
		h, tso := packet{payload: make([]byte, 60000), gso: 1448}.build()
		all := append(raw(vnet.Header{}), frame...)
		r.transmit(0, all)
		r.transmit(0, raw(vnet.Header{}), frame[:1], frame[1:20], frame[20:])
		r.transmit(0, all[:5], all[5:300], all[300:])
		r.transmit(0, append(raw(h), tso...))
		got := r.wire.taken()
		require.Len(t, got, 4)
		for _, s := range got[:3] {
			require.Equal(t, vnet.Header{}, s.header)
			require.True(t, bytes.Equal(frame, s.frame))
		}
		require.Equal(t, h, got[3].header)
		require.True(t, bytes.Equal(tso, got[3].frame))
		s := r.device.Stats(1)
		require.Equal(t, uint64(4), s.Frames.Load())
		require.Equal(t, uint64(3*9000+len(tso)), s.Bytes.Load())
		for range 4 {
			_, written, ok := r.queues[1].Poll()
			require.True(t, ok)
			require.Zero(t, written)
		}
		require.Positive(t, r.irqs[1])
	}
}

func TestFramesThatAreWrongCostThemselvesAlone(t *testing.T) {
	good, tso := packet{payload: make([]byte, 3000), gso: 1000}.build()
	_, tso6 := packet{v6: true, payload: make([]byte, 3000), gso: 1000}.build()
	good6 := good
	good6.GSOType, good6.CsumStart = vnet.GSOTCPv6, 54
	ecn := good
	ecn.GSOType |= vnet.GSOECN
	partial := good
	partial.GSOType = 0
	past := partial
	past.CsumOffset = 60000
	for _, c := range []struct {
		name     string
		features uint64
		chain    [][]byte
	}{
		{"no header", everyHost, [][]byte{make([]byte, 11)}},
		{"header alone", everyHost, [][]byte{raw(vnet.Header{})}},
		{"frame without a type", everyHost, [][]byte{raw(vnet.Header{}), make([]byte, 13)}},
		{"longer than any", everyHost, [][]byte{raw(vnet.Header{}), make([]byte, vnet.MaxFrame+1)}},
		{"checksum past the frame", everyHost, [][]byte{raw(past), tso}},
		{"checksum not negotiated", 0, [][]byte{raw(partial), tso}},
		{"TSO not negotiated", csum, [][]byte{raw(good), tso}},
		{"TSO of IPv6 not negotiated", csum | hostTSO4, [][]byte{raw(good6), tso6}},
		{"ECN not negotiated", csum | hostTSO4, [][]byte{raw(ecn), tso}},
		{"unknown GSO", everyHost, [][]byte{raw(vnet.Header{Flags: 1, GSOType: 3, GSOSize: 1000, CsumStart: 34, CsumOffset: 6}), tso}},
	} {
		r := start(t, setup{features: c.features})
		r.transmit(0, c.chain...)
		require.Empty(t, r.wire.taken(), c.name)
		require.Equal(t, uint64(1), r.device.Stats(1).Malformed.Load(), c.name)
		_, _, ok := r.queues[1].Poll()
		require.True(t, ok, "%s: its chain comes back", c.name)
		r.transmit(0, raw(vnet.Header{}), frameTo(other, 60))
		require.Len(t, r.wire.taken(), 1, c.name)
		require.Empty(t, r.failed)
	}
}

func TestLinkIsToldOnlyWhatMeansSomething(t *testing.T) {
	r := start(t, setup{features: everyHost})
	frame := frameTo(other, 100)
	r.transmit(0, raw(vnet.Header{Flags: 0xFE, HdrLen: 77, GSOSize: 9, CsumStart: 5, CsumOffset: 3}), frame)
	r.transmit(0, raw(vnet.Header{Flags: 0xFF, HdrLen: 5000, GSOSize: 9, CsumStart: 34, CsumOffset: 3}), frame)
	got := r.wire.taken()
	require.Equal(t, vnet.Header{}, got[0].header, "a guest cannot call a checksum valid")
	require.Equal(t, vnet.Header{Flags: 1, HdrLen: 100, CsumStart: 34, CsumOffset: 3}, got[1].header)
}

func TestFullLinkIsCounted(t *testing.T) {
	r := start(t, setup{})
	r.wire.full = true
	r.transmit(0, raw(vnet.Header{}), frameTo(other, 60))
	require.Equal(t, uint64(1), r.device.Stats(1).NoRoom.Load())
	require.Zero(t, r.device.Stats(1).Frames.Load())
}

func TestMergeableFrameIsSpread(t *testing.T) {
	r := start(t, setup{features: mergeable})
	r.post(0, 1000) // the first kick is not to be avoided
	require.False(t, r.post(0, 500, 100, 4000, 60, 2000), "there is no need to kick")
	for _, c := range []struct{ n, buffers int }{{988, 1}, {501, 2}, {3988 + 61, 3}} {
		frame := frameTo(own, c.n)
		require.True(t, r.receive(vnet.Header{}, frame))
		_, got, buffers, ok := r.got(0)
		require.True(t, ok)
		require.Equal(t, c.buffers, buffers)
		require.True(t, bytes.Equal(frame, got))
	}
	require.Equal(t, uint64(988+501+4049), r.device.Stats(0).Bytes.Load())
	require.Positive(t, r.irqs[0])
}

func TestFrameWithoutBuffersIsRefusedAndNothingIsConsumed(t *testing.T) {
	r := start(t, setup{features: mergeable})
	small, large := frameTo(own, 80), frameTo(own, 1000)
	require.False(t, r.receive(vnet.Header{}, small))
	require.True(t, r.post(0, 200, 200), "the driver is told to kick")
	require.Equal(t, 1, r.wire.room())
	require.False(t, r.receive(vnet.Header{}, large))
	_, _, _, ok := r.got(0)
	require.False(t, ok)
	require.True(t, r.receive(vnet.Header{}, small), "what fits is received")
	require.Equal(t, 2, r.wire.room(), "buffers had come after all")
	_, got, _, _ := r.got(0)
	require.Equal(t, small, got)
	require.False(t, r.receive(vnet.Header{}, large))
	require.True(t, r.post(0, 400, 600), "room past what was there")
	require.Equal(t, 3, r.wire.room())
	require.True(t, r.receive(vnet.Header{}, large))
	_, got, buffers, _ := r.got(0)
	require.Equal(t, large, got)
	require.Equal(t, 3, buffers)
	require.Equal(t, uint64(3), r.device.Stats(0).NoRoom.Load())
}

func TestFrameLongerThanTheChainIsDroppedWithoutMergeableBuffers(t *testing.T) {
	r := start(t, setup{})
	r.post(0, 200)
	require.True(t, r.receive(vnet.Header{}, frameTo(own, 189)))
	require.Equal(t, uint64(1), r.device.Stats(0).Dropped.Load())
	require.True(t, r.receive(vnet.Header{}, frameTo(own, 188)))
	_, got, buffers, _ := r.got(0)
	require.Len(t, got, 188)
	require.Equal(t, 1, buffers)
}

func TestBuffersTooShortForAHeaderGoBackEmpty(t *testing.T) {
	r := start(t, setup{features: mergeable})
	r.post(0, 5, 11, 100)
	require.True(t, r.receive(vnet.Header{}, frameTo(own, 60)))
	for range 2 {
		_, got, _, ok := r.got(0)
		require.True(t, ok)
		require.Empty(t, got)
	}
	_, got, _, _ := r.got(0)
	require.Equal(t, frameTo(own, 60), got)
	require.Equal(t, uint64(2), r.device.Stats(0).Malformed.Load())
}

func TestHeaderAndFrameMayBeCutAnywhereInTheChain(t *testing.T) {
	r := start(t, setup{})
	at := r.place(0, 200)
	var chain []virtiotest.Desc
	for _, n := range []uint32{3, 8, 2, 1, 100} {
		chain = append(chain, virtiotest.Desc{Addr: at, Len: n, Flags: virtiotest.Write})
		at += uint64(n)
	}
	r.queues[0].Add(chain...)
	r.queues[0].Publish()
	require.True(t, r.receive(vnet.Header{}, frameTo(own, 102)))
	_, written, _ := r.queues[0].Poll()
	require.Equal(t, uint32(114), written)
	require.Equal(t, frameTo(own, 102), r.mem.Bytes(chain[0].Addr+12, 102))
}

func TestFrameIsCompletedForADriverThatDoesNot(t *testing.T) {
	p := packet{payload: frameTo(own, 5000), gso: 1448, flags: 0x98}
	h, frame := p.build()
	partial := h
	partial.GSOType, partial.GSOSize = 0, 0
	tcpOf := func(f []byte) []byte { _, tcp := p.parse(t, f); return tcp.Payload() }

	t.Run("taken as it is", func(t *testing.T) {
		r := start(t, setup{features: mergeable | everyGuest})
		r.post(0, 6000)
		require.True(t, r.receive(h, frame))
		got, body, _, _ := r.got(0)
		require.Equal(t, h, got)
		require.True(t, bytes.Equal(frame, body))
		require.Zero(t, r.device.Stats(0).Completed.Load())
	})
	t.Run("checksum", func(t *testing.T) {
		r := start(t, setup{features: mergeable})
		r.post(0, 6000)
		require.True(t, r.receive(partial, frame))
		got, body, _, _ := r.got(0)
		require.Equal(t, vnet.Header{}, got)
		require.True(t, bytes.Equal(p.payload, tcpOf(body)))
		require.Equal(t, uint64(1), r.device.Stats(0).Completed.Load())
	})
	t.Run("valid is not said to who did not ask", func(t *testing.T) {
		r := start(t, setup{features: mergeable})
		r.post(0, 6000)
		require.True(t, r.receive(vnet.Header{Flags: vnet.HdrDataValid}, frame))
		got, _, _, _ := r.got(0)
		require.Equal(t, vnet.Header{}, got)
	})
	for name, features := range map[string]uint64{"segments": mergeable | guestCsum, "segments, one buffer each": 0} {
		t.Run(name, func(t *testing.T) {
			r := start(t, setup{features: features})
			r.post(0, 1600, 1600, 1600)
			require.False(t, r.receive(h, frame), "all segments or none")
			_, _, _, ok := r.got(0)
			require.False(t, ok)
			r.post(0, 1600)
			require.True(t, r.receive(h, frame))
			var payload []byte
			for range 4 {
				got, body, buffers, _ := r.got(0)
				require.Equal(t, vnet.Header{}, got)
				require.Equal(t, 1, buffers)
				payload = append(payload, tcpOf(body)...)
			}
			require.True(t, bytes.Equal(p.payload, payload))
			require.Equal(t, uint64(4), r.device.Stats(0).Frames.Load())
		})
	}
	t.Run("a long train gets what room there is", func(t *testing.T) {
		r := start(t, setup{size: 8})
		require.False(t, r.receive(h, frame))
		r.post(0, 1600, 1600)
		require.True(t, r.receive(h, frame))
		require.Equal(t, uint64(2), r.device.Stats(0).Dropped.Load())
		require.Equal(t, uint64(2), r.device.Stats(0).Frames.Load())
	})
	t.Run("segments that fit no buffer", func(t *testing.T) {
		r := start(t, setup{})
		r.post(0, 1600, 100, 1600, 1600)
		require.True(t, r.receive(h, frame))
		require.Equal(t, uint64(4), r.device.Stats(0).Dropped.Load())
		_, _, _, ok := r.got(0)
		require.False(t, ok)
	})
	t.Run("what is no TCP", func(t *testing.T) {
		r := start(t, setup{})
		r.post(0, 1600)
		bad := bytes.Clone(frame)
		bad[14+9] = 17
		require.True(t, r.receive(h, bad))
		require.Equal(t, uint64(1), r.device.Stats(0).Malformed.Load())
	})
}

func TestWhatALinkMayNotReceiveIsDropped(t *testing.T) {
	r := start(t, setup{features: mergeable})
	r.post(0, 1600)
	for _, frame := range [][]byte{nil, make([]byte, 13), make([]byte, vnet.MaxFrame+1)} {
		require.True(t, r.receive(vnet.Header{}, frame))
	}
	require.True(t, r.receive(vnet.Header{Flags: 1, CsumStart: 5000}, frameTo(own, 60)))
	require.Equal(t, uint64(4), r.device.Stats(0).Malformed.Load())
	absent := start(t, setup{absent: 1})
	require.True(t, absent.receive(vnet.Header{}, frameTo(own, 60)))
	require.Equal(t, uint64(1), absent.device.Stats(0).Dropped.Load())
}

func TestRingThatIsWrongCostsItsQueue(t *testing.T) {
	r := start(t, setup{features: mergeable})
	r.queues[0].SetAvailIndex(1000)
	require.True(t, r.receive(vnet.Header{}, frameTo(own, 60)))
	require.ErrorIs(t, r.failed[0], virtio.ErrAvailIndex)
	require.True(t, r.receive(vnet.Header{}, frameTo(own, 60)))
	r.transmit(0, raw(vnet.Header{}), frameTo(other, 60))
	require.Len(t, r.wire.taken(), 1, "the other queue goes on")
	r.queues[1].SetAvailIndex(1000)
	r.run.Kick(1)
	r.run.Kick(1)
	require.ErrorIs(t, r.failed[1], virtio.ErrAvailIndex)
}

func TestStopEndsAllUse(t *testing.T) {
	for _, threaded := range []bool{false, true} {
		r := start(t, setup{threaded: threaded})
		r.run.Stop()
		r.run.Stop()
		require.Equal(t, 1, r.wire.stops)
		for q := -1; q < 5; q++ {
			r.run.Kick(q)
		}
		r.transmit(0, raw(vnet.Header{}), frameTo(other, 60))
		require.Empty(t, r.wire.taken())
	}
}

func TestDeviceWithGoroutinesTransmitsOnAKick(t *testing.T) {
	r := start(t, setup{threaded: true, features: ctrlQueue | ctrlRx})
	for n := range 200 {
		r.transmit(0, raw(vnet.Header{}), frameTo(other, 60+n))
		if n%8 == 7 {
			eventually(t, func() bool { return r.queues[1].UsedIndex() == uint16(n+1) })
			for _, _, ok := r.queues[1].Poll(); ok; _, _, ok = r.queues[1].Poll() {
			}
		}
	}
	require.Len(t, r.wire.taken(), 200)
}

func TestReceiversAndDriverSideBySideLoseNothing(t *testing.T) {
	r := start(t, setup{features: mergeable, threaded: true, size: 16})
	const senders, frames = 3, 400
	var g sync.WaitGroup
	wake := make(chan struct{}, senders)
	r.wire.receiver.OnRoom(func() {
		for range senders {
			select {
			case wake <- struct{}{}:
			default:
			}
		}
	})
	for s := range senders {
		g.Go(func() {
			for n := range frames {
				f := frameTo(own, 60+n%900)
				f[14] = byte(s)
				binary.LittleEndian.PutUint16(f[15:], uint16(n))
				for !r.wire.receiver.Receive(vnet.Header{}, [][]byte{f}) {
					<-wake
				}
			}
			// Whoever still waits must not wait for a room that was another's.
			wake <- struct{}{}
		})
	}
	next := [senders]int{}
	posted := 0
	for seen := 0; seen < senders*frames; {
		for posted < 16 {
			r.post(0, 300)
			posted++
		}
		_, f, buffers, ok := r.got(0)
		if !ok {
			continue
		}
		posted -= buffers
		seen++
		require.Equal(t, next[f[14]], int(binary.LittleEndian.Uint16(f[15:])), "in order")
		require.Equal(t, 60+next[f[14]]%900, len(f))
		next[f[14]]++
		for len(wake) > 0 && seen == senders*frames {
			<-wake
		}
	}
	done := make(chan struct{})
	go func() { g.Wait(); close(done) }()
	for ended := false; !ended; {
		select {
		case <-wake:
		case <-done:
			ended = true
		}
	}
}

func TestAnyFramesThroughAnyBuffers(outer *testing.T) {
	rapid.Check(outer, func(t *rapid.T) {
		features := uint64(rapid.SampledFrom([]int{0, mergeable, mergeable | everyGuest, everyGuest}).Draw(t, "features"))
		r := start(outer, setup{features: features, size: 32, scatter: rapid.Bool().Draw(t, "scatter")})
		defer r.run.Stop()
		var want [][]byte
		posted := 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "post") && posted < 32 {
				r.post(0, rapid.IntRange(1, 3000).Draw(t, "size"))
				posted++
				continue
			}
			dropped := r.device.Stats(0).Dropped.Load()
			frame := frameTo(own, rapid.IntRange(14, 4000).Draw(t, "frame"))
			before := r.queues[0].UsedIndex()
			if !r.receive(vnet.Header{}, frame) {
				require.Equal(t, before, r.queues[0].UsedIndex(), "refused, and nothing consumed")
			} else if r.device.Stats(0).Dropped.Load() == dropped {
				want = append(want, frame)
			} else {
				require.Zero(t, features&mergeable)
			}
			for r.queues[0].Seen() != r.queues[0].UsedIndex() {
				seen := r.queues[0].Seen()
				_, got, buffers, _ := r.got(0)
				posted -= int(r.queues[0].Seen() - seen)
				if buffers == 0 {
					require.Empty(t, got)
					continue
				}
				require.NotEmpty(t, want)
				require.True(t, bytes.Equal(want[0], got))
				want = want[1:]
			}
			require.Empty(t, want)
			require.Empty(t, r.failed)
		}
	})
}

func TestDataPathDoesNotAllocate(t *testing.T) {
	r := start(t, setup{features: mergeable | everyHost})
	rx, _ := r.queues[0].Add(virtiotest.Desc{Addr: r.place(0, 600), Len: 600, Flags: virtiotest.Write})
	second, _ := r.queues[0].Add(virtiotest.Desc{Addr: r.place(0, 600), Len: 600, Flags: virtiotest.Write})
	r.queues[0].Publish()
	frame := [][]byte{frameTo(own, 1000)}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		require.True(t, r.wire.receiver.Receive(vnet.Header{}, frame))
		r.queues[0].Offer(rx)
		r.queues[0].Offer(second)
		r.queues[0].Publish()
	}), "receiving")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for range 3 {
			require.True(t, r.wire.receiver.Receive(vnet.Header{Flags: 1, CsumStart: 14, CsumOffset: 0}, frame))
			r.queues[0].Offer(rx)
			r.queues[0].Offer(second)
			r.queues[0].Publish()
		}
	}), "completing")
	r.transmit(0, raw(vnet.Header{}), frameTo(other, 1000))
	head, _, _ := r.queues[1].Poll()
	r.wire.silent = true
	require.Zero(t, testing.AllocsPerRun(100, func() {
		r.queues[1].Offer(head)
		r.queues[1].Publish()
		r.run.Kick(1)
	}), "transmitting")
	require.Equal(t, uint64(102), r.device.Stats(1).Frames.Load())
}

var errGone = errors.New("gone")

// fickle is memory that is taken away.
type fickle struct {
	virtio.DMA
	gone *bool
}

func (f fickle) Segments(dst [][]byte, addr uint64, n uint32, write bool) ([][]byte, error) {
	if *f.gone {
		return nil, errGone
	}
	return f.DMA.Segments(dst, addr, n, write)
}

func TestBuffersThatAreNoMemoryCostTheirQueue(t *testing.T) {
	gone := false
	r := start(t, setup{features: mergeable, dma: func(d virtio.DMA) virtio.DMA { return fickle{d, &gone} }})
	r.post(0, 500)
	gone = true
	require.True(t, r.receive(vnet.Header{}, frameTo(own, 60)))
	require.ErrorIs(t, r.failed[0], errGone)
}
