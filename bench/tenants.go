package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"gvmm/iommu"
	"gvmm/iommu/spec"
	uspec "gvmm/uintr/spec"
	"gvmm/vmm/memory"
	"gvmm/vmm/pci"
)

// tenants is a remapping unit with two tenants, each a function with a domain, an interrupt entry, a UPID in a pool, and a page of memory at the same
// address of the function's. The methods are what their kernel does.
type tenants struct {
	mem     *memory.Memory
	unit    *iommu.Unit
	senders [2]pci.MSISender // of their functions
	views   [2]*iommu.DMAView
	tail    uint64
	err     error // the first of what cannot fail
}

// Where the kernel has its tables, in pages of 4 KiB, and each tenant's, by its number.
const (
	tenantRAM    = 16 << 20
	tenantQueue  = 0x1_0000
	tenantStatus = 0x1_8000
	tenantRoot   = 0x2_0000
	tenantRoots  = 0x2_1000 // context table of bus 0
	tenantIRT    = 0x3_0000 // 256 entries
	tenantPools  = 0x4_0000
	tenantPage   = 0x5000 // of a function: its memory
	looseTable   = 0x6000 // of a function: a table of tables that is its own next
)

func tenantFunction(n int) pci.RequesterID { return pci.NewRequesterID(0, uint8(n+1), 0) }
func tenantDomain(n int) uint16            { return uint16(n + 1) }
func tenantUPID(n int) uint64              { return 0x5_0000 + uint64(n)*0x1000 }
func tenantTables(n int) uint64            { return 0x10_0000 + uint64(n)*0x10_0000 }
func tenantMemory(n int) uint64            { return 0x80_0000 + uint64(n)*0x10_0000 }

// forgetful is local APICs that take what comes.
type forgetful struct{}

// SendMSI implements pci.MSISender.
func (forgetful) SendMSI(pci.Message) error { return nil }

// newTenants sets the unit up. Close it.
func newTenants() (*tenants, error) {
	t := &tenants{mem: memory.New()}
	if err := t.mem.AddRAM(0, tenantRAM); err != nil {
		return nil, err
	}
	t.unit = iommu.New(iommu.Config{Memory: t.mem, Deliver: forgetful{}, X2APIC: true, Posted: true, UserPosted: true, DMA: true})
	t.store64(tenantRoot, spec.NewRootEntry(tenantRoots).Lo)
	for n := range t.senders {
		t.addTenant(n)
	}
	t.write64(spec.RegRTADDR, tenantRoot)
	t.write64(spec.RegIRTA, uint64(spec.NewIRTA(tenantIRT, 7, true)))
	t.write64(spec.RegIQA, tenantQueue)
	t.write64(spec.RegVendor+spec.VendorRegBase, tenantPools)
	t.write32(spec.RegVendor+spec.VendorRegCount, 2)
	t.write32(spec.RegVendor+spec.VendorRegControl, spec.VendorEnable|spec.VendorLoad)
	on := spec.GlobalQIE
	t.write32(spec.RegGCMD, on|spec.GlobalSRTP|spec.GlobalSIRTP)
	t.write32(spec.RegGCMD, on|spec.GlobalTE|spec.GlobalIRE)
	t.invalidate()
	return t, t.err
}

func (t *tenants) addTenant(n int) {
	rid, tables := tenantFunction(n), tenantTables(n)
	t.senders[n], t.views[n] = t.unit.Sender(rid), t.unit.View(rid, t.mem.DMA())
	ce := spec.NewContextEntry(spec.Translated, tables, 3, tenantDomain(n))
	t.store64(tenantRoots+uint64(rid)*16, ce.Lo)
	t.store64(tenantRoots+uint64(rid)*16+8, ce.Hi)
	t.store64(tables, uint64(spec.NewSLTable(tables+0x1000)))
	t.store64(tables+8, uint64(spec.NewSLTable(tables))) // [1 GiB, 2 GiB): the table itself
	t.store64(tables+0x1000, uint64(spec.NewSLTable(tables+0x2000)))
	for page, to := range map[uint64]uint64{
		tenantPage: tenantMemory(n), tenantUPID(1): tenantUPID(1), tenantIRT: tenantIRT,
	} {
		t.store64(tables+0x2000+page>>12*8, uint64(spec.NewSLPage(to, 1, spec.SLRead|spec.SLWrite)))
	}
	t.setEntry(n, t.userEntry(n, n))
	pool := make(spec.PoolEntry, spec.PoolBytes)
	pool.Put(spec.Pool{Base: tenantUPID(n), Count: 64, Domain: tenantDomain(n), Tag: uint64(n)})
	t.keep(t.mem.WriteAt(pool, tenantPools+uint64(n)*spec.PoolBytes))
	t.drain(n)
}

// userEntry posts the vector of tenant n, which no other has, for its function to the UPID of another.
func (t *tenants) userEntry(n, to int) spec.IRTE {
	return spec.NewUserPosted(uint8(n), tenantUPID(to), false, uint16(tenantFunction(n)))
}

func (t *tenants) keep(err error) {
	if t.err == nil && err != nil {
		t.err = fmt.Errorf("bench: %w", err)
	}
}

func (t *tenants) store64(at, v uint64) { t.keep(t.mem.Store64(at, v)) }

func (t *tenants) write32(off uint64, v uint32) {
	t.unit.WriteMMIO(off, binary.LittleEndian.AppendUint32(nil, v))
}

func (t *tenants) write64(off, v uint64) {
	t.unit.WriteMMIO(off, binary.LittleEndian.AppendUint64(nil, v))
}

func (t *tenants) setEntry(index int, e spec.IRTE) {
	at := tenantIRT + uint64(index)*spec.IRTEBytes
	for {
		lo, hi, err := t.mem.Load128(at)
		t.keep(err)
		if _, _, swapped, err := t.mem.CompareAndSwap128(at, lo, hi, e.Lo, e.Hi); swapped || err != nil {
			t.keep(err)
			return
		}
	}
}

var errStuck = errors.New("bench: an invalidation is never over")

// invalidate queues descriptors and a wait, and waits as kernels do: by looking.
func (t *tenants) invalidate(list ...spec.Descriptor) {
	v, err := t.mem.Load32(tenantStatus)
	t.keep(err)
	list = append(list, spec.NewWaitDescriptor(spec.Wait{Write: true, Address: tenantStatus, Data: v + 1}))
	for _, d := range list {
		t.store64(tenantQueue+t.tail, d.Lo)
		t.store64(tenantQueue+t.tail+8, d.Hi)
		t.tail = (t.tail + spec.DescriptorBytes) % spec.IQA(0).Bytes()
	}
	t.write32(spec.RegIQT, uint32(t.tail))
	for start := time.Now(); ; runtime.Gosched() {
		if now, err := t.mem.Load32(tenantStatus); err != nil || now == v+1 {
			t.keep(err)
			return
		}
		if time.Since(start) > 10*time.Second {
			t.keep(errStuck)
			return
		}
	}
}

// drain takes the requests of a tenant's UPID, as its processor does.
func (t *tenants) drain(n int) (requests uint64) {
	_, err := t.mem.Swap64(tenantUPID(n), uint64(uspec.NewControl(0xEC, uint32(n))))
	t.keep(err)
	requests, err = t.mem.Swap64(tenantUPID(n)+uspec.UPIDPIR, 0)
	t.keep(err)
	return requests
}

// close ends the unit, and gives the first error.
func (t *tenants) close() error {
	t.unit.Close()
	t.keep(t.mem.Close())
	return t.err
}
