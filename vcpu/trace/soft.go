package trace

import (
	"fmt"

	"gvmm/vcpu"
	"gvmm/vcpu/soft"
	"gvmm/vcpu/soft/decode"
)

// cpu is what is kept of one processor. Only its goroutine uses it, and Flush when
// that has ended.
type cpu struct {
	line    []byte // an instruction's, which waits for what it changes
	general [16]uint64
	texts   []text
}

// tracer is a Log as the software CPU sees it.
type tracer struct{ log *Log }

var _ soft.Tracer = tracer{}

// Soft returns the trace as the software CPU wants it.
func (l *Log) Soft() soft.Tracer { return tracer{l} }

func (l *Log) cpu(id uint32) *cpu {
	if c, ok := l.cpus.Load(id); ok {
		return c.(*cpu)
	}
	c, _ := l.cpus.LoadOrStore(id, &cpu{texts: make([]text, textSlots)})
	return c.(*cpu)
}

// finish writes the line that waits.
func (c *cpu) finish(l *Log) {
	if len(c.line) > 0 {
		l.write(append(c.line, '\n'))
		c.line = c.line[:0]
	}
}

// start begins a line about c.
func start(p []byte, c *soft.CPU) []byte { return fmt.Appendf(p, "%d %d ", c.ID(), c.Retired()) }

// event writes a line behind the one that waits.
func (t tracer) event(c *soft.CPU, fields func(p []byte) []byte) {
	t.log.cpu(c.ID()).finish(t.log)
	t.log.write(fields(start(nil, c)))
}

// Instructions implements soft.Tracer.
func (t tracer) Instructions() bool { return t.log.kinds&Instructions != 0 }

// Instruction implements soft.Tracer.
func (t tracer) Instruction(c *soft.CPU, la uint64, in *decode.Inst) {
	s := t.log.cpu(c.ID())
	s.finish(t.log) // of one that faulted
	var code [decode.MaxLength]byte
	n := c.ReadLinear(la, code[:min(int(in.Len), len(code))])
	s.line = fmt.Appendf(start(s.line, c), "insn %016x %-*x cpl%d %s", la, 2*8, code[:n], c.CPL(), s.text(c.Mode(), c.RIP(), code[:n], in))
	for i := range s.general {
		s.general[i] = c.General(i)
	}
}

var registerNames = [16]string{
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
}

// Retired implements soft.Tracer.
func (t tracer) Retired(c *soft.CPU) {
	s := t.log.cpu(c.ID())
	waits := len(s.line) > 0
	first := true
	for i, before := range s.general {
		now := c.General(i)
		if now == before {
			continue
		}
		if first && waits {
			s.line = append(s.line, " ;"...)
		} else if first {
			s.line = append(start(s.line, c), "regs"...)
		}
		first = false
		s.line = fmt.Appendf(s.line, " %s=%x", registerNames[i], now)
	}
	s.finish(t.log)
}

// Exit implements soft.Tracer.
func (t tracer) Exit(c *soft.CPU, e vcpu.Exit) {
	if t.log.kinds&Exits != 0 {
		t.event(c, func(p []byte) []byte { return appendExit(p, &e) })
	}
}

// Interrupt implements soft.Tracer.
func (t tracer) Interrupt(c *soft.CPU, vector uint8) {
	if t.log.kinds&Interrupts != 0 {
		t.event(c, func(p []byte) []byte { return fmt.Appendf(p, "irq acknowledge %x\n", vector) })
	}
}

// exceptionNames are the mnemonics of SDM 3 §6.3.1, by vector.
var exceptionNames = [32]string{
	0: "#DE", 1: "#DB", 2: "NMI", 3: "#BP", 4: "#OF", 5: "#BR", 6: "#UD", 7: "#NM", 8: "#DF", 10: "#TS", 11: "#NP", 12: "#SS",
	13: "#GP", 14: "#PF", 16: "#MF", 17: "#AC", 18: "#MC", 19: "#XM", 20: "#VE", 21: "#CP",
}

// Event implements soft.Tracer.
func (t tracer) Event(c *soft.CPU, e soft.Event) {
	if t.log.kinds&Interrupts == 0 {
		return
	}
	t.event(c, func(p []byte) []byte {
		p = fmt.Appendf(p, "irq deliver %x", e.Vector)
		if e.Exception && int(e.Vector) < len(exceptionNames) && exceptionNames[e.Vector] != "" {
			p = append(append(p, ' '), exceptionNames[e.Vector]...)
		}
		if e.HasCode {
			p = fmt.Appendf(p, " error=%x", e.Code)
		}
		if e.Exception && e.Vector == 14 {
			p = fmt.Appendf(p, " cr2=%x", c.CR2())
		}
		return fmt.Appendf(p, " rip=%x cpl%d\n", e.Handler, c.CPL())
	})
}

// User implements soft.Tracer.
func (t tracer) User(c *soft.CPU, what vcpu.UserStep, value uint64) {
	if t.log.kinds&User != 0 {
		t.event(c, func(p []byte) []byte { return appendUser(p, what, value) })
	}
}
