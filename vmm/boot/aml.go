package boot

import "encoding/binary"

// aml is ACPI machine language (ACPI §20), built inside out: what takes a length is given what it holds.
type aml []byte

func join(parts ...aml) (all aml) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// withLength puts PkgLength, which counts itself, before what it measures (§20.2.4).
func withLength(body aml) aml {
	n := len(body) + 1
	if n < 1<<6 {
		return append(aml{byte(n)}, body...)
	}
	more := 1
	for n = len(body) + 2; n >= 1<<(4+8*more); n++ {
		more++
	}
	head := aml{byte(more<<6 | n&0xf)}
	for i := range more {
		head = append(head, byte(n>>(4+8*i)))
	}
	return append(head, body...)
}

// number is an integer in its shortest form.
func number(v uint32) aml {
	le := binary.LittleEndian
	switch {
	case v <= 1:
		return aml{byte(v)}
	case v <= 0xff:
		return aml{0x0a, byte(v)}
	case v <= 0xffff:
		return le.AppendUint16(aml{0x0b}, uint16(v))
	}
	return le.AppendUint32(aml{0x0c}, v)
}

// text is a string of ASCII characters.
func text(s string) aml { return append(append(aml{0x0d}, s...), 0) }

// named is Name (path, value). A path is of segments of four characters, with \ before if it begins at the root.
func named(path string, value aml) aml { return join(aml{0x08}, aml(path), value) }

func scope(path string, body ...aml) aml {
	return join(aml{0x10}, withLength(join(aml(path), join(body...))))
}

func object(path string, body ...aml) aml {
	return join(aml{0x5b, 0x82}, withLength(join(aml(path), join(body...))))
}

// list is Package () {elements}.
func list(elements ...aml) aml {
	return join(aml{0x12}, withLength(join(aml{byte(len(elements))}, join(elements...))))
}

// resources is ResourceTemplate () {descriptors}, with its end tag (§6.4.2.9).
func resources(descriptors ...aml) aml {
	body := join(join(descriptors...), aml{0x79, 0})
	return join(aml{0x11}, withLength(join(number(uint32(len(body))), body)))
}

// eisaID is EISAID (id): three letters of five bits, then four hexadecimal digits.
func eisaID(id string) aml {
	digit := func(c byte) uint16 {
		if c >= 'A' {
			return uint16(c-'A') + 10
		}
		return uint16(c - '0')
	}
	letters := uint16(id[0]-0x40)<<10 | uint16(id[1]-0x40)<<5 | uint16(id[2]-0x40)
	digits := digit(id[3])<<12 | digit(id[4])<<8 | digit(id[5])<<4 | digit(id[6])
	b := binary.BigEndian.AppendUint16(aml{0x0c}, letters)
	return binary.BigEndian.AppendUint16(b, digits)
}

// ioPorts is IO (Decode16, first, first, 1, n): ports that a device has (§6.4.2.5).
func ioPorts(first uint16, n byte) aml {
	b := binary.LittleEndian.AppendUint16(aml{0x47, 1}, first)
	return append(binary.LittleEndian.AppendUint16(b, first), 1, n)
}

// memory32 is Memory32Fixed (ReadWrite, base, n): memory that a device has (§6.4.3.4).
func memory32(base, n uint32) aml {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(aml{0x86, 9, 0, 1}, base), n)
}

// isaIRQ is IRQNoFlags () {line}: edge-triggered and active high (§6.4.2.1).
func isaIRQ(line int) aml {
	return binary.LittleEndian.AppendUint16(aml{0x22}, 1<<line)
}

// Kinds of a window that a bridge hands on.
const (
	windowMemory = 0
	windowPorts  = 1
	windowBuses  = 2
)

// What a window is, by its kind: memory is read and written and not cached, ports are all that there are.
var windowFlags = [...]byte{windowMemory: 1, windowPorts: 3, windowBuses: 0}

const windowFixed = 3 << 2 // both ends stay; the bridge decodes it for what is behind

// window16 and window32 are a bridge's address space descriptors (§6.4.3.5.2-3), of first to last.
func window16(kind int, first, last uint16) aml {
	b := aml{0x88, 13, 0, byte(kind), windowFixed, windowFlags[kind]}
	for _, v := range []uint16{0, first, last, 0, last - first + 1} {
		b = binary.LittleEndian.AppendUint16(b, v)
	}
	return b
}

func window32(kind int, first, last uint32) aml {
	b := aml{0x87, 23, 0, byte(kind), windowFixed, windowFlags[kind]}
	for _, v := range []uint32{0, first, last, 0, last - first + 1} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}
