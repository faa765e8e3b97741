// Package trace writes what processors do as lines of text: instructions, exits,
// interrupts, and the steps of user interrupts.
//
// A line is one event, its fields apart by spaces. The first line is a comment:
//
//	# CPU COUNT KIND FIELDS
//
// CPU is the processor, - for what no processor did. COUNT is how many instructions
// the processor had executed, where the engine counts them, else the TSC of the
// host. All numbers but CPU, COUNT and sizes are hexadecimal. The kinds:
//
//	insn   LINEAR-ADDRESS BYTES cplN MNEMONIC OPERANDS ; CHANGED-REGISTERS
//	regs   CHANGED-REGISTERS               of the insn line before, where exits stand between
//	exit   CAUSE ADDRESS SIZE VALUE        for the VMM; SIZE in bytes, VALUE read or written
//	irq    acknowledge VECTOR              taken from the local APIC
//	irq    deliver VECTOR NAME error=CODE cr2=ADDRESS rip=HANDLER cplN
//	uintr  STEP VALUE                      a user-interrupt instruction, notify, requests, deliver, message, or an MSR's write
//	iommu  write REGISTER OFFSET SIZE VALUE        before it takes effect
//	iommu  descriptor OFFSET TYPE FIELDS           of the invalidation queue
//	iommu  miss REQUESTER ADDRESS PAGE or none     a translation that took a walk of the tables
//	iommu  fault REQUESTER REASON FIELDS ; WORDS   unrecorded where the guest was not told
//	iommu  remap REQUESTER FIELDS                  a message that an entry gave a vector
//	iommu  post or post-user REQUESTER FIELDS      one that it posted to a PID or a UPID; then what became of the notification:
//	iommu  notify, coalesced, suppressed or deferred REQUESTER
//
// An instruction's line says which general-purpose registers it changed. Repeated
// string operations have one line for each run of their repetitions.
package trace
