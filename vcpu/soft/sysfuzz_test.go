package soft

import (
	"testing"
	"time"
)

// FuzzSystem runs any bytes as code, and as descriptor tables, in each mode: a
// guest may do what it likes, but the processor goes on or ends with an error.
func FuzzSystem(f *testing.F) {
	f.Add(uint8(0), []byte{0xcd, 0x21, 0x8e, 0xd8, 0xcf})
	f.Add(uint8(1), []byte{0xea, 0, 0, 0, 0, selTSS2, 0, 0x0f, 0x00, 0xd8})
	f.Add(uint8(2), []byte{0x0f, 0x05, 0x48, 0xcf, 0x0f, 0x01, 0x13, 0x0f, 0x22, 0xc0})
	f.Add(uint8(5), []byte{0x9a, 8, 0x80, 0, 0, 0x38, 0, 0xf4})
	f.Add(uint8(10), []byte{0x66, 0x0f, 0xae, 0xf1, 0xfb, 0xf4, 0xcc})
	f.Fuzz(func(t *testing.T, mode uint8, image []byte) {
		if len(image) > 4096 {
			image = image[:4096]
		}
		var r *sysRig
		switch mode % 3 {
		case 0:
			r = realRig(t)
		case 1:
			r = protectedRig(t)
			r.newTask(selCode32, selData)
		default:
			r = longRig(t)
		}
		c := r.c
		c.config.Virtual = true
		if mode&4 != 0 {
			copy(r.ram[atGDT+0x58:], image)
		}
		if mode&8 != 0 {
			copy(r.ram[atIDT:], image)
		}
		if mode&16 != 0 {
			copy(r.ram[atTSS:], image)
			copy(r.ram[atTSS2:], image)
		}
		if mode&32 != 0 {
			r.enter(selUser64|3, selUserData|3)
		}
		if mode&64 != 0 {
			c.setRFLAGS(flagTF, flagTF)
			c.updateStep()
		}
		copy(r.ram[atCode:], image)
		start := time.Now()
		for range 4 {
			if c.Slice(250) != nil {
				break
			}
			c.pending.And(^pendingStop)
			c.signal(pendingNMI)
		}
		// A hang, not slowness: fuzzing often runs beside what starves it.
		if d := time.Since(start); d > time.Minute {
			t.Fatalf("%v for 1000 instructions", d)
		}
	})
}
