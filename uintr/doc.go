// Package uintr is the user-interrupt architecture for whichever processor needs it: its state, MSRs, five instructions,
// notification, delivery and XSAVE component, as `uintr.md §1` describes them. A software CPU calls it from its run
// loop, a machine monitor from its exit handlers; both give the same results, fault for fault.
//
// An engine owns one State for each virtual CPU and brings two small interfaces: Memory, the linear addresses of the
// current address space, and Registers, what the architecture reads and changes of a CPU. In the order of a CPU's life:
//
//   - RDMSR, WRMSR, XSAVES and XRSTORS reach State.ReadMSR, WriteMSR, Image and XRSTORS;
//   - Match recognises the instructions; State.SENDUIPI, TESTUI, CLUI, STUI and UIRET execute them;
//   - an acknowledged interrupt vector is offered to State.Identify; if it is a notification the engine writes EOI and
//     calls State.ProcessNotification instead of going through the IDT;
//   - at each instruction boundary, after NMI, SMI and ordinary interrupts, State.Deliver enters the handler if it may.
//
// A *Fault is for the guest, and whatever faulted left no trace. The processors modelled have no shadow stacks, no
// transactions and no enclaves, so the rules about those do not appear.
package uintr
