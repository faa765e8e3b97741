// Package gdb is a stub of GDB's remote serial protocol: it lets a debugger stop a
// machine, look into it and run it step by step.
//
// Threads are processors, numbered from 1, and all stop together. Addresses of
// memory and breakpoints are linear, by the page tables that are current on the
// thread chosen. Breakpoints of both kinds, Z0 and Z1, leave guest memory as it is.
// The registers are those of x86-64 in every mode: RIP is an offset in CS, so that
// code in segments with a base is found at another linear address.
//
// Where the debugger goes away without a word the guest goes on, as after D; k ends
// the machine. What a debugger sends is not trusted: a packet is at most
// [MaxPacket] long, and what cannot be read ends the connection.
//
// The protocol is GDB's manual, appendix E.
package gdb
