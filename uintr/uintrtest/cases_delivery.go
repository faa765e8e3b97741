package uintrtest

import "fmt"

// deliver is a delivery after STUI (uintr.md §1.8).
func deliver(name string, given, want func(*Case)) Case {
	return newCase("delivery "+name, STUI, func(c *Case) {
		c.Before.UIRR = 1 << 5
		given(c)
	}, func(c *Case) {
		c.Want.After.UIF = true
		want(c)
	})
}

// faultsAfter wants an exception at the boundary after the operation: the requests stay (uintr.md §1.8).
func faultsAfter(vector, code uint32, at Addr) func(*Case) {
	return func(c *Case) { c.Want.Fault = Fault{vector, code, at} }
}

func deliveryCases() []Case {
	uirr := func(v uint64) func(*Case) { return func(c *Case) { c.Before.UIRR = v } }
	adjust := func(a Addr) func(*Case) { return func(c *Case) { c.Before.StackAdjust = a } }
	rsp := func(a Addr) func(*Case) { return func(c *Case) { c.RSP = a } }
	at := func(off int64) Addr { return KindStackTop.At(off) }
	cases := []Case{
		deliver("right after STUI", func(*Case) {}, delivers(5)),
		deliver("of vector 0", uirr(1), delivers(0)),
		deliver("of vector 63", uirr(1<<63), delivers(63)),
		deliver("of vector 63 before 0", uirr(1<<63|1), delivers(63)),
		deliver("of one vector at a time", uirr(1<<64-1), delivers(63)),
		deliver("pushes RFLAGS and keeps them", func(c *Case) { c.RFLAGS = allUser }, delivers(5)),

		deliver("UISTACKADJUST 0", adjust(0), deliversAt(5, at(startOffset-32))),
		deliver("UISTACKADJUST 8 is aligned down", adjust(8), deliversAt(5, at(startOffset-16-32))),
		deliver("UISTACKADJUST 130, even", adjust(130), deliversAt(5, at(startOffset-144-32))),
		deliver("UISTACKADJUST negative raises RSP", adjust(Literal(1<<64-64)), deliversAt(5, at(startOffset+64-32))),
		deliver("load mode", adjust(at(-4096+1)), deliversAt(5, at(-4096-32))),
		deliver("load mode, the other low bits are aligned away", adjust(at(-4096+15)), deliversAt(5, at(-4096-32))),
		deliver("load mode from a stack that is not present", func(c *Case) {
			c.Before.StackAdjust, c.RSP = at(-4096+1), KindUnmapped.At(0x800)
		}, deliversAt(5, at(-4096-32))),

		deliver("frame across two pages", rsp(at(-4096+redZone+16)), deliversAt(5, at(-4096-16))),
		deliver("frame at the end of a page", rsp(at(-4096+redZone)), deliversAt(5, at(-4096-32))),
		deliver("frame at the start of a page", rsp(at(-4096+redZone+32)), deliversAt(5, at(-4096))),

		deliver("stack not present", rsp(KindUnmapped.At(0x800)),
			faultsAfter(vectorPF, pfWrite|pfUser, KindUnmapped.At(0x800-redZone-8))),
		deliver("stack not present below the first pushes", rsp(at(-8192+redZone+16)),
			faultsAfter(vectorPF, pfWrite|pfUser, at(-8192-8))),
		deliver("stack not present above the last pushes", rsp(at(redZone+16)),
			faultsAfter(vectorPF, pfWrite|pfUser, at(8))),
		deliver("stack in a supervisor page", func(c *Case) {
			c.RSP, c.Flags = KindUPIDArray.At(redZone+128), FlagPrivileged
		}, faultsAfter(vectorPF, pfPresent|pfWrite|pfUser, KindUPIDArray.At(120))),
		deliver("stack non-canonical", rsp(KindNonCanonical.At(0)), faultsAfter(vectorSS, 0, 0)),
		deliver("handler non-canonical in 4-level paging", func(c *Case) {
			c.Before.Handler = Literal(1 << 47)
			c.NoHardware = "WRMSR takes the handler only where the CPU has wider addresses than the guest's paging"
		}, faultsAfter(vectorGP, 0, 0)),
		deliver("handler non-canonical and stack not present", func(c *Case) {
			c.Before.Handler, c.RSP = KindNonCanonical.At(0), KindUnmapped.At(0)
			c.NoHardware = "WRMSR of IA32_UINTR_HANDLER refuses the value"
		}, faultsAfter(vectorGP, 0, 0)),
	}
	for _, off := range []int64{1, 8, 15} {
		cases = append(cases, deliver(fmt.Sprintf("RSP misaligned by %d", off), rsp(at(startOffset+off)), delivers(5)))
	}
	return cases
}
