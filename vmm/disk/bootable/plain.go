package bootable

import (
	"slices"
	"strings"
)

// plain looks for kernels by their names, where nothing configures any: the
// newest, and the initial RAM disk of the same version. There is no command line.
func (d *disk) plain(v *volume) (*Found, error) {
	for _, dir := range []string{"/boot", "/"} {
		names, err := v.list(dir)
		if err != nil {
			return nil, err
		}
		kernels := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, "vmlinuz") })
		newest(kernels)
		for _, name := range kernels {
			c := candidate{kernel: absolute(name, dir), from: "being the newest kernel there"}
			if initrd := matching(name, names); initrd != "" {
				c.initrds = []string{absolute(initrd, dir)}
			}
			if found := d.load(v, c); found != nil {
				return found, nil
			}
		}
	}
	return nil, nil
}

// matching is the initial RAM disk of a kernel among names; "" is none.
func matching(kernel string, names []string) string {
	version := strings.TrimPrefix(kernel, "vmlinuz")
	for _, pattern := range []string{"initrd.img*", "initramfs*.img", "initrd*", "initramfs*", "initrd*.img"} {
		if name := strings.Replace(pattern, "*", version, 1); slices.Contains(names, name) {
			return name
		}
	}
	return ""
}
