// Package decode turns the bytes of x86 instructions into Insts: position-independent
// records that an interpreter executes and a translator can compile. It knows the
// integer, system, x87, MMX and SSE instructions up to SSE4.2, BMI, ADX, AES,
// PCLMULQDQ, SHA and user interrupts; VEX only where it encodes general-purpose
// instructions. Everything else is UD.
//
// It judges what the encoding alone decides: whether LOCK may stand there, which
// operands are memory, what does not exist in 64-bit mode. What depends on a
// processor's state (privilege, control registers, feature bits) is not its
// business.
package decode
