// Package terminal gives a guest's serial console to a person: standard input as it is typed, with an escape key for the
// virtual machine monitor itself.
//
// A terminal becomes raw when it is first read, and is what it was again when it is closed: before, and where nobody
// reads, Ctrl-C is the user's. Its output processing stays on, so that lines which end in a line feed alone look right.
// Ctrl-A x leaves, Ctrl-A Ctrl-A is one Ctrl-A, Ctrl-A h says so. Input that is no terminal is passed on as it is.
package terminal
