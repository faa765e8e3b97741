package soft

// Exception vectors.
const (
	vectorDE = 0
	vectorDB = 1
	vectorBP = 3
	vectorOF = 4
	vectorBR = 5
	vectorUD = 6
	vectorNM = 7
	vectorDF = 8
	vectorTS = 10
	vectorNP = 11
	vectorSS = 12
	vectorGP = 13
	vectorPF = 14
	vectorMF = 16
	vectorAC = 17
	vectorXM = 19
)

// fault is an exception that the instruction under way raised. It restarts at
// CPU.rip.
type fault struct {
	vector  uint8
	hasCode bool
	code    uint32
	address uint64 // CR2, for #PF
	dr6     uint64 // bits to set, for #DB
}

// raise records an exception without error code. It returns false, for the
// executing method to return.
func (c *CPU) raise(vector uint8) bool {
	c.fault = fault{vector: vector}
	return false
}

// raiseCode records an exception with an error code.
func (c *CPU) raiseCode(vector uint8, code uint32) bool {
	c.fault = fault{vector: vector, hasCode: true, code: code}
	return false
}

// gp0 is #GP(0), the most common complaint.
func (c *CPU) gp0() bool { return c.raiseCode(vectorGP, 0) }

// ud is #UD.
func (c *CPU) ud() bool { return c.raise(vectorUD) }

func (c *CPU) pageFault(la uint64, code uint32) bool {
	c.fault = fault{vector: vectorPF, hasCode: true, code: code, address: la}
	return false
}
