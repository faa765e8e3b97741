package gdb

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gvmm/vcpu"
)

// Error replies.
const (
	errorArgument = "E01"
	errorFault    = "E0e" // EFAULT
	errorRefused  = "E16" // EINVAL
)

// command executes a packet and answers it. An error ends the session.
func (s *server) command(data []byte) error {
	if len(data) == 0 {
		s.replyString("")
		return nil
	}
	text := string(data[1:])
	switch data[0] {
	case '?':
		s.reply(s.stopReply())
	case 'g':
		s.readAll()
	case 'G':
		s.writeAll(text)
	case 'p':
		s.readOne(text)
	case 'P':
		s.writeOne(text)
	case 'm':
		s.readMemory(text)
	case 'M':
		s.writeMemory(text)
	case 'X':
		s.writeBinary(data[1:])
	case 'Z', 'z':
		s.point(data[0] == 'Z', text)
	case 'H':
		s.choose(text)
	case 'T':
		if _, ok := s.threadID(text); !ok {
			s.replyString(errorArgument)
			break
		}
		s.replyString("OK")
	case 'c', 'C', 's', 'S':
		s.resumeOld(data[0], text)
	case 'D':
		s.replyString("OK")
		return errDetach
	case 'k':
		return errKill
	case 'v':
		return s.verbose(text)
	case 'q', 'Q':
		s.query(string(data))
	default:
		s.replyString("")
	}
	return nil
}

// number reads a hexadecimal number.
func number(text string) (uint64, bool) {
	v, err := strconv.ParseUint(text, 16, 64)
	return v, err == nil && text[0] != '+'
}

// numbers reads two, "a,b".
func numbers(text string) (a, b uint64, ok bool) {
	left, right, found := strings.Cut(text, ",")
	a, ok1 := number(left)
	b, ok2 := number(right)
	return a, b, found && ok1 && ok2
}

// threadID reads the number of one thread; 0 is any.
func (s *server) threadID(text string) (int, bool) {
	v, ok := number(text)
	switch {
	case !ok || v > uint64(s.target.Threads()):
		return 0, false
	case v == 0:
		return s.thread, true
	}
	return int(v) - 1, true
}

// choose is H: the thread of later commands.
func (s *server) choose(text string) {
	if text == "" || text[0] != 'g' && text[0] != 'c' {
		s.replyString(errorArgument)
		return
	}
	of, id := text[0], text[1:]
	if of == 'c' && (id == "-1" || id == "0") {
		s.only = -1
		s.replyString("OK")
		return
	}
	if id == "-1" {
		id = "0"
	}
	n, ok := s.threadID(id)
	switch {
	case !ok:
		s.replyString(errorArgument)
		return
	case of == 'c':
		s.only = n
	default:
		s.thread = n
	}
	s.replyString("OK")
}

func (s *server) registers() (*vcpu.Registers, bool) {
	r := new(vcpu.Registers)
	if s.target.Registers(s.thread, r) != nil {
		s.replyString(errorRefused)
		return nil, false
	}
	return r, true
}

func (s *server) setRegisters(r *vcpu.Registers) bool {
	if s.target.SetRegisters(s.thread, r) != nil {
		s.replyString(errorRefused)
		return false
	}
	return true
}

func (s *server) readAll() {
	r, ok := s.registers()
	if !ok {
		return
	}
	image := make([]byte, imageSize)
	at := 0
	for i := range registers {
		registers[i].get(r, image[at:at+registers[i].size])
		at += registers[i].size
	}
	s.replyString(hex.EncodeToString(image))
}

func (s *server) writeAll(text string) {
	image, err := hex.DecodeString(text)
	if err != nil || len(image) != imageSize {
		s.replyString(errorArgument)
		return
	}
	r, ok := s.registers()
	if !ok {
		return
	}
	at := 0
	for i := range registers {
		registers[i].set(r, image[at:at+registers[i].size])
		at += registers[i].size
	}
	if s.setRegisters(r) {
		s.replyString("OK")
	}
}

func (s *server) readOne(text string) {
	n, ok := number(text)
	if !ok || n >= uint64(len(registers)) {
		s.replyString(errorArgument)
		return
	}
	if r, ok := s.registers(); ok {
		p := make([]byte, registers[n].size)
		registers[n].get(r, p)
		s.replyString(hex.EncodeToString(p))
	}
}

func (s *server) writeOne(text string) {
	left, right, _ := strings.Cut(text, "=")
	n, ok := number(left)
	p, err := hex.DecodeString(right)
	if !ok || err != nil || n >= uint64(len(registers)) || len(p) != registers[n].size {
		s.replyString(errorArgument)
		return
	}
	r, ok := s.registers()
	if !ok {
		return
	}
	registers[n].set(r, p)
	if s.setRegisters(r) {
		s.replyString("OK")
	}
}

func (s *server) readMemory(text string) {
	addr, n, ok := numbers(text)
	if !ok {
		s.replyString(errorArgument)
		return
	}
	p := make([]byte, min(n, MaxPacket/2))
	got := s.target.ReadMemory(s.thread, addr, p)
	if got == 0 && n > 0 {
		s.replyString(errorFault)
		return
	}
	s.replyString(hex.EncodeToString(p[:got]))
}

func (s *server) writeMemory(text string) {
	where, digits, _ := strings.Cut(text, ":")
	p, err := hex.DecodeString(digits)
	if err != nil {
		s.replyString(errorArgument)
		return
	}
	s.store(where, p)
}

func (s *server) writeBinary(data []byte) {
	where, raw, _ := bytes.Cut(data, []byte{':'})
	p, ok := unescaped(raw)
	if !ok {
		s.replyString(errorArgument)
		return
	}
	s.store(string(where), p)
}

func (s *server) store(where string, p []byte) {
	addr, n, ok := numbers(where)
	switch {
	case !ok || n != uint64(len(p)):
		s.replyString(errorArgument)
	case s.target.WriteMemory(s.thread, addr, p) != len(p):
		s.replyString(errorFault)
	default:
		s.replyString("OK")
	}
}

// maxPoints bounds breakpoints and watchpoints, each.
const maxPoints = 1024

// point is Z and z: "type,address,kind", and what only agents understand behind it.
func (s *server) point(set bool, text string) {
	if len(text) < 2 || text[1] != ',' {
		s.replyString(errorArgument)
		return
	}
	what, _, extra := strings.Cut(text[2:], ";")
	addr, size, ok := numbers(what)
	if !ok {
		s.replyString(errorArgument)
		return
	}
	soft, hard, watches := slices.Clone(s.soft), slices.Clone(s.hard), slices.Clone(s.watches)
	switch text[0] {
	case '0':
		soft = change(soft, addr, set)
	case '1':
		hard = change(hard, addr, set)
	case '2', '3', '4':
		if size == 0 || size > 1<<20 {
			s.replyString(errorArgument)
			return
		}
		watches = change(watches, vcpu.Watch{Addr: addr, Size: size, Read: text[0] != '2', Write: text[0] != '3'}, set)
	default:
		s.replyString("")
		return
	}
	breaks := slices.Concat(soft, hard)
	slices.Sort(breaks)
	breaks = slices.Compact(breaks)
	if extra && set || len(breaks) > maxPoints || len(watches) > maxPoints || s.target.SetPoints(breaks, watches) != nil {
		s.replyString(errorRefused)
		return
	}
	s.soft, s.hard, s.watches = soft, hard, watches
	s.replyString("OK")
}

// change adds v to a set, or takes it out. A debugger may say either twice.
func change[T comparable](all []T, v T, add bool) []T {
	i := slices.Index(all, v)
	switch {
	case add && i < 0:
		all = append(all, v)
	case !add && i >= 0:
		all = slices.Delete(all, i, i+1)
	}
	return all
}

// resume lets threads run; the stop is told later.
func (s *server) resume(how []Action) {
	if !slices.ContainsFunc(how, func(a Action) bool { return a != Stay }) {
		s.replyString(errorArgument)
		return
	}
	if s.target.Resume(how) != nil {
		s.replyString(errorRefused)
		return
	}
	s.running = true
}

// resumeOld is c, s, C and S: one action, with an address that is rarely given.
// Signals mean nothing to a processor.
func (s *server) resumeOld(command byte, text string) {
	step := command|0x20 == 's'
	if command < 'a' {
		_, text, _ = strings.Cut(text, ";")
	}
	thread := s.thread
	if s.only >= 0 {
		thread = s.only
	}
	if text != "" {
		addr, ok := number(text)
		r := new(vcpu.Registers)
		if !ok || s.target.Registers(thread, r) != nil {
			s.replyString(errorArgument)
			return
		}
		r.RIP = addr
		if s.target.SetRegisters(thread, r) != nil {
			s.replyString(errorRefused)
			return
		}
	}
	how := make([]Action, s.target.Threads())
	for i := range how {
		if s.only < 0 {
			how[i] = Continue
		}
	}
	how[thread] = Continue
	if step {
		how[thread] = Step
	}
	s.resume(how)
}

func (s *server) verbose(text string) error {
	name, rest, _ := strings.Cut(text, ";")
	switch name {
	case "Cont?":
		s.replyString("vCont;c;C;s;S")
	case "Cont":
		if how, ok := s.actions(rest); ok {
			s.resume(how)
		} else {
			s.replyString(errorArgument)
		}
	case "Kill":
		s.replyString("OK")
		return errKill
	default:
		s.replyString("")
	}
	return nil
}

// actions reads vCont's: each thread takes the first that names it.
func (s *server) actions(text string) ([]Action, bool) {
	how := make([]Action, s.target.Threads())
	taken := make([]bool, len(how))
	for a := range strings.SplitSeq(text, ";") {
		what, id, named := strings.Cut(a, ":")
		if what == "" {
			return nil, false
		}
		var action Action
		switch what[0] {
		case 'c', 'C':
			action = Continue
		case 's', 'S':
			action = Step
		default:
			return nil, false
		}
		first, last := 0, len(how)-1
		if named && id != "-1" {
			n, ok := s.threadID(id)
			if !ok {
				return nil, false
			}
			first, last = n, n
		}
		for i := first; i <= last; i++ {
			if !taken[i] {
				how[i], taken[i] = action, true
			}
		}
	}
	return how, true
}

// query is q and Q.
func (s *server) query(text string) {
	name, rest, _ := strings.Cut(text, ":")
	switch {
	case name == "qSupported":
		s.reasons = [2]bool{strings.Contains(rest, "swbreak+"), strings.Contains(rest, "hwbreak+")}
		s.replyString(fmt.Sprintf("PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+", MaxPacket))
	case name == "QStartNoAckMode":
		s.replyString("OK")
		s.noAck = true
	case name == "qXfer":
		s.transfer(rest)
	case name == "qAttached":
		s.replyString("1") // so that a debugger that quits lets the guest go on
	case name == "qC":
		s.replyString(fmt.Sprintf("QC%x", s.thread+1))
	case name == "qfThreadInfo":
		var ids []string
		for i := range s.target.Threads() {
			ids = append(ids, strconv.FormatInt(int64(i)+1, 16))
		}
		s.replyString("m" + strings.Join(ids, ","))
	case name == "qsThreadInfo":
		s.replyString("l")
	case name == "qSymbol":
		s.replyString("OK")
	case strings.HasPrefix(text, "qThreadExtraInfo,"):
		n, ok := s.threadID(text[len("qThreadExtraInfo,"):])
		if !ok {
			s.replyString(errorArgument)
			return
		}
		s.replyString(hex.EncodeToString([]byte(s.target.Describe(n))))
	case strings.HasPrefix(text, "qRcmd,"):
		line, err := hex.DecodeString(text[len("qRcmd,"):])
		if err != nil {
			s.replyString(errorArgument)
			return
		}
		said := []byte(s.target.Monitor(s.thread, string(line)))
		if said = said[:min(len(said), MaxPacket/2)]; len(said) == 0 {
			s.replyString("OK")
			return
		}
		s.replyString(hex.EncodeToString(said))
	default:
		s.replyString("")
	}
}

// transfer is qXfer:features:read:target.xml:offset,length.
func (s *server) transfer(text string) {
	where, ok := strings.CutPrefix(text, "features:read:")
	if !ok {
		s.replyString("")
		return
	}
	annex, span, _ := strings.Cut(where, ":")
	off, n, ok := numbers(span)
	if !ok {
		s.replyString(errorArgument)
		return
	}
	if annex != "target.xml" {
		s.replyString("E00")
		return
	}
	from := min(off, uint64(len(description)))
	to := from + min(n, MaxPacket/2, uint64(len(description))-from)
	more := byte('m')
	if to == uint64(len(description)) {
		more = 'l'
	}
	s.reply(escaped([]byte{more}, []byte(description[from:to])))
}
