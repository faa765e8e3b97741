package irqchip

import (
	"testing"

	"gvmm/vmm/pci"
)

// BenchmarkMessage is an interrupt's whole way: sent, acknowledged, ended.
func BenchmarkMessage(b *testing.B) {
	s := NewSoft(SoftConfig{CPUs: 4})
	l := s.Local(1)
	l.writeSVR(0x1FF)
	m := pci.Message{Address: Address(1), Data: 0x40}
	b.ReportAllocs()
	for b.Loop() {
		if s.SendMSI(m) != nil {
			b.Fatal("refused")
		}
		if _, ok := l.Acknowledge(); !ok {
			b.Fatal("nothing")
		}
		l.EOI()
	}
}

// BenchmarkNotify is the same for the IPI of SENDUIPI to another processor.
func BenchmarkNotify(b *testing.B) {
	s := NewSoft(SoftConfig{CPUs: 4})
	l := s.Local(1)
	l.writeSVR(0x1FF)
	b.ReportAllocs()
	for b.Loop() {
		s.Local(0).Notify(0xEC, 1)
		_, _ = l.Acknowledge()
		l.EOI()
	}
}

// BenchmarkPending is what a processor asks at every turn.
func BenchmarkPending(b *testing.B) {
	l := NewSoft(SoftConfig{}).Local(0)
	for b.Loop() {
		if l.Pending() {
			b.Fatal("pending")
		}
	}
}

// BenchmarkLevelLine is a level-triggered interrupt through the IOAPIC, with its EOI broadcast.
func BenchmarkLevelLine(b *testing.B) {
	s := NewSoft(SoftConfig{CPUs: 4})
	l := s.Local(0)
	l.writeSVR(0x1FF)
	s.ioapic.table[17] = 0x70 | rteLevel
	b.ReportAllocs()
	for b.Loop() {
		s.SetIRQ(17, true)
		_, _ = l.Acknowledge()
		s.SetIRQ(17, false)
		l.EOI()
	}
}
