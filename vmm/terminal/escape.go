package terminal

// ctrlA is the escape key.
const ctrlA = 1

// wish is a set of what the user wants of the monitor.
type wish int

const (
	wishHelp wish = 1 << iota
	wishLeave
)

// escape finds the monitor's keys among the guest's.
type escape struct {
	seen bool // the last key was the escape key
}

// filter appends to dst what of keys is the guest's: at most one byte more than keys has. What follows a wish to leave
// is nobody's.
func (e *escape) filter(keys, dst []byte) ([]byte, wish) {
	what := wish(0)
	for _, k := range keys {
		switch {
		case !e.seen && k == ctrlA:
			e.seen = true
			continue
		case !e.seen, k == ctrlA:
			dst = append(dst, k)
		case k == 'x':
			return dst, what | wishLeave
		case k == 'h', k == '?':
			what |= wishHelp
		default: // of no meaning here: the guest's
			dst = append(dst, ctrlA, k)
		}
		e.seen = false
	}
	return dst, what
}
