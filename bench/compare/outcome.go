package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"wsgateway/bench/internal/hist"
	"wsgateway/bench/internal/report"
	"wsgateway/bench/internal/runner"
	"wsgateway/bench/internal/server"
)

// study is one case.
type study struct {
	name, what string
	options    runner.Options
}

var studies = []study{
	{"echo", "1,000 connections, 128 B, closed loop",
		runner.Options{Scenario: "echo", Conns: 1000, Size: 128}},
	{"pipelined", "1,000 connections, 128 B, 16 in flight",
		runner.Options{Scenario: "echo", Conns: 1000, Size: 128, InFlight: 16}},
	{"active", "100 active among 15,000, 128 B, closed loop",
		runner.Options{Scenario: "active", Conns: 15_000, Active: 100, Size: 128}},
	{"paced", "5,000 messages/s over 15,000 connections, 128 B",
		runner.Options{Scenario: "echo", Conns: 15_000, Rate: 5000, Size: 128}},
	{"idle", "15,000 connections, one echo each: memory and connecting",
		runner.Options{Scenario: "idle", Conns: 15_000, Size: 128}},
}

func names() (list []string) {
	for _, c := range studies {
		list = append(list, c.name)
	}
	return list
}

func find(name string) (study, bool) {
	i := slices.IndexFunc(studies, func(c study) bool { return c.name == name })
	if i < 0 {
		return study{}, false
	}
	return studies[i], true
}

// series is one number over the repeats.
type series struct {
	Values []float64 `json:"values"`
	Median float64   `json:"median"`
}

func (s *series) add(v float64) {
	s.Values = append(s.Values, v)
	s.Median = hist.Median(s.Values)
}

// line is one case on one server.
type line struct {
	Case   string `json:"case"`
	Server string `json:"server"`

	CPU       series `json:"server_cpu_us_per_message"`
	Ratio     series `json:"ratio"` // of CPU to the first server in the same repeat
	P50       series `json:"round_trip_p50_us"`
	P99       series `json:"round_trip_p99_us"`
	PerSecond series `json:"messages_per_second"`
	Memory    series `json:"server_bytes_per_connection"`
	Connect   series `json:"server_cpu_us_per_connect"`
}

// outcome is everything measured; its JSON form is the output of -json.
type outcome struct {
	Schema  string            `json:"schema"`
	Date    time.Time         `json:"date"`
	Machine report.Machine    `json:"machine"`
	Cases   map[string]string `json:"cases"` // what they are
	Base    string            `json:"base"`  // of the ratios
	Rows    []*line           `json:"rows"`
}

func newOutcome(args []string, descriptors int, s *settings, servers []server.Kind) *outcome {
	out := &outcome{
		Schema: "wsgateway-compare/1", Date: time.Now().UTC().Truncate(time.Second),
		Machine: report.ThisMachine(args, descriptors), Cases: map[string]string{}, Base: string(servers[0]),
	}
	for _, c := range s.cases {
		out.Cases[c.name] = c.what
		for _, k := range servers {
			out.Rows = append(out.Rows, &line{Case: c.name, Server: string(k)})
		}
	}
	return out
}

func (out *outcome) row(name, kind string) *line {
	for _, l := range out.Rows {
		if l.Case == name && l.Server == kind {
			return l
		}
	}
	return nil
}

// add takes one run. The base runs first in every repeat.
func (out *outcome) add(name string, k server.Kind, res *report.Result) {
	l := out.row(name, string(k))
	l.CPU.add(res.ServerCPU)
	if base := out.row(name, out.Base).CPU.Values; len(base) == len(l.CPU.Values) && base[len(base)-1] > 0 {
		l.Ratio.add(res.ServerCPU / base[len(base)-1])
	}
	if res.RoundTrip != nil {
		l.P50.add(res.RoundTrip.P50)
		l.P99.add(res.RoundTrip.P99)
	}
	l.PerSecond.add(res.PerSecond)
	l.Memory.add(res.OwnPerConn)
	l.Connect.add(res.ServerConnect)
}

func (out *outcome) write(path string, stdout io.Writer) error {
	if path == "-" {
		return out.json(stdout)
	}
	if _, err := io.WriteString(stdout, out.table()); err != nil || path == "" {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(out.json(f), f.Close())
}

func (out *outcome) json(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

// table prints the medians.
func (out *outcome) table() string {
	lines := [][]string{{"case", "server", "CPU us/message", "ratio", "p50 us", "p99 us", "messages/s", "bytes/connection", "CPU us/connect"}}
	for _, l := range out.Rows {
		lines = append(lines, []string{
			l.Case, l.Server, number(l.CPU, 2), number(l.Ratio, 2), number(l.P50, 0), number(l.P99, 0),
			number(l.PerSecond, 0), number(l.Memory, 0), number(l.Connect, 1),
		})
	}
	var b strings.Builder
	report.Align(&b, lines)
	fmt.Fprintf(&b, "\nMedians of %d interleaved repeats; ratio of CPU to %s in the same repeat.\n", len(out.Rows[0].CPU.Values), out.Base)
	for _, c := range studies {
		if what, ok := out.Cases[c.name]; ok {
			fmt.Fprintf(&b, "%-10s %s\n", c.name, what)
		}
	}
	m := out.Machine
	fmt.Fprintf(&b, "%d cores, %s, Linux %s, %s. Repeat: go run ./bench/compare %s\n", m.Cores, m.CPU, m.Kernel, m.Go,
		strings.Join(m.Command[1:], " "))
	return b.String()
}

func number(s series, digits int) string {
	if len(s.Values) == 0 {
		return "-"
	}
	if digits == 0 {
		return report.Count(int64(s.Median + 0.5))
	}
	return fmt.Sprintf("%.*f", digits, s.Median)
}
