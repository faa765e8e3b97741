// Package soft is a virtual processor in software: an x86-64 with user interrupts,
// on any host, with no /dev/kvm.
//
// A Machine is guest memory and the processors that share it; each CPU implements
// vcpu.CPU. Instructions come from package decode, and are kept as blocks by
// physical page; a software TLB turns linear addresses into host pointers. What an
// instruction does is in the room of its group:
//
//   - integer, string, flow: what programs are made of;
//   - segment, far, event, control, msr, cpuid: the privileged architecture;
//   - x87, simd, xsave: the vector and floating-point state;
//   - uinst: user interrupts, over package uintr.
//
// An instruction either completes or raises a fault and leaves no trace. Every
// executing method returns false for the fault, which is then in CPU.fault.
package soft
