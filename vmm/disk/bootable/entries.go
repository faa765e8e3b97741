package bootable

import (
	"path"
	"slices"
	"strings"
)

// entries looks for boot loader entries (The Boot Loader Specification, type 1).
func (d *disk) entries(v *volume) (*Found, error) {
	for _, base := range []string{"/loader", "/boot/loader"} {
		names, err := v.list(base + "/entries")
		if err != nil {
			return nil, err
		}
		names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".conf") })
		if len(names) == 0 {
			continue
		}
		newest(names)
		settings, err := v.config(base + "/loader.conf")
		if err != nil {
			return nil, err
		}
		preferred(names, settings)
		env, err := v.environment()
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			file := base + "/entries/" + name
			text, err := v.config(file)
			if err != nil {
				return nil, err
			}
			c := parseEntry(text, env)
			c.from = "the boot loader entry " + file
			if c.kernel == "" {
				continue
			}
			if found := d.load(v, c); found != nil {
				return found, nil
			}
		}
	}
	return nil, nil
}

// preferred moves what loader.conf has for its default to the front.
func preferred(names []string, settings string) {
	for key, value := range fields(settings) {
		if key != "default" {
			continue
		}
		for i, name := range names {
			if ok, _ := path.Match(value, name); ok || value+".conf" == name {
				copy(names[1:i+1], names[:i])
				names[0] = name
				return
			}
		}
	}
}

// parseEntry reads one entry. Variables, which GRUB knows, come from env.
func parseEntry(text string, env variables) (c candidate) {
	for key, value := range fields(text) {
		switch key {
		case "linux", "efi", "uki":
			c.kernel = absolute(value, "/")
		case "initrd":
			for _, name := range strings.Fields(value) {
				if !strings.HasPrefix(name, "$") {
					c.initrds = append(c.initrds, absolute(name, "/"))
				}
			}
		case "options":
			c.command += " " + env.expand(value)
		}
	}
	return c
}

// fields yields the keys and values of a file with one pair a line.
func fields(text string) func(yield func(key, value string) bool) {
	return func(yield func(string, string) bool) {
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(line)
			at := strings.IndexAny(line, " \t")
			if at < 0 || line[0] == '#' {
				continue
			}
			if !yield(strings.ToLower(line[:at]), strings.TrimSpace(line[at:])) {
				return
			}
		}
	}
}

// absolute is a name in a configuration as a path: what it has in common with
// Windows is undone, and dir goes before one that is relative.
func absolute(name, dir string) string {
	name = strings.ReplaceAll(name, `\`, "/")
	if !strings.HasPrefix(name, "/") {
		name = dir + "/" + name
	}
	return path.Clean(name)
}

// unified looks for unified kernel images (The Boot Loader Specification, type 2).
func (d *disk) unified(v *volume) (*Found, error) {
	names, err := v.list("/EFI/Linux")
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(strings.ToLower(n), ".efi") })
	newest(names)
	for _, name := range names {
		c := candidate{kernel: "/EFI/Linux/" + name, from: "being the newest unified kernel image"}
		if found := d.load(v, c); found != nil {
			return found, nil
		}
	}
	return nil, nil
}
