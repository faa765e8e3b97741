package platform

// period is the periodic interrupt's, in oscillator beats; 0 is none.
func (d *CMOS) period() uint64 {
	switch r := d.ram[regA] & aRate; {
	case r == 0 || d.held():
		return 0
	case r < 3:
		return 1 << (r + 6)
	default:
		return 1 << (r - 1)
	}
}

// beatsAt is how many periods have ended at now.
func (d *CMOS) beatsAt(now uint64) uint64 {
	if p := d.period(); p != 0 {
		return d.beats.ticks(now) / p
	}
	return 0
}

// raise sets reasons in register C and the line to what follows.
func (d *CMOS) raise(reasons byte) {
	v := d.ram[regC]&cReasons | reasons
	if v&d.ram[regB]&cReasons != 0 {
		v |= cRequest
	}
	d.ram[regC] = v
	d.irq.show(v&cRequest != 0)
}

// sync tells what happened up to now.
func (d *CMOS) sync(now uint64) {
	d.now = max(d.now, now)
	var reasons byte
	if b := d.beatsAt(d.now); b != d.beat {
		d.beat = b
		reasons |= bPeriodic
	}
	if !d.stopped() {
		s := d.time().sec
		if s > d.second {
			reasons |= bUpdate
			if after, ok := d.untilAlarm(d.second); ok && after <= s-d.second {
				reasons |= bAlarm
			}
		}
		d.second = s
	}
	if reasons != 0 {
		d.raise(reasons)
	}
}

// untilAlarm is how many seconds after s the alarm is, 1 to a day; false where it never is.
func (d *CMOS) untilAlarm(s int64) (int64, bool) {
	hour, minute, second := d.ram[regHourAlarm], d.ram[regMinuteAlarm], d.ram[regSecondAlarm]
	match := func(alarm byte, want, v int) bool { return alarm&anyTime == anyTime || want == v }
	h, m, sec := d.decodeHour(hour), d.decode(minute), d.decode(second)
	if hour&anyTime != anyTime && h > 23 || minute&anyTime != anyTime && m > 59 || second&anyTime != anyTime && sec > 59 {
		return 0, false
	}
	t := d.date(timeOfDay{sec: s})
	from := t.Hour()*3600 + t.Minute()*60 + t.Second() + 1
	// Each step skips what cannot match: some two hundred steps in all.
	for at := from; at < from+daySeconds; {
		switch {
		case !match(hour, h, at/3600%24):
			at += 3600 - at%3600
		case !match(minute, m, at/60%60):
			at += 60 - at%60
		case !match(second, sec, at%60):
			at++
		default:
			return int64(at - from + 1), true
		}
	}
	return 0, false
}

// arm finds the next interrupt. One that is asked for already hides all others.
func (d *CMOS) arm() {
	at := uint64(Never)
	b, c := d.ram[regB], d.ram[regC]
	if p := d.period(); c&cRequest == 0 {
		if b&bPeriodic != 0 && p != 0 {
			at = d.beats.at((d.beat + 1) * p)
		}
		if !d.stopped() && b&(bUpdate|bAlarm) != 0 {
			at = min(at, d.nextSecond(b))
		}
	}
	d.deadline.Store(at)
}

// nextSecond is when the update or the alarm comes that register B, being b, asks for.
func (d *CMOS) nextSecond(b byte) uint64 {
	t, after := d.time(), int64(1)
	if b&bUpdate == 0 {
		var ok bool
		if after, ok = d.untilAlarm(t.sec); !ok {
			return Never
		}
	}
	wait := uint64(max(after*nanos-t.nsec, leastNanos))
	ticks := rate{nanos, d.clock.hertz()}.at(wait)
	return d.now + min(ticks, Never-d.now)
}
