package vnet

import (
	"encoding/binary"
	"fmt"
)

// Feature bits (§5.1.3).
const (
	featureCsum          uint64 = 1 << 0
	featureGuestCsum     uint64 = 1 << 1
	featureGuestOffloads uint64 = 1 << 2 // CTRL_GUEST_OFFLOADS
	featureMTU           uint64 = 1 << 3
	featureMAC           uint64 = 1 << 5
	featureGuestTSO4     uint64 = 1 << 7
	featureGuestTSO6     uint64 = 1 << 8
	featureGuestECN      uint64 = 1 << 9
	featureHostTSO4      uint64 = 1 << 11
	featureHostTSO6      uint64 = 1 << 12
	featureHostECN       uint64 = 1 << 13
	featureMergeable     uint64 = 1 << 15
	featureStatus        uint64 = 1 << 16
	featureCtrlQueue     uint64 = 1 << 17
	featureCtrlRx        uint64 = 1 << 18
	featureCtrlRxExtra   uint64 = 1 << 20
	featureMQ            uint64 = 1 << 22
	featureCtrlMAC       uint64 = 1 << 23
	featureSpeedDuplex   uint64 = 1 << 63

	// guestOffloads are those that CTRL_GUEST_OFFLOADS switches (§5.1.6.5.6.1).
	guestOffloads = featureGuestCsum | featureGuestTSO4 | featureGuestTSO6 | featureGuestECN
)

// requires is what a feature cannot do without (§5.1.3.1): one of the bits.
var requires = []struct{ feature, oneOf uint64 }{
	{featureGuestTSO4, featureGuestCsum},
	{featureGuestTSO6, featureGuestCsum},
	{featureGuestECN, featureGuestTSO4 | featureGuestTSO6},
	{featureHostTSO4, featureCsum},
	{featureHostTSO6, featureCsum},
	{featureHostECN, featureHostTSO4 | featureHostTSO6},
	{featureCtrlRx, featureCtrlQueue},
	{featureCtrlRxExtra, featureCtrlQueue},
	{featureMQ, featureCtrlQueue},
	{featureCtrlMAC, featureCtrlQueue},
	{featureGuestOffloads, featureCtrlQueue},
}

// Features implements virtio.Device.
func (d *Device) Features() uint64 {
	f := featureMTU | featureMAC | featureMergeable | featureStatus | featureCtrlQueue | featureCtrlRx | featureCtrlRxExtra |
		featureCtrlMAC | featureSpeedDuplex | featureGuestOffloads
	add := func(can bool, bits uint64) {
		if can {
			f |= bits
		}
	}
	o := d.offloads
	add(d.options.Pairs > 1, featureMQ)
	add(o.TxChecksum, featureCsum)
	add(o.TxTSO4, featureHostTSO4|featureHostECN)
	add(o.TxTSO6, featureHostTSO6|featureHostECN)
	add(o.RxChecksum, featureGuestCsum)
	add(o.RxTSO4, featureGuestTSO4|featureGuestECN)
	add(o.RxTSO6, featureGuestTSO6|featureGuestECN)
	return f
}

// CheckFeatures implements virtio.Device.
func (d *Device) CheckFeatures(accepted uint64) error {
	for _, r := range requires {
		if accepted&r.feature != 0 && accepted&r.oneOf == 0 {
			return fmt.Errorf("%w: %#x without %#x", ErrFeatures, r.feature, r.oneOf)
		}
	}
	return nil
}

// Offsets in struct virtio_net_config (§5.1.4).
const (
	cfgMAC      = 0
	cfgStatus   = 6
	cfgMaxPairs = 8
	cfgMTU      = 10
	cfgSpeed    = 12
	cfgDuplex   = 16
	cfgSize     = 17

	linkUp       = 1
	duplexFull   = 1
	unknownSpeed = 0xFFFFFFFF
)

// layConfig is the configuration space but for the address.
func (d *Device) layConfig() (b [cfgSize]byte) {
	le := binary.LittleEndian
	le.PutUint16(b[cfgStatus:], linkUp)
	le.PutUint16(b[cfgMaxPairs:], uint16(d.options.Pairs))
	le.PutUint16(b[cfgMTU:], uint16(d.options.MTU))
	speed := uint32(d.options.Speed)
	if speed == 0 {
		speed = unknownSpeed
	}
	le.PutUint32(b[cfgSpeed:], speed)
	b[cfgDuplex] = duplexFull
	return b
}

// ReadConfig implements virtio.Device.
func (d *Device) ReadConfig(off uint64, p []byte) {
	clear(p)
	if off < cfgSize {
		image := d.config
		mac := d.mac()
		copy(image[cfgMAC:], mac[:])
		copy(p, image[off:])
	}
}

// WriteConfig implements virtio.Device: nothing is writable, since the address
// is set by a command (§5.1.4.2).
func (d *Device) WriteConfig(uint64, []byte) {}
