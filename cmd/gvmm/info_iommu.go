package main

import (
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"

	"gvmm/iommu/spec"
	"gvmm/vmm"
)

// unitInfo is the remapping unit that --iommu gives a guest.
type unitInfo struct {
	CAP   string   `json:"cap"`
	ECAP  string   `json:"ecap"`
	Words []string `json:"words"` // FIELD: what it says
}

func describeUnit() unitInfo {
	cap, ecap := vmm.IOMMUCapabilities()
	i := unitInfo{CAP: fmt.Sprintf("%#016x", cap), ECAP: fmt.Sprintf("%#x", ecap)}
	for _, w := range spec.Describe(cap, ecap) {
		i.Words = append(i.Words, w.Field+": "+w.Says)
	}
	return i
}

// print adds the unit's rows.
func (i unitInfo) print(t table.Writer) {
	t.AppendSeparator()
	t.AppendRow(table.Row{"IOMMU (--iommu)", fmt.Sprintf("VT-d, CAP %s, ECAP %s", i.CAP, i.ECAP)})
	for _, w := range i.Words {
		t.AppendRow(table.Row{"", w})
	}
	t.AppendRow(table.Row{"", "not in CAP: entries that post to a user program's UPID, with --uintr"})
}
