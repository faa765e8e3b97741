package soft

import (
	crand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
)

// random is the processor's source of random numbers. Where time is virtual it is
// the same in every run.
type random struct {
	source rand.ChaCha8
	seeded bool
}

func (r *random) next(c *CPU) uint64 {
	if !r.seeded {
		r.seeded = true
		var seed [32]byte
		if c.config.Virtual {
			binary.LittleEndian.PutUint64(seed[:], c.config.Seed)
			seed[8] = byte(c.id)
		} else {
			_, _ = crand.Read(seed[:]) // never fails
		}
		r.source.Seed(seed)
	}
	return r.source.Uint64()
}
