package bootable

import (
	"strings"
)

// maxEntries bounds how many entries of a configuration are tried.
const maxEntries = 64

var grubDirectories = []string{"/boot/grub", "/boot/grub2", "/grub", "/grub2"}

// grub looks for GRUB's configuration and takes the first entry whose kernel
// is there.
func (d *disk) grub(v *volume) (*Found, error) {
	for _, dir := range grubDirectories {
		file := dir + "/grub.cfg"
		text, err := v.config(file)
		if err != nil {
			return nil, err
		}
		if text == "" {
			continue
		}
		env, err := v.environment()
		if err != nil {
			return nil, err
		}
		for _, c := range parseGRUB(text, env) {
			c.from = "the first entry in " + file + " whose kernel is there"
			if found := d.load(v, c); found != nil {
				return found, nil
			}
		}
	}
	return nil, nil
}

// environment reads GRUB's environment block, a file of lines name=value.
func (v *volume) environment() (variables, error) {
	env := variables{}
	for _, dir := range grubDirectories {
		text, err := v.config(dir + "/grubenv")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			if name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "="); ok && !strings.HasPrefix(line, "#") {
				env.set(name, value)
			}
		}
	}
	return env, nil
}

// parseGRUB reads the entries of a configuration. It is a script: of its
// commands set, linux and initrd are understood, line by line, whatever is
// around them. A variable that the script computes is empty.
func parseGRUB(text string, env variables) (list []candidate) {
	var c *candidate
	for line := range strings.Lines(text) {
		words := env.words(line)
		if len(words) == 0 {
			continue
		}
		switch command := words[0]; command {
		case "menuentry":
			if len(list) == maxEntries {
				return withKernel(list)
			}
			list = append(list, candidate{})
			c = &list[len(list)-1]
		case "}":
			c = nil
		case "set":
			for _, w := range words[1:] {
				if name, value, ok := strings.Cut(w, "="); ok {
					env.set(name, value)
				}
			}
		case "linux", "linux16", "linuxefi":
			if c != nil && len(words) > 1 && c.kernel == "" {
				c.kernel = grubPath(words[1])
				for _, w := range words[2:] {
					c.command += " " + requote(w)
				}
			}
		case "initrd", "initrd16", "initrdefi":
			for _, w := range words[1:] {
				if c != nil && len(c.initrds) < maxEntries {
					c.initrds = append(c.initrds, grubPath(w))
				}
			}
		}
	}
	return withKernel(list)
}

func withKernel(list []candidate) (with []candidate) {
	for _, c := range list {
		if c.kernel != "" {
			with = append(with, c)
		}
	}
	return with
}

// grubPath is a name without the device that may stand in front of it.
func grubPath(name string) string {
	if strings.HasPrefix(name, "(") {
		if end := strings.IndexByte(name, ')'); end >= 0 {
			name = name[end+1:]
		}
	}
	return absolute(name, "/")
}

// variables are those of a script.
type variables map[string]string

// Limits of variables, and of a line in which they stand for long values.
const (
	maxVariables = 1024
	maxValue     = 4096
	maxExpanded  = 16 << 10
)

func (v variables) set(name, value string) {
	if len(value) <= maxValue && len(v) < maxVariables {
		v[name] = value
	}
}

// requote quotes a parameter as the kernel reads one with spaces in it.
func requote(w string) string {
	if strings.ContainsAny(w, " \t") {
		return `"` + w + `"`
	}
	return w
}

// expand puts values in the place of $name and ${name}.
func (v variables) expand(s string) string {
	var b strings.Builder
	for len(s) > 0 && b.Len() < maxExpanded {
		at := strings.IndexByte(s, '$')
		if at < 0 {
			at = len(s)
		}
		b.WriteString(s[:at])
		if s = s[at:]; s != "" {
			var value string
			value, s = v.first(s)
			b.WriteString(value)
		}
	}
	return b.String()
}

// first is the value of the variable that s begins with, and what is behind it.
func (v variables) first(s string) (value, rest string) {
	s = s[1:]
	if strings.HasPrefix(s, "{") {
		if end := strings.IndexByte(s, '}'); end >= 0 {
			return v[s[1:end]], s[end+1:]
		}
	}
	n := 0
	for n < len(s) && (s[n] == '_' || s[n] >= '0' && s[n] <= '9' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
		n++
	}
	if n == 0 {
		return "$", s
	}
	return v[s[:n]], s[n:]
}

// words takes a line apart as a shell would: quotes, backslashes, variables,
// comments. A variable outside quotes is split like the line itself.
func (v variables) words(line string) (words []string) {
	var w strings.Builder
	begun, quoted := false, false
	end := func() {
		if begun {
			words = append(words, w.String())
			w.Reset()
			begun = false
		}
	}
	line = strings.TrimSpace(line)
	for expanded := 0; line != ""; {
		c := line[0]
		switch {
		case c == '\'' && !quoted:
			text, rest, _ := strings.Cut(line[1:], "'")
			w.WriteString(text)
			begun, line = true, rest
			continue
		case c == '"':
			quoted, begun = !quoted, true
		case c == '\\' && len(line) > 1:
			line = line[1:]
			w.WriteByte(line[0])
			begun = true
		case c == '$' && expanded < maxExpanded:
			value, rest := v.first(line)
			if value == "$" || quoted {
				w.WriteString(value)
				begun, line = true, rest
			} else {
				for i, part := range strings.FieldsFunc(value, isSpace) {
					if i > 0 {
						end()
					}
					w.WriteString(part)
					begun = true
				}
				line = rest
			}
			expanded += len(value)
			continue
		case isSpace(rune(c)) && !quoted:
			end()
		case c == '#' && !quoted && !begun:
			line = ""
			continue
		default:
			w.WriteByte(c)
			begun = true
		}
		line = line[1:]
	}
	end()
	return words
}

func isSpace(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }
