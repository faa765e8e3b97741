package uintrtest

// taken wants the notification taken: ON cleared, PIR moved to UIRR (uintr.md §1.8).
func taken(c *Case) {
	w := &c.Want
	w.Identified = true
	w.After.UIRR |= w.UPID[0].PIR
	w.UPID[0].PIR = 0
	w.UPID[0].Low &^= on
}

func notify(name string, given, want func(*Case)) Case {
	return newCase("notification "+name, Notify, func(c *Case) {
		c.Vector = uinv
		c.UPID[0] = UPID{control(ownNV, ownNDST, on), 1 << 5}
		given(c)
	}, want)
}

func notifyCases() []Case {
	uif := func(c *Case) { c.Before.UIF = true }
	pir := func(v uint64) func(*Case) { return func(c *Case) { c.UPID[0].PIR = v } }
	ready := func(v uint64) func(*Case) { return func(c *Case) { c.UPID[0].PIR, c.Before.UIF = v, true } }
	low := func(bits uint64) func(*Case) { return func(c *Case) { c.UPID[0].Low |= bits } }
	arrives := func(vector uint64) func(*Case) { return func(c *Case) { taken(c); delivers(vector)(c) } }
	return []Case{
		notify("held back by UIF", func(*Case) {}, taken),
		notify("delivered", uif, arrives(5)),
		notify("delivers the highest of its requests", ready(1<<63|1<<9|1), arrives(63)),
		notify("takes all requests", pir(1<<64-1), taken),
		notify("with no request posted", ready(0), taken),
		notify("with ON clear", func(c *Case) { c.UPID[0].Low &^= on }, taken),
		notify("keeps SN", low(sn), taken),
		notify("delivered with SN set", func(c *Case) { uif(c); low(sn)(c) }, arrives(5)),
		notify("ignores and keeps reserved bits", low(0xFF00_FFFC), taken),
		notify("keeps NV and NDST", func(c *Case) { c.UPID[0].Low = control(0x77, 0xFFFF_FFFF, on) }, taken),
		notify("adds to UIRR", func(c *Case) { c.Before.UIRR = 1<<5 | 1<<3 }, taken),
		notify("reads the UPID of IA32_UINTR_PD", func(c *Case) {
			c.Before.UPIDAddr = KindUPIDArray.At(64)
			c.UPID[0], c.UPID[1] = UPID{}, c.UPID[0]
		}, func(c *Case) {
			c.Want.Identified = true
			c.Want.After.UIRR = 1 << 5
			c.Want.UPID[1] = UPID{Low: control(ownNV, ownNDST, 0)}
		}),

		notify("of another vector goes to the IDT", func(c *Case) { uif(c); c.Vector = uinv - 1 }, nil),
		notify("of NV, not UINV, goes to the IDT", func(c *Case) { uif(c); c.Before.UINV = 0x77 }, nil),
		notify("of UINV, not NV", func(c *Case) {
			uif(c)
			c.Vector, c.Before.UINV = 0x77, 0x77
		}, arrives(5)),
		notify("with UINV 0 goes to the IDT", func(c *Case) { uif(c); c.Before.UINV = 0 }, nil),

		notify("with the UPID not present", func(c *Case) {
			uif(c)
			c.Before.UPIDAddr, c.Flags = KindUnmapped.At(64), FlagPrivileged
		}, func(c *Case) {
			c.Want.Identified = true
			c.Want.Fault = Fault{vectorPF, pfWrite, KindUnmapped.At(64)}
		}),
		notify("with the UPID non-canonical", func(c *Case) {
			c.Before.UPIDAddr, c.NoHardware = KindNonCanonical.At(0), "WRMSR of IA32_UINTR_PD refuses the value"
		}, func(c *Case) {
			c.Want.Identified = true
			c.Want.Fault = Fault{Vector: vectorGP}
		}),
		notify("whose delivery faults keeps the requests", func(c *Case) {
			uif(c)
			c.RSP = KindUnmapped.At(0x800)
		}, func(c *Case) {
			taken(c)
			faultsAfter(vectorPF, pfWrite|pfUser, KindUnmapped.At(0x800-redZone-8))(c)
		}),
		notify("delivered with TF set", func(c *Case) {
			uif(c)
			c.RFLAGS, c.NoHardware = flagTF, "each instruction of the program ends in a debug exception"
		}, arrives(5)),
	}
}
