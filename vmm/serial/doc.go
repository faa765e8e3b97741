// Package serial is the first serial port of a PC, a 16550A (PC16550D data sheet).
//
// What is transmitted goes to a writer at once, so the transmitter is always empty.
// What is received waits with whoever has it until there is room: nothing is overrun.
// There is no line, so baud rate, word length and parity are only remembered, and the
// time after which a receive FIFO below its trigger level interrupts is none.
package serial
