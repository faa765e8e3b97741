package boot

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The setup header of a bzImage (Linux Documentation/arch/x86/boot.rst), little-endian.
const (
	setupSectors   = 0x1f1 // byte; 0 means 4
	bootFlag       = 0x1fe
	setupMagic     = 0x202
	setupVersion   = 0x206
	setupXLoad     = 0x236 // word, from 2.12 on
	payloadOffset  = 0x248 // from the protected-mode code, from 2.08 on
	payloadLength  = 0x24c
	setupBytes     = 0x250
	bootFlagValue  = 0xaa55
	setupHdrS      = 0x53726448 // "HdrS"
	oldestProtocol = 0x20c
	xloadKernel64  = 1 << 0
	sector         = 512
)

// isBzImage tells a Linux image with a setup header from other files.
func isBzImage(r source) bool {
	var h [setupBytes]byte
	if n, _ := r.ReadAt(h[:], 0); n < setupMagic+4 {
		return false
	}
	le := binary.LittleEndian
	return le.Uint16(h[bootFlag:]) == bootFlagValue && le.Uint32(h[setupMagic:]) == setupHdrS
}

// readPayload returns what a bzImage's own loader would unpack.
func readPayload(r source) ([]byte, error) {
	var h [setupBytes]byte
	if n, err := r.ReadAt(h[:], 0); n < len(h) {
		return nil, fmt.Errorf("the bzImage is cut short in its setup header: %w", err)
	}
	le := binary.LittleEndian
	if v := le.Uint16(h[setupVersion:]); v < oldestProtocol {
		return nil, fmt.Errorf("a bzImage of boot protocol %d.%02d; give a kernel with 2.12 or later (Linux 3.8)", v>>8, v&0xff)
	}
	if le.Uint16(h[setupXLoad:])&xloadKernel64 == 0 {
		return nil, errors.New("a 32-bit Linux kernel; give a 64-bit one")
	}
	sectors := int64(h[setupSectors])
	if sectors == 0 {
		sectors = 4
	}
	from := (sectors+1)*sector + int64(le.Uint32(h[payloadOffset:]))
	n := int64(le.Uint32(h[payloadLength:]))
	if n == 0 || from > r.Size() || n > r.Size()-from {
		return nil, fmt.Errorf("the bzImage has %d bytes, its payload lies at %d to %d; the file is cut short", r.Size(), from, from+n)
	}
	payload := make([]byte, n)
	if got, err := r.ReadAt(payload, from); got < len(payload) {
		return nil, fmt.Errorf("the bzImage's payload cannot be read: %w", err)
	}
	return payload, nil
}
