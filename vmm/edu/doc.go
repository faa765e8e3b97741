// Package edu is a small PCI device for experiments with DMA and interrupts, with the identity and the registers of the one that tutorials, drivers
// and test kernels know: 1234:11e8. It inverts a word, computes a factorial, copies between memory and a buffer of its own, and interrupts by INTA# or
// by MSI.
//
// Registers are in BAR 0. Those below 0x80 take accesses of 4 bytes, the others of 4 or 8:
//
//	00 identification  RO  0x010000ED
//	04 liveness        RW  reads as the inverse of what was written
//	08 factorial       RW  of what was written, modulo 2^32
//	20 status          RW  bit 0 computing (RO), bit 7 interrupt 1 when a factorial is done
//	24 interrupt       RO  the reasons that are not acknowledged
//	60 raise           WO  adds reasons
//	64 acknowledge     WO  takes reasons away
//	80 source          RW  of DMA
//	88 destination     RW
//	90 count           RW  bytes
//	98 command         RW  bit 0 start; bit 1 direction, 0 from memory to buffer, 1 back; bit 2 interrupt 0x100 when done
//	40000              the buffer, for DMA alone, 4096 bytes
//
// What is asked for is done when the write that asks returns. A transfer that is not wholly inside the buffer, or that memory refuses, moves nothing
// and does not interrupt. Addresses of memory are masked; 28 bits are the default. A write of 4 bytes to the range of interrupt messages is such a
// message, as from any device: it goes through the sender that the machine gave, remapping and all.
package edu
