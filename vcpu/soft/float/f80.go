// Package float is floating-point arithmetic as x86 processors do it.
package float

// F80 is an x87 register: sign and exponent in SE.
type F80 struct {
	Man uint64
	SE  uint16
}
