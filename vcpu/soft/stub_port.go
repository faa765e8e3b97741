package soft

func (c *CPU) ioAllowed(port uint16, size uint8) bool    { return c.gp0() }
func (c *CPU) portIn(port uint16, size uint8) uint32     { return 0xffffffff }
func (c *CPU) portOut(port uint16, size uint8, v uint32) {}
