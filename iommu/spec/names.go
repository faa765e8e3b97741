package spec

import "fmt"

// registerNames are the manual's, of the registers that software writes.
var registerNames = map[uint64]string{
	RegGCMD: "GCMD", RegRTADDR: "RTADDR", RegCCMD: "CCMD", RegFSTS: "FSTS", RegFECTL: "FECTL", RegFEDATA: "FEDATA", RegFEADDR: "FEADDR",
	RegFEUADDR: "FEUADDR", RegIQT: "IQT", RegIQA: "IQA", RegICS: "ICS", RegIECTL: "IECTL", RegIEDATA: "IEDATA", RegIEADDR: "IEADDR",
	RegIEUADDR: "IEUADDR", RegIRTA: "IRTA", RegIVA: "IVA", RegIOTLB: "IOTLB",
	RegVendor + VendorRegControl: "UPM", RegVendor + VendorRegBase: "POOLS", RegVendor + VendorRegCount: "POOLS_COUNT", RegVendor + VendorRegCount + 4: "WAKE",
}

// RegisterName is the name of the register at an offset, its upper half with _HI behind it; "-" is none that is written.
func RegisterName(off uint64) string {
	if name, ok := registerNames[off]; ok {
		return name
	}
	if name, ok := registerNames[off&^7]; ok && off&7 == 4 {
		return name + "_HI"
	}
	if off >= RegFRCD && off < RegVCCAP {
		return "FRCD"
	}
	return "-"
}

func (g Granularity) text(third string) string {
	switch g {
	case Global:
		return "global"
	case PerDomain:
		return "domain"
	case PerPage:
		return third
	}
	return "reserved"
}

// String is what the descriptor asks for, in a line's words: its type, then what it covers.
func (d Descriptor) String() string {
	switch d.Type() {
	case DescriptorContext:
		v, ok := d.Context()
		return fmt.Sprintf("context %s did=%x sid=%04x fm=%x%s", v.Granularity.text("device"), v.DID, v.SID, v.FM, malformed(ok))
	case DescriptorIOTLB:
		v, ok := d.IOTLB()
		return fmt.Sprintf("iotlb %s did=%x address=%x am=%x%s", v.Granularity.text("page"), v.DID, v.Address, v.AM, malformed(ok))
	case DescriptorIEC:
		v, ok := d.IEC()
		if v.All {
			return "iec global" + malformed(ok)
		}
		return fmt.Sprintf("iec index=%x im=%x%s", v.Index, v.IM, malformed(ok))
	case DescriptorWait:
		v, ok := d.Wait()
		s := "wait"
		if v.Write {
			s += fmt.Sprintf(" status=%x data=%x", v.Address, v.Data)
		}
		if v.Interrupt {
			s += " interrupt"
		}
		return s + malformed(ok)
	}
	return fmt.Sprintf("type=%x lo=%x hi=%x malformed", uint8(d.Type()), d.Lo, d.Hi)
}

func malformed(ok bool) string {
	if ok {
		return ""
	}
	return " malformed"
}
