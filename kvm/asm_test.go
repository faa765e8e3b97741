package kvm

import "encoding/binary"

// code is a guest program: 16-bit real-mode instructions, a method each.
type code []byte

func (c code) raw(b ...byte) code { return append(c, b...) }

func (c code) imm16(v uint16) code { return binary.LittleEndian.AppendUint16(c, v) }
func (c code) imm32(v uint32) code { return binary.LittleEndian.AppendUint32(c, v) }

func (c code) movAL(v uint8) code   { return c.raw(0xb0, v) }
func (c code) movDX(v uint16) code  { return c.raw(0xba).imm16(v) }
func (c code) movCX(v uint16) code  { return c.raw(0xb9).imm16(v) }
func (c code) movDI(v uint16) code  { return c.raw(0xbf).imm16(v) }
func (c code) movEAX(v uint32) code { return c.raw(0x66, 0xb8).imm32(v) }
func (c code) movECX(v uint32) code { return c.raw(0x66, 0xb9).imm32(v) }
func (c code) movEDX(v uint32) code { return c.raw(0x66, 0xba).imm32(v) }

func (c code) inAL() code         { return c.raw(0xec) }       // in al, dx
func (c code) outAL() code        { return c.raw(0xee) }       // out dx, al
func (c code) outEAX() code       { return c.raw(0x66, 0xef) } // out dx, eax
func (c code) repINSB() code      { return c.raw(0xf3, 0x6c) } // to es:di
func (c code) rdmsr() code        { return c.raw(0x0f, 0x32) }
func (c code) wrmsr() code        { return c.raw(0x0f, 0x30) }
func (c code) sti() code          { return c.raw(0xfb) }
func (c code) hlt() code          { return c.raw(0xf4) }
func (c code) nop() code          { return c.raw(0x90) }
func (c code) iret() code         { return c.raw(0xcf) }
func (c code) spin() code         { return c.raw(0xeb, 0xfe) } // jmp to itself
func (c code) jmp(to uint16) code { return c.raw(0xea).imm16(to).imm16(0) }

// es makes the store or load that follows go to segment ES.
func (c code) es() code { return c.raw(0x26) }

func (c code) storeAL(off uint16) code  { return c.raw(0xa2).imm16(off) }
func (c code) storeEAX(off uint16) code { return c.raw(0x66, 0xa3).imm16(off) }
func (c code) loadAL(off uint16) code   { return c.raw(0xa0).imm16(off) }
func (c code) loadEAX(off uint16) code  { return c.raw(0x66, 0xa1).imm16(off) }

// storeImm32 is mov dword [off], v under the given segment prefix.
func (c code) storeImm32(prefix byte, off uint16, v uint32) code {
	return c.raw(prefix, 0x66, 0xc7, 0x06).imm16(off).imm32(v)
}

const (
	prefixFS = 0x64
	prefixGS = 0x65
)

// out is mov dx, port; mov al, v; out dx, al.
func (c code) out(port uint16, v uint8) code { return c.movDX(port).movAL(v).outAL() }
