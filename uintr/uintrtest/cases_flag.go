package uintrtest

func flagCases() []Case {
	test := func(name string, uif bool, before, after uint64) Case {
		return newCase("TESTUI "+name, TestUI,
			func(c *Case) { c.Before.UIF, c.RFLAGS = uif, before },
			func(c *Case) { c.Want.RFLAGS = after | RFLAGSFixed })
	}
	uif := func(name string, op Op, before, after bool, uirr uint64) Case {
		return newCase(op.String()+" "+name, op,
			func(c *Case) { c.Before.UIF, c.Before.UIRR, c.RFLAGS = before, uirr, allUser },
			func(c *Case) { c.Want.After.UIF = after })
	}
	return []Case{
		test("UIF set sets CF", true, 0, flagCF),
		test("UIF clear leaves CF clear", false, 0, 0),
		test("UIF clear clears the status flags", false, status, 0),
		test("UIF set clears the other status flags", true, status, flagCF),
		test("keeps the other flags", true, allUser, allUser&^status|flagCF),
		newCase("TESTUI with requests pending", TestUI, func(c *Case) { c.Before.UIRR = 1 << 7 }, nil),

		uif("clears UIF", CLUI, true, false, 0),
		uif("leaves UIF clear", CLUI, false, false, 0),
		uif("then no delivery", CLUI, false, false, 1<<8|1),
		uif("sets UIF", STUI, false, true, 0),
		uif("leaves UIF set", STUI, true, true, 0),
	}
}
