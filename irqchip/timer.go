package irqchip

import "math/bits"

// never is the deadline of a timer that does not run.
const never = ^uint64(0)

// timer is the state of a local APIC's timer, SDM 3 §10.5.4. Times are of the bus clock, which is the TSC scaled, so that periods do not drift.
type timer struct {
	initial uint32
	divide  uint32 // the register
	next    uint64 // when the count reaches zero; of use while running
	running bool
	tsc     uint64 // IA32_TSC_DEADLINE, 0: not armed
}

// divisor decodes the divide configuration register: bits 3, 1 and 0.
func (t *timer) divisor() uint64 {
	code := t.divide>>1&4 | t.divide&3
	return 1 << ((code + 1) & 7)
}

func (t *timer) period() uint64 { return uint64(t.initial) * t.divisor() }

// count is the current count register at bus time now.
func (t *timer) count(now uint64, periodic bool) uint32 {
	if !t.running {
		return 0
	}
	left := t.next - now
	if now >= t.next {
		if !periodic {
			return 0
		}
		left = t.period() - (now-t.next)%t.period()
	}
	d := t.divisor()
	return uint32(min((left+d-1)/d, uint64(t.initial)))
}

// Deadline is the TSC at which Tick has something to do; ^0 is never. One atomic load.
func (l *Local) Deadline() uint64 { return l.deadline.Load() }

// Tick fires the timer if it is due at the TSC now. Periods that were missed fire once.
func (l *Local) Tick(now uint64) {
	d := l.deadline.Load()
	if now < d || d == never {
		return
	}
	t := &l.timer
	switch l.timerMode() {
	case timerDeadline:
		t.tsc = 0
	case timerPeriodic:
		if bus := l.soft.busClock(now); bus >= t.next {
			t.next = addTime(bus, t.period()-(bus-t.next)%t.period())
		}
	default:
		t.running = false
	}
	l.publishDeadline()
	l.raise(lvtTimer)
}

func (l *Local) timerMode() uint32 { return l.lvt[lvtTimer].Load() & lvtMode }

// settleTimer fires what is due before a register of the timer changes its meaning.
func (l *Local) settleTimer() { l.Tick(l.soft.cfg.Now()) }

func (l *Local) busNow() uint64 { return l.soft.busClock(l.soft.cfg.Now()) }

// publishDeadline makes Deadline follow the timer.
func (l *Local) publishDeadline() {
	d := uint64(never)
	switch t := &l.timer; {
	case l.timerMode() == timerDeadline:
		if t.tsc != 0 {
			d = t.tsc
		}
	case t.running:
		d = l.soft.tsc(t.next)
	}
	l.deadline.Store(d)
}

// writeTimerLVT stores the timer's entry. Coming to or from the TSC-deadline mode disarms the timer, SDM 3 §10.5.4.1.
func (l *Local) writeTimerLVT(v uint32) {
	l.settleTimer()
	was, now := l.timerMode(), v&lvtMode
	if was != now && (was >= timerDeadline || now >= timerDeadline) {
		l.timer = timer{divide: l.timer.divide}
	}
	l.lvt[lvtTimer].Store(v)
	l.publishDeadline()
}

// writeInitial starts the count, or stops it with 0. In TSC-deadline mode it does nothing.
func (l *Local) writeInitial(v uint32) {
	if l.timerMode() >= timerDeadline {
		return
	}
	l.settleTimer()
	t := &l.timer
	t.initial = v
	t.running = v != 0
	t.next = addTime(l.busNow(), t.period())
	l.publishDeadline()
}

func (l *Local) readCurrent() uint32 {
	return l.timer.count(l.busNow(), l.timerMode() == timerPeriodic)
}

// writeDivide changes the divisor; what is left of the count goes on with the new one.
func (l *Local) writeDivide(v uint32) {
	l.settleTimer()
	t := &l.timer
	now := l.busNow()
	left := uint64(t.count(now, l.timerMode() == timerPeriodic))
	t.divide = v & 0xB
	t.next = addTime(now, left*t.divisor())
	l.publishDeadline()
}

func (l *Local) readTSCDeadline() uint64 {
	l.settleTimer()
	return l.timer.tsc
}

// writeTSCDeadline arms the timer, or disarms it with 0. In other modes it does nothing.
func (l *Local) writeTSCDeadline(v uint64) {
	if l.timerMode() != timerDeadline {
		return
	}
	l.settleTimer()
	l.timer.tsc = v
	l.publishDeadline()
}

// busClock is the bus clock at a TSC, and tsc the first TSC at which the bus clock is at least bus.
func (s *Soft) busClock(tsc uint64) uint64 {
	v, _ := scale(tsc, s.cfg.BusHz, s.cfg.Hz)
	return v
}

func (s *Soft) tsc(bus uint64) uint64 {
	v, rest := scale(bus, s.cfg.Hz, s.cfg.BusHz)
	if rest {
		v = addTime(v, 1)
	}
	return v
}

// scale is v*num/den, at most ^0, and whether there was a remainder.
func scale(v, num, den uint64) (uint64, bool) {
	if num == den {
		return v, false
	}
	hi, lo := bits.Mul64(v, num)
	if hi >= den {
		return never, false
	}
	q, r := bits.Div64(hi, lo, den)
	return q, r != 0
}

// addTime is a+b, at most ^0.
func addTime(a, b uint64) uint64 {
	if a > never-b {
		return never
	}
	return a + b
}
