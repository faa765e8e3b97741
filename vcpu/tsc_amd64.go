package vcpu

// ReadTSC reads the host's time stamp counter.
func ReadTSC() uint64
