package disk

import (
	"encoding/binary"
	"fmt"
	"io"
)

const qcow2Magic = "QFI\xfb"

// Limits of a qcow2 image: cluster sizes are QEMU's, and so is the L1 table's.
const (
	minClusterBits = 9
	maxClusterBits = 21
	maxL1Bytes     = 32 << 20
	maxBackingName = 1023
	maxQCOW2Bytes  = maxOverlay

	headerBytesV2 = 72
	headerBytesV3 = 104
)

// Incompatible feature bits.
const (
	featureDirty        = 1 << 0
	featureCorrupt      = 1 << 1
	featureExternalData = 1 << 2
	featureCompression  = 1 << 3
	featureExtendedL2   = 1 << 4
)

// qcow2Header is what an image's header says, judged.
type qcow2Header struct {
	clusterBits uint32
	size        int64
	backing     string // the name as it stands there; "" is none
}

// readQCOW2Header reads and judges the header of an image of fileSize bytes,
// so that what is built from it is bounded: an L1 table that lies in the file
// and covers the disk. Errors say what is wrong, without the image's name.
func readQCOW2Header(r io.ReaderAt, fileSize int64) (qcow2Header, error) {
	var b [headerBytesV3 + 8]byte
	n, err := r.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return qcow2Header{}, err
	}
	be := binary.BigEndian
	version := be.Uint32(b[4:])
	switch {
	case string(b[:4]) != qcow2Magic:
		return qcow2Header{}, fmt.Errorf("it is not qcow2: its first bytes are % x", b[:4])
	case version != 2 && version != 3:
		return qcow2Header{}, fmt.Errorf("qcow2 version %d: 2 and 3 are read", version)
	case n < headerBytesV2 || version == 3 && n < headerBytesV3:
		return qcow2Header{}, fmt.Errorf("its header ends after %d bytes", n)
	}
	h := qcow2Header{clusterBits: be.Uint32(b[20:]), size: int64(be.Uint64(b[24:]))}
	switch crypt := be.Uint32(b[32:]); {
	case h.clusterBits < minClusterBits || h.clusterBits > maxClusterBits:
		return h, fmt.Errorf("clusters of 2^%d bytes: 2^%d to 2^%d can be", h.clusterBits, minClusterBits, maxClusterBits)
	case h.size <= 0 || h.size > maxQCOW2Bytes || h.size%512 != 0:
		return h, fmt.Errorf("a disk of %d bytes: whole sectors, and up to %d TiB, can be", uint64(h.size), int64(maxQCOW2Bytes)>>40)
	case crypt != 0:
		return h, fmt.Errorf("it is encrypted, which is not read: qemu-img convert decrypts it")
	}
	if err := h.judgeL1(be.Uint64(b[40:]), be.Uint32(b[36:]), fileSize); err != nil {
		return h, err
	}
	if version == 3 {
		if err := h.judgeV3(b[:n]); err != nil {
			return h, err
		}
	}
	return h, h.readBacking(r, be.Uint64(b[8:]), be.Uint32(b[16:]))
}

func (h *qcow2Header) judgeL1(off uint64, entries uint32, fileSize int64) error {
	perEntry := int64(1) << (2*h.clusterBits - 3) // bytes of the disk
	need := (h.size + perEntry - 1) / perEntry
	bytes := int64(entries) * 8
	switch {
	case bytes > maxL1Bytes:
		return fmt.Errorf("an L1 table of %d MiB: %d MiB is the most", bytes>>20, maxL1Bytes>>20)
	case int64(entries) < need:
		return fmt.Errorf("an L1 table of %d entries, where its disk has %d", entries, need)
	case off == 0 || off%512 != 0 || off > uint64(fileSize) || bytes > fileSize-int64(off):
		return fmt.Errorf("its L1 table, %d bytes at %d, is not in the file", bytes, off)
	}
	return nil
}

func (h *qcow2Header) judgeV3(b []byte) error {
	be := binary.BigEndian
	features, length, compression := be.Uint64(b[72:]), be.Uint32(b[100:]), byte(0)
	if length > headerBytesV3 && len(b) > headerBytesV3 {
		compression = b[headerBytesV3]
	}
	known := uint64(featureDirty | featureCorrupt | featureExternalData | featureCompression | featureExtendedL2)
	switch {
	case length < headerBytesV3 || length > 1<<h.clusterBits:
		return fmt.Errorf("a header of %d bytes", length)
	case features&^known != 0:
		return fmt.Errorf("it has incompatible features that are not known, %#x", features&^known)
	case features&featureCorrupt != 0:
		return fmt.Errorf("it is marked corrupt: qemu-img check -r all repairs it")
	case features&featureExternalData != 0:
		return fmt.Errorf("its data is in another file, which is not read: qemu-img convert -O qcow2 makes one file of it")
	case features&featureExtendedL2 != 0:
		return fmt.Errorf("it has subclusters (extended_l2), which are not read: qemu-img convert -O qcow2 makes it an image without")
	case compression > 1 || (compression != 0) != (features&featureCompression != 0):
		return fmt.Errorf("compression type %d: zlib and zstd are read", compression)
	}
	return nil
}

func (h *qcow2Header) readBacking(r io.ReaderAt, off uint64, n uint32) error {
	if off == 0 || n == 0 {
		return nil
	}
	if first := uint64(1) << h.clusterBits; n > maxBackingName || off > first || uint64(n) > first-off {
		return fmt.Errorf("the name of its backing file, %d bytes at %d, is not in the first cluster", n, off)
	}
	name := make([]byte, n)
	if _, err := r.ReadAt(name, int64(off)); err != nil {
		return fmt.Errorf("the name of its backing file: %w", err)
	}
	h.backing = string(name)
	return nil
}
