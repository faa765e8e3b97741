package uintrtest

// uiret returns to what follows UIRET, with RSP elsewhere on the stack (uintr.md §1.9).
func uiret(name string, given, want func(*Case)) Case {
	return newCase("UIRET "+name, UIRET, func(c *Case) {
		c.Flags = FlagPlaceFrame
		c.Frame = ReturnFrame{RIP: KindAfter.At(0), RFLAGS: RFLAGSFixed, RSP: KindStackTop.At(-64)}
		given(c)
	}, want)
}

// returns wants the popped context, with these user-changeable flags.
func returns(flags uint64) func(*Case) {
	return func(c *Case) {
		w := &c.Want
		w.RIP, w.RSP, w.RFLAGS = c.Frame.RIP, c.Frame.RSP, flags|RFLAGSFixed
		w.After.UIF = true
	}
}

func returnCases() []Case {
	flags := func(before, popped uint64) func(*Case) {
		return func(c *Case) { c.RFLAGS, c.Frame.RFLAGS = before, popped }
	}
	// redelivered wants the frame of a delivery on the popped stack.
	redelivered := func(vector, popped uint64) func(*Case) {
		return func(c *Case) {
			returns(popped)(c)
			deliversAt(vector, KindStackTop.At(-64-redZone-32))(c)
		}
	}
	return append(returnFaults(),
		uiret("returns and sets UIF", func(*Case) {}, returns(0)),
		uiret("leaves UIF set", func(c *Case) { c.Before.UIF = true }, returns(0)),
		uiret("takes the flags of a program", flags(0, allUser|RFLAGSFixed), returns(allUser)),
		uiret("clears the flags of a program", flags(allUser, RFLAGSFixed), returns(0)),
		uiret("ignores IF, IOPL, VM, VIF and VIP popped", flags(0, 0x1A_3000), returns(0)),
		uiret("ignores bit 1 popped as 0", flags(flagCF, 0), returns(0)),
		uiret("ignores the reserved bits popped", flags(0, 0xFFFF_FFFF_FFC0_802A), returns(0)),
		uiret("takes TF", func(c *Case) {
			c.Frame.RFLAGS = flagTF
			c.NoHardware = "the next instruction ends in a debug exception"
		}, returns(flagTF)),
		uiret("takes RSP as it is", func(c *Case) { c.Frame.RSP = KindNonCanonical.At(3) }, returns(0)),
		uiret("frame misaligned", func(c *Case) { c.RSP = KindStackTop.At(startOffset + 5) }, returns(0)),
		uiret("frame across two pages", func(c *Case) { c.RSP = KindStackTop.At(-4096 - 8) }, returns(0)),
		uiret("frame with a word across two pages", func(c *Case) { c.RSP = KindStackTop.At(-4096 - 12) }, returns(0)),

		uiret("with a request pending delivers at once", func(c *Case) { c.Before.UIRR = 1 << 3 }, redelivered(3, 0)),
		uiret("with requests pending delivers one", func(c *Case) { c.Before.UIRR = 1<<40 | 1<<3 }, redelivered(40, 0)),
		uiret("taking TF, then delivery pushes it and clears it", func(c *Case) {
			c.Before.UIRR, c.Frame.RFLAGS = 1<<3, flagTF|flagCF
		}, redelivered(3, flagTF|flagCF)),
		uiret("taking RF, then delivery pushes it and clears it", func(c *Case) {
			c.Before.UIRR, c.Frame.RFLAGS = 1<<3, flagRF
		}, redelivered(3, flagRF)),
	)
}

func returnFaults() []Case {
	gp := faults(vectorGP, 0)
	rsp := func(a Addr) func(*Case) { return func(c *Case) { c.RSP, c.Flags = a, 0 } }
	return []Case{
		uiret("to a non-canonical RIP", func(c *Case) { c.Frame.RIP = KindNonCanonical.At(0) }, gp),
		uiret("to the first non-canonical RIP", func(c *Case) { c.Frame.RIP = Literal(1 << 47) }, gp),
		uiret("to a non-canonical RIP with requests pending", func(c *Case) {
			c.Frame.RIP, c.Before.UIRR, c.RFLAGS = Literal(1<<47), 1, allUser
		}, gp),
		uiret("frame not present", rsp(KindUnmapped.At(0x800)), pageFaults(pfUser, KindUnmapped.At(0x800))),
		uiret("frame's end not present", rsp(KindStackTop.At(-16)), pageFaults(pfUser, KindStackTop.At(0))),
		uiret("frame with a word that ends in a page not present", rsp(KindStackTop.At(-12)),
			pageFaults(pfUser, KindStackTop.At(0))),
		uiret("frame in a supervisor page", func(c *Case) {
			c.RSP, c.Flags = KindUITTArray.At(0), FlagPrivileged
		}, pageFaults(pfPresent|pfUser, KindUITTArray.At(0))),
		uiret("frame non-canonical", rsp(KindNonCanonical.At(0)), faults(vectorSS, 0)),
	}
}
