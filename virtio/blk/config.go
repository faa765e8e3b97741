package blk

import "encoding/binary"

// Feature bits (§5.2.3).
const (
	featureSegMax      uint64 = 1 << 2
	featureReadOnly    uint64 = 1 << 5
	featureBlkSize     uint64 = 1 << 6
	featureFlush       uint64 = 1 << 9
	featureMQ          uint64 = 1 << 12
	featureDiscard     uint64 = 1 << 13
	featureWriteZeroes uint64 = 1 << 14
)

// Limits that the driver is told.
const (
	maxRangeSectors = 1 << 22 // of one discard or write-zeroes segment: 2 GiB
	maxRanges       = 32      // segments in one such request
	maxSegments     = 254     // buffers in one read or write
)

// Offsets in struct virtio_blk_config (§5.2.4).
const (
	cfgCapacity           = 0
	cfgSegMax             = 12
	cfgBlkSize            = 20
	cfgNumQueues          = 34
	cfgMaxDiscardSectors  = 36
	cfgMaxDiscardSeg      = 40
	cfgDiscardAlignment   = 44
	cfgMaxZeroesSectors   = 48
	cfgMaxZeroesSeg       = 52
	cfgWriteZeroesMayTrim = 56
	cfgSize               = 60
)

// layConfig is the configuration space, which never changes. Fields of
// features that are not offered are zero.
func (d *Device) layConfig() (b [cfgSize]byte) {
	le := binary.LittleEndian
	le.PutUint64(b[cfgCapacity:], d.sectors)
	// Header and status take a descriptor each when the chain is direct.
	le.PutUint32(b[cfgSegMax:], uint32(min(maxSegments, max(int(d.options.QueueSize)-2, 1))))
	le.PutUint32(b[cfgBlkSize:], uint32(d.options.BlockSize))
	le.PutUint16(b[cfgNumQueues:], uint16(d.options.Queues))
	if !d.options.ReadOnly {
		alignment := uint32(d.options.BlockSize / SectorSize)
		le.PutUint32(b[cfgMaxDiscardSectors:], maxRangeSectors)
		le.PutUint32(b[cfgMaxDiscardSeg:], maxRanges)
		le.PutUint32(b[cfgDiscardAlignment:], alignment)
		le.PutUint32(b[cfgMaxZeroesSectors:], maxRangeSectors)
		le.PutUint32(b[cfgMaxZeroesSeg:], maxRanges)
		b[cfgWriteZeroesMayTrim] = 1
	}
	return b
}

// ReadConfig implements virtio.Device.
func (d *Device) ReadConfig(off uint64, p []byte) {
	clear(p)
	if off < cfgSize {
		copy(p, d.config[off:])
	}
}

// WriteConfig implements virtio.Device: nothing is writable.
func (d *Device) WriteConfig(uint64, []byte) {}
