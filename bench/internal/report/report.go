// Package report is what a run measured, and how it is printed.
package report

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"wsgateway/bench/internal/hist"
	"wsgateway/bench/internal/proc"
)

// Schema is the version of the JSON form. Fields may be added under the same
// version; none changes its meaning.
const Schema = "wsgateway-bench/1"

// Report is one run. Its JSON form is the output of -json: durations are in
// seconds, latencies in microseconds, sizes in bytes, each named so.
type Report struct {
	Schema      string    `json:"schema"`
	Date        time.Time `json:"date"`
	Machine     Machine   `json:"machine"`
	Interrupted bool      `json:"interrupted,omitempty"`
	Seconds     float64   `json:"seconds"` // the whole run
	Results     []*Result `json:"results"` // one per scenario, in order
}

// Machine are the facts without which the numbers mean little.
type Machine struct {
	Cores       int      `json:"cores"`
	CPU         string   `json:"cpu,omitempty"`
	Memory      int64    `json:"memory_bytes"`
	Kernel      string   `json:"kernel"`
	Go          string   `json:"go"`
	Descriptors int      `json:"descriptors_per_process"` // hard limit
	Command     []string `json:"command"`
	Commit      string   `json:"commit,omitempty"`
}

// Result is one scenario. A pointer that is nil, and a number that is left
// out, was not measured.
type Result struct {
	Scenario string `json:"scenario"`
	Server   string `json:"server"` // gateway, plain, c, or the URL of a foreign one
	Asked    int    `json:"connections_asked"`
	Held     int64  `json:"connections_held"` // open at once

	ConnectSeconds float64       `json:"connect_seconds,omitempty"`
	ConnectRate    float64       `json:"connects_per_second,omitempty"`
	Handshake      *hist.Summary `json:"handshake,omitempty"` // from dial to the 101
	RoundTrip      *hist.Summary `json:"round_trip,omitempty"`
	Bystander      *hist.Summary `json:"bystander_round_trip,omitempty"`
	Fanout         *hist.Summary `json:"publish_to_receive,omitempty"`

	Size      int     `json:"message_bytes,omitempty"`
	Messages  int64   `json:"messages"` // echoes that were right, or broadcast deliveries
	Seconds   float64 `json:"measured_seconds,omitempty"`
	PerSecond float64 `json:"messages_per_second,omitempty"`
	Pings     int64   `json:"pings_answered,omitempty"`

	Servers       int     `json:"server_processes,omitempty"`
	RSSEmpty      int64   `json:"server_rss_empty_bytes,omitempty"`
	RSSLoaded     int64   `json:"server_rss_loaded_bytes,omitempty"`
	OwnPerConn    float64 `json:"server_bytes_per_connection,omitempty"`
	KernelPerConn float64 `json:"kernel_bytes_per_connection,omitempty"` // both ends when the client is on this machine
	ServerConnect float64 `json:"server_cpu_us_per_connect,omitempty"`
	ServerCPU     float64 `json:"server_cpu_us_per_message,omitempty"`
	ClientCPU     float64 `json:"client_cpu_us_per_message,omitempty"`
	Clients       int     `json:"client_processes"`
	Goroutines    []int   `json:"server_goroutines,omitempty"` // of each process

	Broadcast *Broadcast `json:"broadcast,omitempty"`
	Churn     *Churn     `json:"churn,omitempty"`
	Storm     *Storm     `json:"storm,omitempty"`
	Slow      *Slow      `json:"slow,omitempty"`
	Stall     *Stall     `json:"stall,omitempty"`

	Closes  map[string]int64 `json:"close_answers,omitempty"` // of the server to our Close frames, by code
	Errors  map[string]int64 `json:"errors"`                  // by kind; empty when all was right
	Samples []string         `json:"error_samples,omitempty"`
}

// Broadcast is the outcome of one publisher per server process.
type Broadcast struct {
	Published  int64 `json:"published"`
	Deliveries int64 `json:"deliveries"`
	Missing    int64 `json:"missing"`
	Duplicate  int64 `json:"duplicate"`
	OutOfOrder int64 `json:"out_of_order"`
}

// Churn is the outcome of short-lived connections.
type Churn struct {
	Cycles    int64   `json:"cycles"`
	PerSecond float64 `json:"cycles_per_second"`
	Clean     int64   `json:"ended_by_close"`
	Fin       int64   `json:"ended_by_fin"`
	Rst       int64   `json:"ended_by_rst"`
	Cross     int64   `json:"cross_deliveries"`

	Before *Level `json:"server_before,omitempty"` // at rest, after a warm-up
	After  *Level `json:"server_after,omitempty"`  // at rest again
}

// Level is what the servers hold at rest, summed over their processes. What
// could not be read is left out.
type Level struct {
	Goroutines  int   `json:"goroutines,omitempty"`
	Descriptors int   `json:"open_descriptors,omitempty"`
	RSS         int64 `json:"rss_bytes,omitempty"`
	Heap        int64 `json:"heap_inuse_bytes,omitempty"` // garbage not yet collected included
}

// Add adds o.
func (l *Level) Add(o Level) {
	l.Goroutines += o.Goroutines
	l.Descriptors += o.Descriptors
	l.RSS += o.RSS
	l.Heap += o.Heap
}

// Storm is the outcome of cutting and reconnecting everything at once.
type Storm struct {
	BackSeconds float64          `json:"back_seconds"`
	Back        int64            `json:"back"`
	Retries     int64            `json:"retries"`
	Refused     map[string]int64 `json:"refused,omitempty"` // by status
}

// Slow is the outcome of readers that stop.
type Slow struct {
	Stopped  int64            `json:"stopped"` // readers that stopped
	Closed   int64            `json:"closed"`  // of those, ended by the server
	Codes    map[string]int64 `json:"closed_by_code,omitempty"`
	Survived int64            `json:"survived"`
	Skipped  int64            `json:"skipped"` // messages the survivors never got

	Memory *SlowMemory `json:"memory,omitempty"`
	Queues *SlowQueues `json:"queues,omitempty"`
}

// SlowMemory is the resident memory of the servers above its level with all
// connected and nothing published. It is negative after memory was returned.
type SlowMemory struct {
	Peak           int64   `json:"server_rss_peak_above_connected_bytes"`
	After          int64   `json:"server_rss_after_above_connected_bytes"` // all connections have ended
	PeakPerReader  float64 `json:"server_bytes_per_stopped_reader_peak"`
	AfterPerReader float64 `json:"server_bytes_per_stopped_reader_after"`
}

// SlowQueues is what a gateway tells of itself, summed over its processes.
type SlowQueues struct {
	Peak      int64 `json:"outbound_queue_peak_bytes"` // of readings some 50 ms apart
	Limit     int64 `json:"outbound_queue_limit_bytes"`
	Consumers int64 `json:"slow_consumers"` // closed for not reading
}

// Stall compares the round trips of good clients without and with clients that
// have stopped in the middle of something. Percentiles and ratios are medians
// over the rounds, of which each has its own baseline.
type Stall struct {
	Asked   int64            `json:"stalled_asked"`
	AtStart int64            `json:"stalled_held_at_start"` // of the measurement; the least of all rounds
	AtEnd   int64            `json:"stalled_held_at_end"`   // likewise
	Renewed int64            `json:"stalled_renewed"`       // opened anew after the server had ended them in the handshake
	Closed  map[string]int64 `json:"stalled_closed_by_server,omitempty"`

	P50Without float64      `json:"round_trip_p50_without_us"`
	P50With    float64      `json:"round_trip_p50_with_us"`
	P50Ratio   float64      `json:"round_trip_p50_ratio"`
	P99Without float64      `json:"round_trip_p99_without_us"`
	P99With    float64      `json:"round_trip_p99_with_us"`
	P99Ratio   float64      `json:"round_trip_p99_ratio"`
	Rounds     []StallRound `json:"rounds"`
}

// StallRound is one baseline and the measurement that followed it.
type StallRound struct {
	Without  *hist.Summary    `json:"round_trip_without"`
	With     *hist.Summary    `json:"round_trip_with"`
	P50Ratio float64          `json:"p50_ratio"`
	P99Ratio float64          `json:"p99_ratio"`
	AtStart  map[string]int64 `json:"stalled_held_at_start"` // by where they stopped
	AtEnd    map[string]int64 `json:"stalled_held_at_end"`
}

// ErrorCount is the number of errors of all kinds.
func (r *Result) ErrorCount() (n int64) {
	for _, v := range r.Errors {
		n += v
	}
	return n
}

// ErrorCount is the number of errors of all scenarios.
func (r *Report) ErrorCount() (n int64) {
	for _, x := range r.Results {
		n += x.ErrorCount()
	}
	return n
}

// Fault counts an error that the clients cannot see.
func (r *Result) Fault(kind, sample string) {
	if r.Errors == nil {
		r.Errors = make(map[string]int64)
	}
	r.Errors[kind]++
	r.Samples = append(r.Samples, kind+": "+sample)
}

// WriteJSON writes the indented JSON form.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// ThisMachine collects the facts. args is the command line.
func ThisMachine(args []string, descriptors int) Machine {
	return Machine{
		Cores: runtime.NumCPU(), CPU: cpuModel(), Memory: proc.MemTotal(), Kernel: proc.Kernel(),
		Go: runtime.Version(), Descriptors: descriptors, Command: args, Commit: commit(),
	}
}

func cpuModel() string {
	p, _ := os.ReadFile("/proc/cpuinfo") // without it the model is unknown
	for line := range strings.Lines(string(p)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// commit is the revision of the binary or, for "go run", which stamps none,
// that of the working directory.
func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		rev, dirty := "", ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				rev = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = "+changes"
			}
		}
		if rev != "" {
			return rev + dirty
		}
	}
	out, err := exec.Command("git", "describe", "--always", "--dirty=+changes", "--abbrev=40", "--exclude=*").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
