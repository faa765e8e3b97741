package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gvmm/virtio/blk"
	"gvmm/vmm"
	"gvmm/vmm/disk"
)

func TestDiskFlag(t *testing.T) {
	for value, want := range map[string]vmm.Disk{
		"d.img":               {Path: "d.img"},
		"d.img,rw":            {Path: "d.img"},
		"d.img,readonly":      {Path: "d.img", ReadOnly: true},
		"a,,b.img,readonly":   {Path: "a,b.img", ReadOnly: true},
		"d,overlay,direct":    {Path: "d", DiskOptions: vmm.DiskOptions{Overlay: true, Direct: true}},
		"d,overlay,backing":   {Path: "d", DiskOptions: vmm.DiskOptions{Overlay: true, Backing: true}},
		"d,format=raw":        {Path: "d", DiskOptions: vmm.DiskOptions{Format: disk.FormatRaw}},
		"d,engine=threads":    {Path: "d", DiskOptions: vmm.DiskOptions{Engine: disk.EngineThreads}},
		"d,bps=10M,iops=1500": {Path: "d", DiskOptions: vmm.DiskOptions{Limits: blk.Limits{BytesPerSecond: 10 << 20, OpsPerSecond: 1500}}},
	} {
		got, err := parseDisk(value)
		require.NoError(t, err, value)
		require.Equal(t, want, got, value)
	}
}

func TestDiskFlagErrorsAreOneLine(t *testing.T) {
	for value, want := range map[string]string{
		"":                   `--disk "": no file`,
		",readonly":          `--disk ",readonly": no file`,
		"d,readonyl":         `--disk d,readonyl: "readonyl" is no option: readonly, rw, overlay, backing, direct, format=, engine=, bps= or iops=`,
		"d,readonly=1":       `--disk d,readonly=1: "readonly=1" is no option: readonly, rw, overlay, backing, direct, format=, engine=, bps= or iops=`,
		"d,rw,readonly":      `--disk d,rw,readonly: readonly or rw, not both`,
		"d,overlay,readonly": `--disk d,overlay,readonly: readonly or overlay, not both`,
		"d,rw,rw":            `--disk d,rw,rw: rw is there twice`,
		"d,format=vmdk":      `--disk d,format=vmdk: format: "vmdk": auto, raw or qcow2`,
		"d,engine":           `--disk d,engine: engine: "": auto, uring, threads or sync`,
		"d,bps=fast":         `--disk d,bps=fast: bps: "fast": a number a second, such as 500 or 10M`,
		"d,iops=0":           `--disk d,iops=0: iops: "0": a number a second, such as 500 or 10M`,
		"d,bps=9999999999G":  `--disk d,bps=9999999999G: bps: "9999999999G": a number a second, such as 500 or 10M`,
	} {
		_, err := parseDisk(value)
		require.EqualError(t, err, want)
	}
}
