package platform

// PortDebugExit is where a guest under test ends the machine with a status.
const PortDebugExit = 0xf4

// DebugExitStatus is the status that a write of 1, 2 or 4 bytes to the debug exit port
// ends the machine with: an odd number, so that it is told from the machine's own 0.
func DebugExitStatus(b []byte) int {
	var v uint32
	for i := range min(len(b), 4) {
		v |= uint32(b[i]) << (8 * i)
	}
	return int(int64(v)<<1 | 1)
}
