package bench

import "strings"

// IPC compares how messages go between threads and processes.
var IPC = &Experiment{
	Name: "ipc", Program: "ipc", Title: "messages between two parties on a CPU each",
	Labels:  []string{"way", "between", "receiver", "payload", "pattern"},
	Control: "eventfd",
	Values: []Value{
		{Name: "per_second", Header: "a second", Unit: PerSecond},
		{Name: "latency_p50_ns", Header: "p50", Unit: Nanoseconds},
		{Name: "latency_p99_ns", Header: "p99", Unit: Nanoseconds},
		{Name: "latency_min_ns", Header: "minimum", Unit: Nanoseconds},
		{Name: "latency_max_ns", Header: "maximum", Unit: Nanoseconds},
		{Name: "rung", Header: "bells", Unit: Count, Optional: true},
		{Name: "messages", Header: "messages", Unit: Count, Hidden: true},
	},
	Claims: ipcClaims(),
	Picture: Picture{Across: []string{"between", "receiver"}, Value: "per_second", Axis: "a second", Panels: []Panel{
		{Title: "ping-pong, 1 B", Where: map[string]string{"pattern": "ping-pong", "payload": "1 B"}},
		{Title: "ping-pong, 4096 B", Where: map[string]string{"pattern": "ping-pong", "payload": "4096 B"}},
		{Title: "one-way, 1 B", Where: map[string]string{"pattern": "one-way", "payload": "1 B"}},
		{Title: "one-way, 4096 B", Where: map[string]string{"pattern": "one-way", "payload": "4096 B"}},
	}},
	Remark: `a second: of ping-pong, pairs of a message and its answer; of one-way, messages. Latency: from before a message is
written to after it is read. Spinning receivers run all the time, blocking ones sleep in the kernel. futex, spinning, is
a word in shared memory, with no kernel and no interrupt. Ratio: of "a second", to eventfd under the same condition.`,
}

// ipcClaims hold the user interrupt between processes against what others measured on real hardware. There it ran beside
// a program that computes, and the descriptors' receivers slept: that comparison is made, and the fair ones beside it.
func ipcClaims() (claims []Claim) {
	const cited = "real hardware: 377670 a second against 26630 and 9436"
	at := func(way, receiver string) []string { return []string{way, "processes", receiver, "1 B", "ping-pong"} }
	for _, bar := range []struct {
		way     string
		atLeast float64
	}{{"eventfd", 12}, {"pipe", 25}} {
		for _, receivers := range [][2]string{{"spinning", "blocking"}, {"spinning", "spinning"}, {"blocking", "blocking"}} {
			claims = append(claims, Claim{
				Text:  "uintr, " + receivers[0] + ", to " + bar.way + ", " + receivers[1] + ", between processes, times",
				Value: "per_second", Of: at("uintr", receivers[0]), To: at(bar.way, receivers[1]), AtLeast: bar.atLeast, Citation: cited,
			})
		}
	}
	return append(claims, Claim{
		Text: "uintr, spinning, between processes, a second", Value: "per_second", Of: at("uintr", "spinning"), AtLeast: 34392,
		Citation: "an emulated peer",
	})
}

// Wake compares who handles an event: a thread of its own, or the process that waits for it.
var Wake = &Experiment{
	Name: "wake", Program: "wake", Title: "from an event to its handler, and to who waits for it",
	Labels: []string{"way"}, Control: "threaded",
	Values: []Value{
		{Name: "handler_p50_ns", Header: "handler p50", Unit: Nanoseconds},
		{Name: "handler_p99_ns", Header: "p99", Unit: Nanoseconds},
		{Name: "handler_min_ns", Header: "minimum", Unit: Nanoseconds},
		{Name: "handler_max_ns", Header: "maximum", Unit: Nanoseconds},
		{Name: "waiter_p50_ns", Header: "waiter p50", Unit: Nanoseconds},
		{Name: "waiter_p99_ns", Header: "p99", Unit: Nanoseconds},
		{Name: "waiter_min_ns", Header: "minimum", Unit: Nanoseconds},
		{Name: "waiter_max_ns", Header: "maximum", Unit: Nanoseconds},
		{Name: "samples", Header: "samples", Unit: Count, Hidden: true},
	},
	Claims: []Claim{
		wakeClaim("in context", "handler_p50_ns"), wakeClaim("in context", "waiter_p50_ns"),
		wakeClaim("direct", "handler_p50_ns"), wakeClaim("direct", "waiter_p50_ns"),
	},
	Picture: Picture{Value: "waiter_p50_ns", Axis: "ns", Across: []string{"way"}, Panels: []Panel{
		{Title: "to the handler, p50", Value: "handler_p50_ns"}, {Title: "to the waiting thread, p50", Value: "waiter_p50_ns"},
		{Title: "to the handler, p99", Value: "handler_p99_ns"}, {Title: "to the waiting thread, p99", Value: "waiter_p99_ns"},
	}},
	Remark: `threaded: a handler thread is woken, and wakes who waits. poll: who waits is woken, and handles. in context: who waits
sleeps in uintr_wait() and handles by its own user interrupt. direct: it computes, and is interrupted. handler: from the
event to the handler's first instruction; waiter: to when the waiting thread goes on. Ratio: of the handler's p50.`,
}

// wakeClaim: 82 % less than threaded.
func wakeClaim(way, value string) Claim {
	who, _, _ := strings.Cut(value, "_")
	return Claim{
		Text: way + " to threaded, " + who + ", p50, times", Value: value, Of: []string{way}, To: []string{"threaded"}, AtLeast: 1 / (1 - 0.82),
		Citation: "82 % less than a threaded handler",
	}
}

// Flip compares remapping a buffer's pages with copying it.
var Flip = &Experiment{
	Name: "flip", Program: "flip", Title: "a buffer handed over, by size",
	Labels: []string{"way", "bytes"}, Control: "copy",
	Values: []Value{
		{Name: "time_p50_ns", Header: "p50", Unit: Nanoseconds},
		{Name: "time_p99_ns", Header: "p99", Unit: Nanoseconds},
		{Name: "time_min_ns", Header: "minimum", Unit: Nanoseconds},
		{Name: "time_max_ns", Header: "maximum", Unit: Nanoseconds},
		{Name: "samples", Header: "samples", Unit: Count, Hidden: true},
	},
	Crossover: "bytes",
	Picture:   Picture{Value: "time_p50_ns", Axis: "ns", Across: []string{"bytes"}, Numeric: true, Panels: []Panel{{Title: "a buffer handed over, p50"}}},
	Remark: `remap: mremap moves the pages, this CPU's translations of them go. shoot-down: the same while a thread of the process runs
on another CPU, whose translations go too, by an interrupt. The receiver then reads a word of each page. Ratio: of p50.`,
}

// Rings compares requests by shared rings in batches with a call and an interrupt for each.
var Rings = &Experiment{
	Name: "rings", Program: "rings", Title: "requests to a server on another CPU",
	Labels: []string{"way", "batch"}, Control: "call each",
	Values: []Value{
		{Name: "per_second", Header: "a second", Unit: PerSecond},
		{Name: "latency_p50_ns", Header: "p50", Unit: Nanoseconds},
		{Name: "latency_p99_ns", Header: "p99", Unit: Nanoseconds},
		{Name: "latency_min_ns", Header: "minimum", Unit: Nanoseconds},
		{Name: "latency_max_ns", Header: "maximum", Unit: Nanoseconds},
		{Name: "bells", Header: "bells each", Unit: Each},
		{Name: "switches", Header: "switches each", Unit: Each},
		{Name: "requests", Header: "requests", Unit: Count, Hidden: true},
	},
	Claims: []Claim{
		{Text: "rings, polled, to a call each, batches of 1, p50, times", Value: "latency_p50_ns", Of: []string{"rings, polled", "1"},
			To: []string{"call each", "1"}, AtLeast: 7.5, Citation: ringsCitation},
		{Text: "rings, batches of 1, to a call each, p50, times", Value: "latency_p50_ns", Of: []string{"rings", "1"},
			To: []string{"call each", "1"}, AtLeast: 7.5, Citation: ringsCitation},
		{Text: "rings, batches of 32, to a call each, switches a request, times", Value: "switches", Of: []string{"rings", "32"},
			To: []string{"call each", "1"}, AtLeast: 4, Citation: ringsCitation},
		{Text: "rings, batches of 128, to a call each, requests a second, times", Value: "per_second", Of: []string{"rings", "128"},
			To: []string{"call each", "1"}, AtLeast: 15, Citation: ringsCitation},
	},
	Picture: Picture{Value: "per_second", Across: []string{"batch"}, Numeric: true, Panels: []Panel{
		{Title: "requests a second"}, {Title: "latency, p50, ns", Value: "latency_p50_ns"},
	}},
	Remark: `call each: a write to an eventfd for each request, a queued signal for each completion, both sides sleep in the kernel. rings:
a batch is published at once, with a user interrupt if the other side sleeps. rings, polled: nobody sleeps. Bells: calls,
signals and user interrupts. Ratio: of "a second", at the same batch; the claims compare with a call each and no batch.`,
}

const ringsCitation = "one interrupt and one system call a request"

// Storm compares how a receiver with work of its own hears of very many events.
var Storm = &Experiment{
	Name: "storm", Program: "storm", Title: "a storm of events, and a receiver with work of its own",
	Labels: []string{"way"}, Control: "signal",
	Values: []Value{
		{Name: "per_second", Header: "items a second", Unit: PerSecond},
		{Name: "work", Header: "work a second", Unit: PerSecond},
		{Name: "interrupts", Header: "interrupts each", Unit: Each},
		{Name: "spurious", Header: "spurious each", Unit: Each},
		{Name: "latency_p50_ns", Header: "p50", Unit: Nanoseconds},
		{Name: "latency_p99_ns", Header: "p99", Unit: Nanoseconds},
		{Name: "latency_min_ns", Header: "minimum", Unit: Nanoseconds},
		{Name: "latency_max_ns", Header: "maximum", Unit: Nanoseconds},
		{Name: "items", Header: "items", Unit: Count, Hidden: true},
	},
	Picture: Picture{Value: "per_second", Across: []string{"way"}, Panels: []Panel{
		{Title: "items a second"}, {Title: "pieces of work a second", Value: "work"},
		{Title: "interrupts an item", Value: "interrupts"}, {Title: "latency, p99, ns", Value: "latency_p99_ns"},
	}},
	Remark: `signal, edge: one for each item, by the kernel or as a user interrupt. level: one while something is there. napi: one, then
none until the receiver, between two pieces of its work, has found nothing left. coalesced: the same, from 16 items on or
after 50 us. Spurious: interrupts that found nothing. A lost item is an error. Ratio: of items a second.`,
}

// AIO compares how a program that computes reads from a disk meanwhile.
var AIO = &Experiment{
	Name: "aio", Program: "aio", Title: "reads of 4 KiB, 4 MiB and 40 MiB mixed with work",
	Labels: []string{"way"}, Control: "io_uring",
	Values: aioValues(),
	Claims: []Claim{
		{Text: "io_uring+uintr to io_uring, total, times", Value: "total_ns", Of: []string{"io_uring+uintr"}, To: []string{"io_uring"}, AtLeast: 1 / 1.015,
			Citation: "within 1.5 %"},
		{Text: "io_uring+uintr to sync, sum of the latencies of 4 KiB, times", Value: "small_sum_ns", Of: []string{"io_uring+uintr"}, To: []string{"sync"},
			AtLeast: 1 / 1.4, Citation: "at most 1.4 times as long"},
	},
	Picture: Picture{Value: "total_ns", Axis: "ns", Across: []string{"way"}, Panels: []Panel{
		{Title: "total"}, {Title: "4 KiB, p50", Value: "small_p50_ns"},
		{Title: "4 MiB, p50", Value: "medium_p50_ns"}, {Title: "40 MiB, p50", Value: "large_p50_ns"},
	}},
	Remark: `sync: pread, then work. io_uring: the kernel's thread submits, on another CPU; the program looks for completions between its
tasks. io_uring+uintr: each completion is a user interrupt, whose handler takes it. Latency: from the submission to when
the program has the completion; sum: of all reads of 4 KiB. Ratio: of the total.`,
}

func aioValues() []Value {
	values := []Value{{Name: "total_ns", Header: "total", Unit: Nanoseconds}, {Name: "small_sum_ns", Header: "4 KiB sum", Unit: Nanoseconds}}
	for _, c := range [][2]string{{"small", "4 KiB"}, {"medium", "4 MiB"}, {"large", "40 MiB"}} {
		for _, q := range [][2]string{{"p50", " p50"}, {"min", " minimum"}, {"max", " maximum"}, {"p99", " p99"}} {
			values = append(values, Value{
				Name: c[0] + "_" + q[0] + "_ns", Header: c[1] + q[1], Unit: Nanoseconds, Optional: c[0] != "small", Hidden: q[0] == "p99",
			})
		}
		if c[0] != "small" {
			values = append(values, Value{Name: c[0] + "_sum_ns", Header: c[1] + " sum", Unit: Nanoseconds, Optional: true, Hidden: true})
		}
	}
	return values
}

// Experiments are those that run in a Linux guest.
var Experiments = []*Experiment{IPC, Wake, Flip, Rings, Storm, AIO}
