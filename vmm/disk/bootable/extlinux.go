package bootable

import (
	"path"
	"slices"
	"strings"
)

var extlinuxFiles = []string{
	"/boot/extlinux/extlinux.conf", "/boot/extlinux.conf", "/extlinux/extlinux.conf", "/extlinux.conf",
	"/boot/syslinux/syslinux.cfg", "/syslinux/syslinux.cfg", "/syslinux.cfg",
}

// extlinux looks for a configuration of extlinux or syslinux, and takes its
// default, else the first label whose kernel is there.
func (d *disk) extlinux(v *volume) (*Found, error) {
	for _, file := range extlinuxFiles {
		text, err := v.config(file)
		if err != nil {
			return nil, err
		}
		for _, c := range parseExtlinux(text, path.Dir(file)) {
			c.from = file
			if found := d.load(v, c); found != nil {
				return found, nil
			}
		}
	}
	return nil, nil
}

// parseExtlinux reads the labels of a configuration in dir, the default first.
func parseExtlinux(text, dir string) (list []candidate) {
	type label struct {
		candidate
		name string
	}
	var labels []label
	chosen := ""
	for key, value := range fields(text) {
		if key == "label" {
			if len(labels) == maxEntries {
				break
			}
			labels = append(labels, label{name: value})
			continue
		}
		if key == "default" {
			chosen = value
		}
		if len(labels) == 0 {
			continue
		}
		l := &labels[len(labels)-1]
		switch key {
		case "linux", "kernel":
			l.kernel = absolute(value, dir)
		case "initrd":
			l.initrds = nil
			for name := range strings.SplitSeq(value, ",") {
				l.initrds = append(l.initrds, absolute(strings.TrimSpace(name), dir))
			}
		case "append":
			l.command = value
			for _, word := range strings.Fields(value) {
				if name, ok := strings.CutPrefix(word, "initrd="); ok && l.initrds == nil {
					l.initrds = []string{absolute(name, dir)}
				}
			}
		}
	}
	slices.SortStableFunc(labels, func(a, b label) int {
		switch {
		case a.name == chosen && b.name != chosen:
			return -1
		case b.name == chosen && a.name != chosen:
			return 1
		}
		return 0
	})
	for _, l := range labels {
		// A program of syslinux is no kernel.
		if l.kernel != "" && !strings.HasSuffix(l.kernel, ".c32") {
			list = append(list, l.candidate)
		}
	}
	return list
}
