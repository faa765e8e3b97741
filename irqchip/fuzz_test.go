package irqchip

import (
	"encoding/binary"
	"testing"

	"gvmm/vmm/pci"
)

// FuzzAccesses plays a sequence of 12-byte steps on a machine: no access panics or hangs, and Pending tells the truth.
func FuzzAccesses(f *testing.F) {
	step := func(kind, cpu uint8, where uint16, v uint64) []byte {
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint16([]byte{kind, cpu}, where), v)
	}
	seed := func(steps ...[]byte) {
		var all []byte
		for _, s := range steps {
			all = append(all, s...)
		}
		f.Add(all)
	}
	seed(step(0, 0, 0xF0, 0x1FF), step(0, 0, 0x300, 0x40440), step(6, 0, 0, 0))
	seed(step(1, 0, msrAPICBase, baseDefault|baseEN|baseEXTD), step(1, 0, 0x80F, 0x1FF), step(1, 0, 0x83F, 0x99), step(6, 0, 0, 0), step(7, 0, 0, 0))
	seed(step(0, 1, 0xF0, 0x1FF), step(0, 1, 0x320, 0x20040), step(0, 1, 0x380, 3), step(0, 1, 0x3E0, 8), step(5, 1, 0, 99999))
	seed(step(4, 0, 17, 1), step(3, 0, 0, 0x32), step(3, 0, 0x10, 0x8070), step(0, 0, 0xF0, 0x1FF), step(6, 0, 0, 0), step(7, 0, 0, 0))
	seed(step(2, 0, 0x20, 0x11), step(2, 0, 0x21, 0x30), step(2, 0, 0x21, 4), step(2, 0, 0x21, 1), step(2, 0, 0x21, 0), step(4, 0, 1, 1),
		step(0, 0, 0xF0, 0x1FF), step(0, 0, 0x350, 0x700), step(6, 0, 0, 0), step(2, 0, 0x20, 0x20))
	seed(step(8, 0, 0, 0xFEE00000), step(9, 0, 0, 0), step(10, 1, 0x40, 0), step(11, 0, 0, 0))
	f.Fuzz(func(t *testing.T, steps []byte) {
		const cpus = 18
		now := uint64(0)
		s := NewSoft(SoftConfig{CPUs: cpus, Hz: 3e9, Now: func() uint64 { return now }})
		var p [8]byte
		for n := 0; len(steps) >= 12 && n < 200; n++ {
			l := s.Local(int(steps[1] % cpus))
			where := binary.LittleEndian.Uint16(steps[2:])
			raw := steps[4:12]
			v := binary.LittleEndian.Uint64(raw)
			width := 1 << (steps[1] >> 6)
			switch steps[0] % 13 {
			case 0:
				l.WriteMMIO(uint64(where), raw[:4])
				l.ReadMMIO(uint64(where), p[:width])
			case 1:
				l.WriteMSR(uint32(where), v)
				l.ReadMSR(uint32(where))
			case 2:
				s.WritePort(where, raw[:min(width, 4)])
				s.ReadPort(where, p[:min(width, 4)])
			case 3:
				s.IOAPIC().WriteMMIO(uint64(where), raw[:width])
				s.IOAPIC().ReadMMIO(uint64(where), p[:width])
			case 4:
				s.SetIRQ(int(int16(where)), v&1 != 0)
			case 5:
				now = v
				l.Tick(now)
				if d := l.Deadline(); d <= now && d != never && l.timerMode() == timerDeadline {
					t.Fatalf("still due at %d, now %d", d, now)
				}
			case 6:
				l.Acknowledge()
			case 7:
				l.EOI()
			case 8:
				_ = s.SendMSI(pci.Message{Address: v, Data: uint32(where)})
				_ = s.SendMSI(pci.Message{Address: v&^0xFF_FFF00000 | messageBase, Data: uint32(where)})
			case 9:
				l.Reset()
			case 10:
				l.Notify(uint8(where), uint32(v))
			case 11:
				s.NMI()
			case 12:
				l.SetTPR(uint8(v))
			}
			steps = steps[12:]
		}
		for i := range cpus {
			l := s.Local(i)
			l.SetTPR(0)
			for n := 0; l.Pending(); n++ {
				if n > 600 {
					t.Fatalf("processor %d is never done", i)
				}
				v, ok := l.Acknowledge()
				if !ok && l.Pending() {
					t.Fatalf("pending, and nothing to acknowledge")
				}
				if ok && l.isr.highest() >= 0 && l.isr.highest() < firstVector {
					t.Fatalf("vector %d in service", v)
				}
				l.EOI()
				s.WritePort(portSlave, []byte{0x20})
				s.WritePort(portMaster, []byte{0x20})
				// What is still asserted comes back for ever, rightly.
				for line := range ioapicPins {
					s.SetIRQ(line, false)
				}
			}
		}
	})
}
