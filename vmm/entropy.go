package vmm

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"

	"gvmm/virtio/rng"
)

// Entropy says whether a machine has a virtio-rng device.
type Entropy int

// EntropyAuto gives one to every image but those that were made for this VMM: what these count has no device in it that
// they do not use.
const (
	EntropyAuto Entropy = iota
	EntropyOn
	EntropyOff
)

// entropyNames are as on the command line.
var entropyNames = [...]string{EntropyAuto: "auto", EntropyOn: "on", EntropyOff: "off"}

// String implements fmt.Stringer.
func (e Entropy) String() string { return entropyNames[e] }

// ParseEntropy reads auto, on or off.
func ParseEntropy(s string) (Entropy, error) {
	for e, name := range entropyNames {
		if s == name {
			return Entropy(e), nil
		}
	}
	return EntropyAuto, fmt.Errorf("%s: auto, on or off", s)
}

// addEntropy puts a virtio-rng device on the bus, if the machine is to have one.
func (m *Machine) addEntropy() error {
	if m.config.Entropy == EntropyOff || m.config.Entropy == EntropyAuto && m.ours {
		return nil
	}
	virtual := m.config.ICount > 0
	var source io.Reader // the host's
	if virtual {
		source = seeded(m.config.Seed, m.resets)
	}
	d, err := rng.New(rng.Options{Source: source, Inline: virtual})
	if err != nil {
		return err
	}
	_, err = m.addVirtio("rng", d, nil)
	return err
}

// seeded is the random bytes of a machine whose runs repeat: others after each reset.
func seeded(seed uint64, resets int) io.Reader {
	key := [32]byte{16: 'r', 'n', 'g'}
	binary.LittleEndian.PutUint64(key[:], seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(resets))
	return rand.NewChaCha8(key)
}
