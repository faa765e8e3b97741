package platform

import "time"

// Registers of the clock (MC146818A, "Address Map"). The alarm's lie between the time's.
const (
	regSecond      = 0x00
	regSecondAlarm = 0x01
	regMinute      = 0x02
	regMinuteAlarm = 0x03
	regHour        = 0x04
	regHourAlarm   = 0x05
	regWeekday     = 0x06
	regDay         = 0x07
	regMonth       = 0x08
	regYear        = 0x09
	regA           = 0x0a
	regB           = 0x0b
	regC           = 0x0c
	regD           = 0x0d
	regCentury     = 0x32 // where the FADT says

	aUpdating = 1 << 7
	aDivider  = 0x60 // both set: the divider is held reset
	aRate     = 0x0f

	bSet      = 1 << 7
	bPeriodic = 1 << 6
	bAlarm    = 1 << 5
	bUpdate   = 1 << 4
	bBinary   = 1 << 2
	b24Hour   = 1 << 1

	// Register C; the three reasons stand where register B enables them.
	cRequest = 1 << 7
	cReasons = bPeriodic | bAlarm | bUpdate

	dValid = 1 << 7

	hourPM     = 1 << 7
	anyTime    = 0xc0 // an alarm byte that always matches
	daySeconds = 24 * 3600
)

const (
	nanos = 1_000_000_000
	// updateNanos is between the announcement of an update and the update.
	updateNanos = 244_000
	// leastNanos keeps a wall clock that stands still from asking for ticks without end.
	leastNanos = 10_000
)

// timeOfDay is seconds since 1970 and nanoseconds of the second; also a difference of two.
type timeOfDay struct{ sec, nsec int64 }

func (t timeOfDay) add(o timeOfDay) timeOfDay {
	r := timeOfDay{t.sec + o.sec, t.nsec + o.nsec}
	if r.nsec >= nanos {
		r.sec, r.nsec = r.sec+1, r.nsec-nanos
	}
	return r
}

func (t timeOfDay) sub(o timeOfDay) timeOfDay {
	r := timeOfDay{t.sec - o.sec, t.nsec - o.nsec}
	if r.nsec < 0 {
		r.sec, r.nsec = r.sec-1, r.nsec+nanos
	}
	return r
}

func (d *CMOS) wallTime() timeOfDay {
	w := d.wall()
	return timeOfDay{w.Unix(), int64(w.Nanosecond())}
}

// time is the running clock's.
func (d *CMOS) time() timeOfDay { return d.wallTime().add(d.ahead) }

// stopped reports whether the time stands still, in the time's bytes of ram.
func (d *CMOS) stopped() bool {
	return d.ram[regB]&bSet != 0 || d.held()
}

func (d *CMOS) held() bool { return d.ram[regA]&aDivider == aDivider }

func isTime(reg byte) bool {
	switch reg {
	case regSecond, regMinute, regHour, regWeekday, regDay, regMonth, regYear, regCentury:
		return true
	}
	return false
}

// encode is how the registers show v.
func (d *CMOS) encode(v int) byte {
	if d.ram[regB]&bBinary != 0 {
		return byte(v)
	}
	return byte(v/10<<4 | v%10)
}

func (d *CMOS) decode(v byte) int {
	if d.ram[regB]&bBinary != 0 {
		return int(v)
	}
	return int(v>>4)*10 + int(v&15)
}

func (d *CMOS) encodeHour(h int) byte {
	if d.ram[regB]&b24Hour != 0 {
		return d.encode(h)
	}
	v := d.encode((h+11)%12 + 1)
	if h >= 12 {
		v |= hourPM
	}
	return v
}

func (d *CMOS) decodeHour(v byte) int {
	if d.ram[regB]&b24Hour != 0 {
		return d.decode(v)
	}
	h := d.decode(v&^hourPM) % 12
	if v&hourPM != 0 {
		h += 12
	}
	return h
}

// field is register reg of the time t.
func (d *CMOS) field(reg byte, t time.Time) byte {
	switch reg {
	case regSecond:
		return d.encode(t.Second())
	case regMinute:
		return d.encode(t.Minute())
	case regHour:
		return d.encodeHour(t.Hour())
	case regWeekday:
		return d.encode(int(t.Weekday()) + 1)
	case regDay:
		return d.encode(t.Day())
	case regMonth:
		return d.encode(int(t.Month()))
	}
	year := max(t.Year(), 0)
	if reg == regCentury {
		return d.encode(year / 100 % 100)
	}
	return d.encode(year % 100)
}

func (d *CMOS) date(t timeOfDay) time.Time { return time.Unix(t.sec, t.nsec).In(d.zone) }

// stop puts the time into ram.
func (d *CMOS) stop() {
	t := d.date(d.time())
	for _, reg := range []byte{regSecond, regMinute, regHour, regWeekday, regDay, regMonth, regYear, regCentury} {
		d.ram[reg] = d.field(reg, t)
	}
}

// start lets the time run on from what ram says, at nsec within the second.
func (d *CMOS) start(nsec int64) {
	t := time.Date(d.decode(d.ram[regCentury])*100+d.decode(d.ram[regYear]), time.Month(d.decode(d.ram[regMonth])),
		d.decode(d.ram[regDay]), d.decodeHour(d.ram[regHour]), d.decode(d.ram[regMinute]), d.decode(d.ram[regSecond]), 0, d.zone)
	d.ahead = timeOfDay{t.Unix(), nsec}.sub(d.wallTime())
	d.second = t.Unix()
}

func (d *CMOS) read(reg byte) byte {
	switch {
	case isTime(reg) && !d.stopped():
		return d.field(reg, d.date(d.time()))
	case reg == regA && !d.stopped() && d.time().nsec >= nanos-updateNanos:
		return d.ram[regA] | aUpdating
	case reg == regC:
		v := d.ram[regC]
		d.ram[regC] = 0
		d.irq.show(false)
		return v
	}
	return d.ram[reg]
}

func (d *CMOS) write(reg, v byte) {
	switch {
	case isTime(reg):
		if d.stopped() {
			d.ram[reg] = v
			return
		}
		nsec := d.time().nsec
		d.stop()
		d.ram[reg] = v
		d.start(nsec)
	case reg == regA:
		d.change(func() { d.ram[regA] = v &^ aUpdating })
		d.beat = d.beatsAt(d.now)
	case reg == regB:
		if v&bSet != 0 {
			v &^= bUpdate
		}
		d.change(func() { d.ram[regB] = v })
		d.raise(0)
	case reg == regC, reg == regD:
	default:
		d.ram[reg] = v
	}
}

// change makes a change that may stop or start the time. A divider let go of updates
// half a second later; otherwise the second goes on where it is.
func (d *CMOS) change(how func()) {
	was, held, nsec := d.stopped(), d.held(), d.time().nsec
	if !was {
		d.stop()
	}
	how()
	if !d.stopped() {
		switch {
		case held:
			d.start(nanos / 2)
		case was:
			d.start(nsec)
		}
	}
}
