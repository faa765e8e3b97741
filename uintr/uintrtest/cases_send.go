package uintrtest

import "fmt"

func send(name string, given, want func(*Case)) Case {
	return newCase("SENDUIPI "+name, SendUIPI, given, want)
}

// posts wants a vector posted to UPID i and, if it may notify, its notification sent (uintr.md §1.7 step 4).
func posts(i int, vector uint64) func(*Case) {
	return func(c *Case) {
		u := &c.Want.UPID[i]
		u.PIR |= 1 << vector
		if u.Low&(on|sn) != 0 {
			return
		}
		c.Want.IPI = IPI{Sent: true, Vector: uint32(u.Low >> 16 & 0xFF), NDST: uint32(u.Low >> 32)}
		u.Low |= on
	}
}

func sendCases() []Case {
	index := func(i uint64) func(*Case) { return func(c *Case) { c.Operand = i } }
	low := func(v uint64) func(*Case) { return func(c *Case) { c.UITT[0].Low = v } }
	upid := func(u UPID) func(*Case) { return func(c *Case) { c.UPID[1] = u } }
	gp := faults(vectorGP, 0)
	cases := []Case{
		send("posts, sets ON and notifies", nil, posts(1, 5)),
		send("keeps RFLAGS", func(c *Case) { c.RFLAGS = allUser }, posts(1, 5)),
		send("keeps UIRR and UIF", func(c *Case) { c.Before.UIRR = 0xF0 }, posts(1, 5)),
		send("is not held back by UIF", func(c *Case) { c.Before.UIF = true }, posts(1, 5)),

		send("index equal to UITTSZ", index(3), posts(1, 0)),
		send("index above UITTSZ", index(4), gp),
		send("index 2^32", index(1<<32), gp),
		send("index 2^60, whose entry would wrap to the first", index(1<<60), gp),
		send("index 2^64-1", index(1<<64-1), gp),
		send("index 0 of a table of one", func(c *Case) { c.Before.UITTSize = 0 }, posts(1, 5)),
		send("index 1 of a table of one", func(c *Case) { c.Before.UITTSize, c.Operand = 0, 1 }, gp),

		send("entry not valid", low(target(5)&^1), gp),
		send("entry of zeros", func(c *Case) { c.UITT[0] = UITTEntry{} }, gp),
		send("user vector 63", index(2), posts(1, 63)),
		send("user vector 64", low(target(64)), gp),
		send("user vector 128", low(target(128)), gp),
		send("user vector 255", low(target(255)), gp),

		send("vector already posted, no notification outstanding", upid(UPID{control(otherNV, otherNDST, 0), 1 << 5}), posts(1, 5)),
		send("ON set", upid(UPID{control(otherNV, otherNDST, on), 1}), posts(1, 5)),
		send("ON set and vector already posted: coalesces", upid(UPID{control(otherNV, otherNDST, on), 1 << 5}), posts(1, 5)),
		send("SN set", upid(UPID{control(otherNV, otherNDST, sn), 0}), posts(1, 5)),
		send("ON and SN set", upid(UPID{control(otherNV, otherNDST, on|sn), 1 << 63}), posts(1, 5)),

		send("NDST goes out as stored: all ones", upid(UPID{control(otherNV, 0xFFFF_FFFF, 0), 0}), posts(1, 5)),
		send("NDST goes out as stored: xAPIC form", upid(UPID{control(otherNV, 0x0000_0700, 0), 0}), posts(1, 5)),
		send("NDST goes out as stored: x2APIC form", upid(UPID{control(otherNV, 0x1234_5678, 0), 0}), posts(1, 5)),
		send("NV goes out as stored: 255", upid(UPID{control(0xFF, otherNDST, 0), 0}), posts(1, 5)),
		send("NV goes out as stored: 32", upid(UPID{control(0x20, otherNDST, 0), 0}), posts(1, 5)),

		send("disabled in IA32_UINTR_TT", func(c *Case) { c.Before.UITTAddr = KindUITTArray.At(0) }, faults(vectorUD, 0)),
		send("disabled and index above UITTSZ",
			func(c *Case) { c.Before.UITTAddr, c.Operand = KindUITTArray.At(0), 9 }, faults(vectorUD, 0)),
		send("UPID non-canonical", func(c *Case) { c.UITT[0].High = KindNonCanonical.At(0) }, gp),
	}
	cases = append(cases, sendReserved(gp)...)
	cases = append(cases, sendFaults(gp)...)
	return append(cases, sendSelf()...)
}

// sendReserved is one case for each reserved field (uintr.md §1.5).
func sendReserved(gp func(*Case)) (cases []Case) {
	for _, bit := range []int{1, 7, 16, 31, 32, 63} {
		cases = append(cases, send(fmt.Sprintf("entry with reserved bit %d", bit),
			func(c *Case) { c.UITT[0].Low |= 1 << bit }, gp))
	}
	for _, off := range []int64{1, 8, 16, 32} {
		cases = append(cases, send(fmt.Sprintf("UPID misaligned by %d", off),
			func(c *Case) { c.UITT[0].High = KindUPIDArray.At(off) }, gp))
	}
	for _, bit := range []int{2, 7, 15, 24, 31} {
		cases = append(cases, send(fmt.Sprintf("UPID with reserved bit %d stays as it is", bit),
			func(c *Case) { c.UPID[1].Low |= 1 << bit }, gp))
	}
	return cases
}

func sendFaults(gp func(*Case)) []Case {
	return []Case{
		send("UITT not present", func(c *Case) {
			c.Before.UITTAddr, c.Operand, c.Flags = KindUnmapped.At(1), 2, FlagPrivileged
		}, pageFaults(0, KindUnmapped.At(32))),
		send("UPID not present", func(c *Case) {
			c.UITT[0].High, c.Flags = KindUnmapped.At(64), FlagPrivileged
		}, pageFaults(pfWrite, KindUnmapped.At(64))),
		send("entry not valid and UPID not present", func(c *Case) {
			c.UITT[0] = UITTEntry{0, KindUnmapped.At(0)}
		}, gp),
		send("UITT non-canonical", func(c *Case) {
			c.Before.UITTAddr, c.NoHardware = KindNonCanonical.At(1), "WRMSR of IA32_UINTR_TT refuses the value"
		}, gp),
	}
}

// sendSelf sends to the CPU's own UPID.
func sendSelf() []Case {
	self := func(c *Case) { c.Operand = 1 }
	loop := func(c *Case) { c.Operand, c.Flags = 1, FlagLoopback }
	return []Case{
		send("to itself", self, posts(0, 9)),
		send("to itself, delivered", func(c *Case) { loop(c); c.Before.UIF = true }, func(c *Case) {
			posts(0, 9)(c)
			taken(c)
			delivers(9)(c)
		}),
		send("to itself, held back by UIF", loop, func(c *Case) { posts(0, 9)(c); taken(c) }),
		send("to itself, SN set", func(c *Case) { loop(c); c.Before.UIF = true; c.UPID[0].Low |= sn }, posts(0, 9)),
		send("to itself, NV not UINV", func(c *Case) {
			loop(c)
			c.Before.UIF = true
			c.UPID[0].Low = control(0xEE, ownNDST, 0)
		}, posts(0, 9)),
	}
}
