package virtiopci

import (
	"encoding/binary"
	"sync"

	"gvmm/vmm/pci"
)

// notifyRegion is the notification page.
type notifyRegion struct{ t *Transport }

// ReadMMIO implements pci.Region: there is nothing to read.
func (notifyRegion) ReadMMIO(_ uint64, p []byte) { clear(p) }

// WriteMMIO implements pci.Region. The address names the queue: an ioeventfd
// in its place sees no more than that.
func (r notifyRegion) WriteMMIO(off uint64, _ []byte) {
	n := off / DoorbellSize
	if off%DoorbellSize != 0 || n >= uint64(len(r.t.queues)) {
		return
	}
	r.t.queues[n].doorbell.Add(1)
	r.t.Kick(int(n))
}

// isrRegion is the ISR status byte; reading clears it (§4.1.4.5).
type isrRegion struct{ t *Transport }

// ReadMMIO implements pci.Region.
func (r isrRegion) ReadMMIO(off uint64, p []byte) {
	clear(p)
	if off == 0 {
		p[0] = uint8(r.t.isr.Swap(0))
	}
}

// WriteMMIO implements pci.Region.
func (isrRegion) WriteMMIO(uint64, []byte) {}

// deviceRegion is the device type's configuration space.
type deviceRegion struct{ t *Transport }

// ReadMMIO implements pci.Region.
func (r deviceRegion) ReadMMIO(off uint64, p []byte) { r.t.device.ReadConfig(off, p) }

// WriteMMIO implements pci.Region.
func (r deviceRegion) WriteMMIO(off uint64, p []byte) { r.t.device.WriteConfig(off, p) }

// configWindow is the VIRTIO_PCI_CAP_PCI_CFG capability (§4.1.4.9): a driver
// that cannot map the BAR reaches it through configuration space. It reaches
// that BAR and nothing else.
type configWindow struct {
	bar pci.Region

	mu  sync.Mutex
	cap [windowSize]byte
}

// Offsets in struct virtio_pci_cfg_cap.
const (
	windowBAR    = 4
	windowOffset = 8
	windowLength = 12
	windowData   = 16
	windowSize   = 20
)

// ReadMMIO implements pci.Region.
func (w *configWindow) ReadMMIO(off uint64, p []byte) {
	clear(p)
	if off >= windowData {
		if at, ok := w.target(off, len(p)); ok {
			w.bar.ReadMMIO(at, p)
		}
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	copy(p, w.cap[off:windowData])
}

// WriteMMIO implements pci.Region.
func (w *configWindow) WriteMMIO(off uint64, p []byte) {
	if off >= windowData {
		if at, ok := w.target(off, len(p)); ok {
			w.bar.WriteMMIO(at, p)
		}
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// The bytes between the BAR number and the offset are read only.
	if off == windowBAR || off >= windowOffset {
		copy(w.cap[off:windowData], p[:min(len(p), windowPart(off))])
	}
}

// windowPart is how much of a write at off is writable: one byte of the first
// dword, all of the others.
func windowPart(off uint64) int {
	if off == windowBAR {
		return 1
	}
	return 4
}

// target is where in the BAR an access to the data register goes, if the
// driver has set the window to a place that exists and to this access's width.
func (w *configWindow) target(off uint64, n int) (uint64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := uint64(binary.LittleEndian.Uint32(w.cap[windowOffset:]))
	length := uint64(binary.LittleEndian.Uint32(w.cap[windowLength:]))
	ok := off == windowData && w.cap[windowBAR] == 0 && length == uint64(n) &&
		at%length == 0 && at+length <= BARSize
	return at, ok
}
