package trace

import (
	"bufio"
	"encoding"
	"fmt"
	"io"
	"strings"
	"sync"

	"gvmm/vcpu"
)

// Kinds is a set of kinds of events.
type Kinds uint8

// The kinds.
const (
	Instructions Kinds = 1 << iota
	Exits
	Interrupts
	User
	IOMMU

	All = Instructions | Exits | Interrupts | User | IOMMU
)

var kindNames = [...]struct {
	kind Kinds
	name string
}{{Instructions, "insn"}, {Exits, "exit"}, {Interrupts, "irq"}, {User, "uintr"}, {IOMMU, "iommu"}}

// Names are the kinds' names, in the order in which help shows them.
func Names() []string {
	var names []string
	for _, k := range kindNames {
		names = append(names, k.name)
	}
	return names
}

// ParseKinds reads a list of kinds: "insn,exit,irq,uintr,iommu" or some of it, or "all".
func ParseKinds(list string) (Kinds, error) {
	var set Kinds
next:
	for name := range strings.SplitSeq(list, ",") {
		if name == "all" {
			set |= All
			continue
		}
		for _, k := range kindNames {
			if name == k.name {
				set |= k.kind
				continue next
			}
		}
		return 0, fmt.Errorf("%q is no kind of event: %s or all", name, strings.Join(Names(), ", "))
	}
	return set, nil
}

// String is the list that ParseKinds reads.
func (k Kinds) String() string {
	var names []string
	for _, n := range kindNames {
		if k&n.kind != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ",")
}

// Log is a trace under way. Its methods may be called from any goroutine.
type Log struct {
	kinds Kinds
	now   func() uint64 // a time stamp counter

	mu  sync.Mutex
	out *bufio.Writer
	err error // the first of writing; nothing is written after it

	cpus sync.Map // processor's number to *cpu
}

// New makes a trace of some kinds that is written to w in pieces.
func New(w io.Writer, kinds Kinds) *Log {
	l := &Log{kinds: kinds, now: vcpu.ReadTSC, out: bufio.NewWriterSize(w, 1<<18)}
	l.write([]byte("# CPU COUNT KIND FIELDS\n"))
	return l
}

// SetClock has events that no instruction count belongs to counted by another clock
// than the host's. Call it before the machine runs.
func (l *Log) SetClock(tsc func() uint64) { l.now = tsc }

// Kinds are what is traced.
func (l *Log) Kinds() Kinds { return l.kinds }

// Flush writes what is buffered and returns the first error of writing. Call it when
// the machine has stopped.
func (l *Log) Flush() error {
	l.cpus.Range(func(_, c any) bool {
		c.(*cpu).finish(l)
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.out.Flush(); l.err == nil {
		l.err = err
	}
	if l.err != nil {
		return fmt.Errorf("trace: %w", l.err)
	}
	return nil
}

// write writes whole lines.
func (l *Log) write(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		_, l.err = l.out.Write(p)
	}
}

// Exit writes an exit of a processor whose engine counts no instructions.
func (l *Log) Exit(cpu uint32, e vcpu.Exit) {
	if l.kinds&Exits != 0 {
		l.write(appendExit(fmt.Appendf(nil, "%d %d ", cpu, l.now()), &e))
	}
}

// User writes a step of a user interrupt of such a processor.
func (l *Log) User(cpu uint32, what vcpu.UserStep, value uint64) {
	if l.kinds&User != 0 {
		l.write(appendUser(fmt.Appendf(nil, "%d %d ", cpu, l.now()), what, value))
	}
}

// Message writes that the remapping unit sent an interrupt: the notification of a post, or a remapped one.
func (l *Log) Message(vector uint8) {
	if l.kinds&User != 0 {
		l.write(appendUser(fmt.Appendf(nil, "- %d ", l.now()), vcpu.UserMessage, uint64(vector)))
	}
}

// Unit writes what the remapping unit did: the event's text is the fields.
func (l *Log) Unit(event encoding.TextAppender) {
	if l.kinds&IOMMU == 0 {
		return
	}
	p, err := event.AppendText(fmt.Appendf(nil, "- %d iommu ", l.now()))
	if err == nil {
		l.write(append(p, '\n'))
	}
}

func appendExit(p []byte, e *vcpu.Exit) []byte {
	p = append(p, "exit "...)
	p = append(p, e.Cause.String()...)
	switch {
	case e.Size > 0:
		p = fmt.Appendf(p, " %x %d %0*x", e.Addr, e.Size, 2*e.Size, e.Value)
	case e.Cause == vcpu.Injection:
		p = fmt.Appendf(p, " %x", e.Addr)
	case e.Cause == vcpu.Other:
		p = fmt.Appendf(p, " %x", e.Value)
	}
	if e.Refused {
		p = append(p, " refused"...)
	}
	return append(p, '\n')
}

func appendUser(p []byte, what vcpu.UserStep, value uint64) []byte {
	p = append(p, "uintr "...)
	p = append(p, what...)
	switch what {
	case "UIRET", "TESTUI", "CLUI", "STUI":
	default:
		p = fmt.Appendf(p, " %x", value)
	}
	return append(p, '\n')
}
