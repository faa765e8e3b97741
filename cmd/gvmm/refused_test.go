package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/vmm"
)

func TestRefusalsAreToldByRequesterAndReason(t *testing.T) {
	var out bytes.Buffer
	printRefused(&out, &vmm.Report{
		Refused: []vmm.Refused{
			{Requester: "00:01.0", Device: "disk0", Domain: 3, Reason: "write not permitted", Count: 17},
			{Requester: "00:05.0", Reason: "requester refused by the table entry", Count: 1},
		},
		Faults: []vmm.Fault{{Requester: "00:05.0", Index: 7, Reason: "requester refused by the table entry"}, {Requester: "00:01.0", Address: "0x5000", Write: true, Reason: "write not permitted"}},
	})
	require.Equal(t, `refused by the IOMMU: 17 of requester 00:01.0 (disk0, domain 3): write not permitted.
refused by the IOMMU: 1 of requester 00:05.0 (no device, domain 0): requester refused by the table entry.
the last of them: requester 00:01.0, DMA write at 0x5000: write not permitted.
`, out.String())
	out.Reset()
	printRefused(&out, &vmm.Report{})
	require.Empty(t, out.String())
}
