package vnet_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gvmm/virtio/virtiotest"
	"gvmm/virtio/vnet"
)

// Classes of commands.
const (
	classRx, classMAC, classMQ, classOffloads = 0, 1, 4, 5
	promisc, allMulti, allUni                 = 0, 1, 2
	noMulti, noUni, noBroadcast               = 3, 4, 5
)

var (
	group1 = vnet.MAC{1, 0, 0x5E, 0, 0, 1}
	group2 = vnet.MAC{1, 0, 0x5E, 0, 0, 2}
)

// table is CTRL_MAC_TABLE_SET's data.
func table(unicast, multi []vnet.MAC) (b []byte) {
	for _, list := range [][]vnet.MAC{unicast, multi} {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(list)))
		for _, m := range list {
			b = append(b, m[:]...)
		}
	}
	return b
}

func TestFilterReceivesWhatTheDriverAsksFor(t *testing.T) {
	type step struct {
		class, command byte
		data           []byte
	}
	mode := func(m byte, on byte) step { return step{classRx, m, []byte{on}} }
	many := slices.Repeat([]vnet.MAC{group1}, 65)
	manyUni := slices.Repeat([]vnet.MAC{own}, 65)
	for _, c := range []struct {
		name  string
		steps []step
		want  []vnet.MAC
	}{
		{"everything at first", nil, []vnet.MAC{own, other, group1, group2, every}},
		{"its own and broadcast", []step{mode(promisc, 0)}, []vnet.MAC{own, every}},
		{"groups", []step{mode(promisc, 0), mode(allMulti, 1)}, []vnet.MAC{own, group1, group2, every}},
		{"groups no more", []step{mode(promisc, 0), mode(allMulti, 1), mode(allMulti, 0)}, []vnet.MAC{own, every}},
		{"a table", []step{mode(promisc, 0), {classMAC, 0, table([]vnet.MAC{other}, []vnet.MAC{group2})}}, []vnet.MAC{own, other, group2, every}},
		{"too many groups", []step{mode(promisc, 0), {classMAC, 0, table(nil, many)}}, []vnet.MAC{own, group1, group2, every}},
		{"too many stations", []step{mode(promisc, 0), {classMAC, 0, table(manyUni, nil)}}, []vnet.MAC{own, other, every}},
		{"an empty table", []step{mode(promisc, 0), {classMAC, 0, table(nil, many)}, {classMAC, 0, table(nil, nil)}}, []vnet.MAC{own, every}},
		{"all stations", []step{mode(promisc, 0), mode(allUni, 1)}, []vnet.MAC{own, other, every}},
		{"no broadcast", []step{mode(promisc, 0), mode(noBroadcast, 1)}, []vnet.MAC{own}},
		{"no station", []step{mode(promisc, 0), mode(noUni, 1)}, []vnet.MAC{every}},
		{"no group", []step{mode(promisc, 0), mode(allMulti, 1), mode(noMulti, 1)}, []vnet.MAC{own, every}},
		{"another address", []step{mode(promisc, 0), {classMAC, 1, other[:]}}, []vnet.MAC{other, every}},
	} {
		r := start(t, setup{features: mergeable | everyControl})
		for _, s := range c.steps {
			require.Zero(t, r.command(s.class, s.command, s.data...), c.name)
		}
		var got []vnet.MAC
		for _, to := range []vnet.MAC{own, other, group1, group2, every} {
			r.post(0, 200)
			require.True(t, r.receive(vnet.Header{}, frameTo(to, 60)))
			if _, _, _, ok := r.got(0); ok {
				got = append(got, to)
			}
		}
		require.Equal(t, c.want, got, c.name)
		require.Equal(t, uint64(5-len(got)), r.device.Stats(0).Filtered.Load(), c.name)
	}
}

func TestAddressOfTheDriversLastsUntilTheReset(t *testing.T) {
	r := start(t, setup{features: everyControl})
	require.Zero(t, r.command(classMAC, 1, other[:]...))
	p := make([]byte, 6)
	r.device.ReadConfig(0, p)
	require.Equal(t, other[:], p)
	r.run.Stop()
	r.device.ReadConfig(0, p)
	require.Equal(t, own[:], p)
}

func TestCommandsThatAreWrongAreRefused(t *testing.T) {
	long := table(nil, nil)
	binary.LittleEndian.PutUint32(long, 0xFFFF_FFFF)
	for _, c := range []struct {
		name           string
		features       uint64
		class, command byte
		data           []byte
	}{
		{"class", everyControl, 9, 0, nil},
		{"command", everyControl, classRx, 6, []byte{1}},
		{"mode without a value", everyControl, classRx, promisc, nil},
		{"mode of two bytes", everyControl, classRx, promisc, []byte{1, 1}},
		{"mode of 2", everyControl, classRx, promisc, []byte{2}},
		{"mode not negotiated", ctrlQueue, classRx, promisc, []byte{1}},
		{"extra mode not negotiated", ctrlQueue | ctrlRx, classRx, noUni, []byte{1}},
		{"table not negotiated", ctrlQueue, classMAC, 0, table(nil, nil)},
		{"table cut in its length", everyControl, classMAC, 0, table(nil, nil)[:7]},
		{"table cut in its addresses", everyControl, classMAC, 0, table([]vnet.MAC{own}, nil)[:9]},
		{"table longer than its data", everyControl, classMAC, 0, long},
		{"table with a rest", everyControl, classMAC, 0, append(table(nil, nil), 0)},
		{"address of a group", everyControl, classMAC, 1, group1[:]},
		{"address of nobody", everyControl, classMAC, 1, make([]byte, 6)},
		{"address of 5 bytes", everyControl, classMAC, 1, own[:5]},
		{"address not negotiated", ctrlQueue, classMAC, 1, other[:]},
		{"no pairs", everyControl | multiqueue, classMQ, 0, []byte{0, 0}},
		{"more pairs than there are", everyControl | multiqueue, classMQ, 0, []byte{3, 0}},
		{"pairs of one byte", everyControl | multiqueue, classMQ, 0, []byte{1}},
		{"pairs not negotiated", everyControl, classMQ, 0, []byte{1, 0}},
		{"offloads not negotiated", everyControl | guestCsum, classOffloads, 0, binary.LittleEndian.AppendUint64(nil, guestTSO4)},
		{"offloads that are none", everyControl | everyGuest, classOffloads, 0, binary.LittleEndian.AppendUint64(nil, mergeable)},
		{"offloads of 4 bytes", everyControl | everyGuest, classOffloads, 0, make([]byte, 4)},
	} {
		r := start(t, setup{features: c.features, options: vnet.Options{Pairs: 2}})
		require.Equal(t, byte(1), r.command(c.class, c.command, c.data...), c.name)
		require.Equal(t, uint64(1), r.device.Stats(4).Malformed.Load(), c.name)
	}
}

func TestChainsThatAreNoCommandComeBack(t *testing.T) {
	r := start(t, setup{features: everyControl})
	q := r.queues[2]
	at := r.place(2, 1<<17)
	for _, chain := range [][]virtiotest.Desc{
		{{Addr: at, Len: 3}}, // nowhere to answer
		{{Addr: at, Len: 1}, {Addr: at + 64, Len: 1, Flags: virtiotest.Write}},
		{{Addr: at + 64, Len: 1, Flags: virtiotest.Write}},
		{{Addr: at, Len: 1<<16 + 1}, {Addr: at + 1<<16 + 64, Len: 1, Flags: virtiotest.Write}},
	} {
		q.Add(chain...)
		q.Publish()
		r.run.Kick(2)
		_, _, ok := q.Poll()
		require.True(t, ok)
	}
	require.Equal(t, uint64(4), r.device.Stats(2).Malformed.Load())
	require.Zero(t, r.command(classRx, promisc, 1))
}

func TestOffloadsAreSwitchedAtWork(t *testing.T) {
	r := start(t, setup{features: mergeable | everyGuest | everyControl})
	h, frame := packet{payload: make([]byte, 3000), gso: 1448}.build()
	for _, c := range []struct {
		offloads uint64
		frames   int
	}{{guestCsum, 3}, {guestCsum | guestTSO4, 1}, {0, 3}, {everyGuest, 1}} {
		require.Zero(t, r.command(classOffloads, 0, binary.LittleEndian.AppendUint64(nil, c.offloads)...))
		r.post(0, 3200, 1600, 1600, 1600)
		require.True(t, r.receive(h, frame))
		n := 0
		for _, _, _, ok := r.got(0); ok; _, _, _, ok = r.got(0) {
			n++
		}
		require.Equal(t, c.frames, n, "%#x", c.offloads)
		for r.receive(vnet.Header{}, frameTo(own, 1500)) { // use up what is left
		}
		for _, _, _, ok := r.got(0); ok; _, _, _, ok = r.got(0) {
		}
	}
}

// udp is a frame of a flow: from a host and port to this station.
func udp(to vnet.MAC, from, dst netip.AddrPort) []byte {
	f := frameTo(to, 14+20+8+20)
	f[12], f[13] = 8, 0
	clear(f[14:])
	f[14], f[14+9] = 0x45, 17
	s, d := from.Addr().As4(), dst.Addr().As4()
	copy(f[14+12:], s[:])
	copy(f[14+16:], d[:])
	binary.BigEndian.PutUint16(f[34:], from.Port())
	binary.BigEndian.PutUint16(f[36:], dst.Port())
	return f
}

func TestFlowComesBackOnThePairThatItWasSentOn(t *testing.T) {
	r := start(t, setup{features: mergeable | everyControl | multiqueue, options: vnet.Options{Pairs: 4}})
	guest := netip.MustParseAddrPort("10.0.0.1:5000")
	received := func(frame []byte) int {
		require.True(t, r.receive(vnet.Header{}, frame))
		for pair := range 4 {
			if _, _, _, ok := r.got(pair); ok {
				r.post(pair, 2000)
				return pair
			}
		}
		require.FailNow(t, "received nowhere")
		return -1
	}
	for pair := range 4 {
		r.post(pair, slices.Repeat([]int{2000}, 40)...)
	}
	peer := func(n int) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), uint16(1000+n)) }
	for n := range 20 {
		require.Zero(t, received(udp(own, peer(n), guest)), "one pair until more are asked for")
	}
	require.Zero(t, r.command(classMQ, 0, 4, 0))
	used := map[int]bool{}
	for n := range 40 {
		used[received(udp(own, peer(n), guest))] = true
	}
	require.Len(t, used, 4, "flows are spread")
	for n := range 40 {
		pair := n % 4
		r.transmit(pair, raw(vnet.Header{}), udp(other, guest, peer(n)))
		require.Equal(t, pair, received(udp(own, peer(n), guest)))
	}
	require.Zero(t, r.command(classMQ, 0, 2, 0))
	for n := range 40 {
		require.Less(t, received(udp(own, peer(n), guest)), 2, "not on pairs out of use")
	}
}

func TestFrameRefusedOnAPairThatGoesFindsAnother(t *testing.T) {
	r := start(t, setup{features: mergeable | everyControl | multiqueue, options: vnet.Options{Pairs: 2}})
	require.Zero(t, r.command(classMQ, 0, 2, 0))
	guest, peer := netip.MustParseAddrPort("10.0.0.1:5000"), netip.MustParseAddrPort("10.0.0.2:1000")
	r.transmit(1, raw(vnet.Header{}), udp(other, guest, peer))
	r.post(0, 2000)
	require.False(t, r.receive(vnet.Header{}, udp(own, peer, guest)))
	require.Zero(t, r.command(classMQ, 0, 1, 0))
	require.Equal(t, 1, r.wire.room())
	require.True(t, r.receive(vnet.Header{}, udp(own, peer, guest)))
}

func TestLinkDoesNotWaitForAQueueThatFailed(t *testing.T) {
	r := start(t, setup{features: mergeable})
	require.False(t, r.receive(vnet.Header{}, frameTo(own, 60)))
	r.queues[0].SetAvailIndex(1000)
	require.True(t, r.receive(vnet.Header{}, frameTo(own, 60)))
	require.NotEmpty(t, r.failed)
	require.Equal(t, 1, r.wire.room())
}

func TestDriverWithoutMultiqueueFindsItsControlQueueThird(t *testing.T) {
	r := start(t, setup{features: everyControl, options: vnet.Options{Pairs: 4}})
	require.Equal(t, 2, r.control)
	require.Zero(t, r.command(classRx, promisc, 0))
	require.Equal(t, uint64(1), r.device.Stats(8).Commands.Load())
}

func TestAnyCommandIsAnswered(outer *testing.T) {
	rapid.Check(outer, func(t *rapid.T) {
		r := start(outer, setup{features: mergeable | everyGuest | everyControl | multiqueue, options: vnet.Options{Pairs: 2}})
		defer r.run.Stop()
		for range 20 {
			ack := r.command(byte(rapid.IntRange(0, 6).Draw(t, "class")), byte(rapid.IntRange(0, 6).Draw(t, "command")),
				rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(t, "data")...)
			require.LessOrEqual(t, ack, byte(1))
			r.receive(vnet.Header{}, frameTo(own, 60))
		}
		require.Empty(t, r.failed)
	})
}

func FuzzDriver(f *testing.F) {
	h, frame := packet{payload: make([]byte, 200), gso: 100}.build()
	f.Add(append(raw(h), frame...), []byte{classMAC, 0, 0, 0, 0, 0, 0, 0, 0, 0}, uint16(200))
	f.Add([]byte{}, []byte{classOffloads, 0, 0, 0, 0, 0, 0, 0, 0, 0}, uint16(5))
	f.Add(append(raw(vnet.Header{}), frameTo(every, 60)...), []byte{classMQ, 0, 2, 0}, uint16(2000))
	f.Add(append(raw(vnet.Header{}), frameTo(own, 14)...), []byte{classRx, 3, 1}, uint16(13))
	f.Fuzz(func(t *testing.T, tx, command []byte, buffer uint16) {
		if len(tx) > 70000 || len(command) > 70000 || len(tx) == 0 || len(command) < 2 || buffer == 0 {
			return
		}
		r := start(t, setup{features: everyHost | everyControl | mergeable | guestCsum | multiqueue, options: vnet.Options{Pairs: 2}})
		r.command(command[0], command[1], command[2:]...)
		r.post(0, slices.Repeat([]int{int(buffer)}, 16)...)
		r.transmit(0, tx)
		for _, s := range r.wire.taken() { // what the link got, it may give to another device
			require.NoError(t, s.header.Check(len(s.frame)))
			r.receive(s.header, s.frame)
		}
		for q := range r.queues {
			for _, _, ok := r.queues[q].Poll(); ok; _, _, ok = r.queues[q].Poll() {
			}
		}
		require.Empty(t, r.failed)
		r.run.Stop()
	})
}
