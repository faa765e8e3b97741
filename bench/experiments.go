package bench

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

// Experiments are those that run in a Linux guest.
var Experiments = []*Experiment{IPC}
