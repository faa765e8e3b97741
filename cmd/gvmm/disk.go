package main

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"gvmm/vmm"
	"gvmm/vmm/disk"
)

const diskUsage = `host file as a virtio-blk disk, PATH[,OPTION...] (repeatable): readonly, rw (the default), overlay (writes last ` +
	`until the machine ends; the file stays), format=raw|qcow2, backing (follow a qcow2's backing files), direct, ` +
	`engine=uring|threads|sync, bps=BYTES, iops=N (limits a second); ,, is a comma in PATH`

// parseDisk reads the value of --disk.
func parseDisk(value string) (vmm.Disk, error) {
	// No path has a NUL in it.
	words := strings.Split(strings.ReplaceAll(value, ",,", "\x00"), ",")
	d := vmm.Disk{Path: strings.ReplaceAll(words[0], "\x00", ",")}
	if d.Path == "" {
		return d, fmt.Errorf("--disk %q: no file", value)
	}
	seen := map[string]bool{}
	for _, word := range words[1:] {
		key, argument, _ := strings.Cut(word, "=")
		if seen[key] {
			return d, fmt.Errorf("--disk %s: %s is there twice", value, key)
		}
		seen[key] = true
		if err := diskOption(&d, word, key, argument); err != nil {
			return d, fmt.Errorf("--disk %s: %w", value, err)
		}
	}
	for _, pair := range [][2]string{{"readonly", "rw"}, {"readonly", "overlay"}, {"rw", "overlay"}} {
		if seen[pair[0]] && seen[pair[1]] {
			return d, fmt.Errorf("--disk %s: %s or %s, not both", value, pair[0], pair[1])
		}
	}
	return d, nil
}

func diskOption(d *vmm.Disk, word, key, argument string) (err error) {
	switch word {
	case "readonly":
		d.ReadOnly = true
		return nil
	case "rw":
		return nil
	case "overlay":
		d.Overlay = true
		return nil
	case "backing":
		d.Backing = true
		return nil
	case "direct":
		d.Direct = true
		return nil
	}
	switch key {
	case "format":
		d.Format, err = disk.ParseFormat(argument)
	case "engine":
		d.Engine, err = disk.ParseEngine(argument)
	case "bps":
		d.Limits.BytesPerSecond, err = parseRate(argument)
	case "iops":
		d.Limits.OpsPerSecond, err = parseRate(argument)
	default:
		return fmt.Errorf("%q is no option: readonly, rw, overlay, backing, direct, format=, engine=, bps= or iops=", word)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// parseRate reads a number a second, with K, M or G for 2^10, 2^20 and 2^30.
func parseRate(s string) (uint64, error) {
	digits, shift := s, 0
	if n := len(s) - 1; n >= 0 {
		if unit := strings.IndexByte("KMG", s[n]); unit >= 0 {
			digits, shift = s[:n], 10*(unit+1)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n == 0 || bits.Len64(n)+shift > 62 {
		return 0, fmt.Errorf("%q: a number a second, such as 500 or 10M", s)
	}
	return n << shift, nil
}
