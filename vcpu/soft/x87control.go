package soft

import (
	"encoding/binary"

	"gvmm/vcpu/soft/decode"
)

// x87Control executes what reads and writes control, status and environment.
func (c *CPU) x87Control(in *decode.Inst) bool {
	f := &c.fpu
	switch in.Op {
	case decode.FLDCW:
		v, ok := c.load(in, 2)
		if !ok {
			return false
		}
		f.setControl(uint16(v))
	case decode.FNSTCW:
		return c.store(in, 2, uint64(f.control))
	case decode.FNSTSW:
		if in.Prefix&decode.Mem != 0 {
			return c.store(in, 2, uint64(f.status))
		}
		c.set(rax, 2, uint64(f.status))
	case decode.FNCLEX:
		f.status &^= swB | swES | swStackFault | swExceptions
	case decode.FNINIT:
		c.x87Reset()
	case decode.FNSTENV:
		n := c.putEnvironment(in.Size)
		if !c.storeBytes(in.Seg, c.offset(in), c.image[:n]) {
			return false
		}
		f.control |= cwMasks
		f.pending()
	case decode.FNSAVE:
		n := c.putEnvironment(in.Size)
		for i := range uint8(8) {
			putF80(c.image[n+10*int(i):], f.st(i))
		}
		if !c.storeBytes(in.Seg, c.offset(in), c.image[:n+80]) {
			return false
		}
		c.x87Reset()
	case decode.FLDENV:
		n := environmentSize(in.Size)
		if !c.loadBytes(in.Seg, c.offset(in), c.image[:n]) {
			return false
		}
		c.getEnvironment(in.Size)
	case decode.FRSTOR:
		n := environmentSize(in.Size)
		if !c.loadBytes(in.Seg, c.offset(in), c.image[:n+80]) {
			return false
		}
		c.getEnvironment(in.Size)
		for i := range uint8(8) {
			f.reg[f.phys(i)&7] = getF80(c.image[n+10*int(i):])
		}
	}
	return true // FNSETPM does nothing since the 80387
}

func (f *x87State) setControl(v uint16) {
	f.control = v&cwWritable | cwOnes
	f.pending()
}

// environmentSize is how long FNSTENV's image is with operands of size bytes.
func environmentSize(size uint8) int {
	if size == 2 {
		return 14
	}
	return 28
}

// fullTag gives the tag word with two bits a register: valid, zero, special, empty.
func (f *x87State) fullTag() uint16 {
	var t uint16
	for i := range 8 {
		k := uint16(3)
		if f.tag>>i&1 != 0 {
			switch r := f.reg[i]; {
			case r.SE&0x7fff == 0 && r.Man == 0:
				k = 1
			case r.SE&0x7fff == 0 || r.SE&0x7fff == 0x7fff || r.Man>>63 == 0:
				k = 2
			default:
				k = 0
			}
		}
		t |= k << (2 * i)
	}
	return t
}

// shortTag gives one bit a register of a full tag word: set if it is not empty.
func shortTag(full uint16) (t uint16) {
	for i := range 8 {
		if full>>(2*i)&3 != 3 {
			t |= 1 << i
		}
	}
	return t
}

// putEnvironment lays the environment out in c.image, in the format of the mode and
// of operands of size bytes (SDM 1 §8.1.10), and gives its length.
func (c *CPU) putEnvironment(size uint8) int {
	f := &c.fpu
	p := c.image[:28]
	linear := c.real() || c.v86()
	ip, dp := f.ip, f.dp
	if linear {
		ip += uint64(f.cs) << 4
		dp += uint64(f.ds) << 4
	}
	words := [7]uint32{0: uint32(f.control), 1: uint32(f.status), 2: uint32(f.fullTag()), 3: uint32(ip), 5: uint32(dp)}
	opcode := uint32(f.opcode & 0x7ff)
	if size == 2 {
		words[4], words[6] = uint32(f.cs), uint32(f.ds)
		if linear {
			words[4] = uint32(ip>>16&0xf)<<12 | opcode
			words[6] = uint32(dp>>16&0xf) << 12
		}
		for i, w := range words {
			binary.LittleEndian.PutUint16(p[2*i:], uint16(w))
		}
		return 14
	}
	words[4], words[6] = uint32(f.cs)|opcode<<16, uint32(f.ds)
	if linear {
		words[3], words[5] = uint32(ip&0xffff), uint32(dp&0xffff)
		words[4] = uint32(ip>>16&0xffff)<<12 | opcode
		words[6] = uint32(dp>>16&0xffff) << 12
	}
	for i, w := range words {
		if i < 3 || i == 6 && !linear {
			w |= 0xffff << 16 // reserved
		}
		binary.LittleEndian.PutUint32(p[4*i:], w)
	}
	return 28
}

// getEnvironment loads the environment from c.image.
func (c *CPU) getEnvironment(size uint8) {
	f := &c.fpu
	p := c.image[:28]
	var words [7]uint32
	for i := range words {
		if size == 2 {
			words[i] = uint32(binary.LittleEndian.Uint16(p[2*i:]))
		} else {
			words[i] = binary.LittleEndian.Uint32(p[4*i:])
		}
	}
	f.status = uint16(words[1])
	f.setControl(uint16(words[0]))
	f.tag = shortTag(uint16(words[2]))
	f.ip, f.dp = uint64(words[3]), uint64(words[5])
	f.cs, f.ds, f.opcode = uint16(words[4]), uint16(words[6]), 0
	switch linear := c.real() || c.v86(); {
	case linear && size == 2:
		f.ip |= uint64(words[4]>>12&0xf) << 16
		f.dp |= uint64(words[6]>>12&0xf) << 16
	case linear:
		f.ip = f.ip&0xffff | uint64(words[4]>>12&0xffff)<<16
		f.dp = f.dp&0xffff | uint64(words[6]>>12&0xffff)<<16
	case size == 2:
		return
	default:
		f.opcode = uint16(words[4]>>16) & 0x7ff
		return
	}
	f.cs, f.ds, f.opcode = 0, 0, uint16(words[4])&0x7ff
}
