package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"wsgateway/bench/internal/hist"
)

// row is one line of the table; value is empty where it was not measured.
type row struct {
	name  string
	value func(*Result) string
}

var rows = []row{
	{"scenario", func(r *Result) string { return r.Scenario }},
	{"server", func(r *Result) string { return r.Server }},
	{"connections asked / held", func(r *Result) string { return Count(int64(r.Asked)) + " / " + Count(r.Held) }},
	{"connect rate /s", func(r *Result) string { return positive(r.ConnectRate, 0) }},
	{"handshake us p50 / p90 / p99", func(r *Result) string { return low(r.Handshake) }},
	{"handshake us p99.9 / max", func(r *Result) string { return high(r.Handshake) }},
	{"message bytes", func(r *Result) string { return positive(float64(r.Size), 0) }},
	{"messages", func(r *Result) string { return positive(float64(r.Messages), 0) }},
	{"messages /s", func(r *Result) string { return positive(r.PerSecond, 0) }},
	{"round trip us p50 / p90 / p99", func(r *Result) string { return low(r.RoundTrip) }},
	{"round trip us p99.9 / max", func(r *Result) string { return high(r.RoundTrip) }},
	{"bystander us p50 / p90 / p99", func(r *Result) string { return low(r.Bystander) }},
	{"publish-receive us p50 / p90 / p99", func(r *Result) string { return low(r.Fanout) }},
	{"publish-receive us p99.9 / max", func(r *Result) string { return high(r.Fanout) }},
	{"published / deliveries", func(r *Result) string {
		return when(r.Broadcast, func(b *Broadcast) string { return Count(b.Published) + " / " + Count(b.Deliveries) })
	}},
	{"missing / duplicate / out of order", func(r *Result) string {
		return when(r.Broadcast, func(b *Broadcast) string {
			return Count(b.Missing) + " / " + Count(b.Duplicate) + " / " + Count(b.OutOfOrder)
		})
	}},
	{"cycles", func(r *Result) string { return when(r.Churn, func(c *Churn) string { return Count(c.Cycles) }) }},
	{"cycles /s", func(r *Result) string {
		return when(r.Churn, func(c *Churn) string { return positive(c.PerSecond, 0) })
	}},
	{"ended by Close / FIN / RST", func(r *Result) string {
		return when(r.Churn, func(c *Churn) string { return Count(c.Clean) + " / " + Count(c.Fin) + " / " + Count(c.Rst) })
	}},
	{"cross-deliveries", func(r *Result) string { return when(r.Churn, func(c *Churn) string { return Count(c.Cross) }) }},
	{"goroutines before / after churn", level(func(l *Level) string { return positive(float64(l.Goroutines), 0) })},
	{"descriptors before / after churn", level(func(l *Level) string { return positive(float64(l.Descriptors), 0) })},
	{"server RSS before / after churn MiB", level(func(l *Level) string { return positive(mib(l.RSS), 1) })},
	{"server heap before / after churn MiB", level(func(l *Level) string { return positive(mib(l.Heap), 1) })},
	{"all back after s", func(r *Result) string {
		return when(r.Storm, func(s *Storm) string { return fmt.Sprintf("%.2f", s.BackSeconds) })
	}},
	{"refused and tried again", func(r *Result) string {
		return when(r.Storm, func(s *Storm) string { return Count(s.Retries) + kinds(s.Refused) })
	}},
	{"stopped reading / closed / survived", func(r *Result) string {
		return when(r.Slow, func(s *Slow) string { return Count(s.Stopped) + " / " + Count(s.Closed) + " / " + Count(s.Survived) })
	}},
	{"closed slow readers by code", func(r *Result) string {
		return when(r.Slow, func(s *Slow) string { return strings.TrimSpace(kinds(s.Codes)) })
	}},
	{"server RSS above connected peak / after MiB", func(r *Result) string {
		return memory(r, func(m *SlowMemory) string { return fmt.Sprintf("%.1f / %.1f", mib(m.Peak), mib(m.After)) })
	}},
	{"server bytes per stopped reader peak / after", func(r *Result) string {
		return memory(r, func(m *SlowMemory) string {
			return Count(int64(math.Round(m.PeakPerReader))) + " / " + Count(int64(math.Round(m.AfterPerReader)))
		})
	}},
	{"outbound queues peak / limit MiB", func(r *Result) string {
		return queues(r, func(q *SlowQueues) string { return fmt.Sprintf("%.1f / %.1f", mib(q.Peak), mib(q.Limit)) })
	}},
	{"slow consumers closed, by the server's count", func(r *Result) string {
		return queues(r, func(q *SlowQueues) string { return Count(q.Consumers) })
	}},
	{"stalled asked", func(r *Result) string { return when(r.Stall, func(s *Stall) string { return Count(s.Asked) }) }},
	{"stalled held at start / at end", func(r *Result) string {
		return compared(r, func(s *Stall) string { return Count(s.AtStart) + " / " + Count(s.AtEnd) })
	}},
	{"stalled closed by the server", func(r *Result) string {
		return when(r.Stall, func(s *Stall) string { return total(s.Closed) })
	}},
	{"stalled in the handshake opened again", func(r *Result) string {
		return when(r.Stall, func(s *Stall) string { return Count(s.Renewed) })
	}},
	{"round trip us p50 without / with", func(r *Result) string {
		return compared(r, func(s *Stall) string { return us(s.P50Without) + " / " + us(s.P50With) })
	}},
	{"round trip us p99 without / with", func(r *Result) string {
		return compared(r, func(s *Stall) string { return us(s.P99Without) + " / " + us(s.P99With) })
	}},
	{"ratio p50 / p99", func(r *Result) string {
		return compared(r, func(s *Stall) string { return fmt.Sprintf("%.2f / %.2f", s.P50Ratio, s.P99Ratio) })
	}},
	{"ratio p99 of each round", func(r *Result) string {
		return when(r.Stall, func(s *Stall) string {
			var parts []string
			for _, x := range s.Rounds {
				parts = append(parts, fmt.Sprintf("%.2f", x.P99Ratio))
			}
			return strings.Join(parts, " ")
		})
	}},
	{"server processes", func(r *Result) string { return positive(float64(r.Servers), 0) }},
	{"server RSS empty / loaded MiB", func(r *Result) string {
		if r.RSSLoaded == 0 {
			return ""
		}
		return fmt.Sprintf("%.1f / %.1f", mib(r.RSSEmpty), mib(r.RSSLoaded))
	}},
	{"server bytes per connection", func(r *Result) string { return positive(r.OwnPerConn, 0) }},
	{"kernel bytes per connection (both ends on loopback)", func(r *Result) string { return positive(r.KernelPerConn, 0) }},
	{"server CPU us per connect", func(r *Result) string { return positive(r.ServerConnect, 1) }},
	{"server CPU us per message", func(r *Result) string { return positive(r.ServerCPU, 2) }},
	{"client CPU us per message", func(r *Result) string { return positive(r.ClientCPU, 2) }},
	{"client processes", func(r *Result) string { return positive(float64(r.Clients), 0) }},
	{"goroutines per server", func(r *Result) string { return join(r.Goroutines) }},
	{"pings answered", func(r *Result) string { return positive(float64(r.Pings), 0) }},
	{"close answers by code", func(r *Result) string { return strings.TrimSpace(kinds(r.Closes)) }},
	{"errors", func(r *Result) string { return Count(r.ErrorCount()) + kinds(r.Errors) }},
}

// columns is the number of scenarios side by side.
const columns = 3

// WriteTable writes one column per scenario and a row for whatever any of its
// neighbours measured, then samples of the errors.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	for part := range slices.Chunk(r.Results, columns) {
		Align(&b, table(part))
		b.WriteByte('\n')
	}
	for _, x := range r.Results {
		if len(x.Samples) > 0 {
			fmt.Fprintf(&b, "errors of %s, for example:\n", x.Scenario)
		}
		for _, s := range x.Samples {
			fmt.Fprintf(&b, "  %s\n", s)
		}
		if len(x.Samples) > 0 {
			b.WriteByte('\n')
		}
	}
	m := r.Machine
	fmt.Fprintf(&b, "%d cores, %s, %.0f GiB, Linux %s, %s, %s descriptors per process, %.1f s",
		m.Cores, or(m.CPU, "unknown CPU"), mib(m.Memory)/1024, m.Kernel, m.Go, Count(int64(m.Descriptors)), r.Seconds)
	if r.Interrupted {
		b.WriteString(", interrupted")
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

func table(results []*Result) (lines [][]string) {
	for _, row := range rows {
		line, measured := []string{row.name}, false
		for _, x := range results {
			v := row.value(x)
			measured = measured || v != ""
			line = append(line, v)
		}
		if measured {
			lines = append(lines, line)
		}
	}
	return lines
}

// Align writes a table whose first column is text and whose others are right
// aligned.
func Align(b *strings.Builder, lines [][]string) {
	var width []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		for i, cell := range line {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			switch {
			case i == 0 && len(line) == 1:
				b.WriteString(cell)
			case i == 0:
				b.WriteString(cell + pad)
			default:
				b.WriteString("  " + pad + cell)
			}
		}
		b.WriteByte('\n')
	}
}

// Count writes 1234567 as 1,234,567.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// positive formats a number that was measured.
func positive(f float64, digits int) string {
	switch {
	case f <= 0:
		return ""
	case digits == 0:
		return Count(int64(f + 0.5))
	}
	return strconv.FormatFloat(f, 'f', digits, 64)
}

func low(s *hist.Summary) string {
	return when(s, func(s *hist.Summary) string { return us(s.P50) + " / " + us(s.P90) + " / " + us(s.P99) })
}

func high(s *hist.Summary) string {
	return when(s, func(s *hist.Summary) string { return us(s.P999) + " / " + us(s.Max) })
}

func us(f float64) string {
	if f < 100 {
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return Count(int64(f + 0.5))
}

func when[T any](p *T, f func(*T) string) string {
	if p == nil {
		return ""
	}
	return f(p)
}

// level writes a number before and after.
func level(f func(*Level) string) func(*Result) string {
	return func(r *Result) string {
		if r.Churn == nil || r.Churn.Before == nil || r.Churn.After == nil {
			return ""
		}
		before, after := f(r.Churn.Before), f(r.Churn.After)
		if before == "" && after == "" {
			return ""
		}
		return or(before, "-") + " / " + or(after, "-")
	}
}

func memory(r *Result, f func(*SlowMemory) string) string {
	return when(r.Slow, func(s *Slow) string { return when(s.Memory, f) })
}

func queues(r *Result, f func(*SlowQueues) string) string {
	return when(r.Slow, func(s *Slow) string { return when(s.Queues, f) })
}

// compared writes what was compared, once a round is complete.
func compared(r *Result, f func(*Stall) string) string {
	if r.Stall == nil || len(r.Stall.Rounds) == 0 {
		return ""
	}
	return f(r.Stall)
}

// total writes "3 (a 1, b 2)".
func total(m map[string]int64) string {
	var sum int64
	for v := range maps.Values(m) {
		sum += v
	}
	return Count(sum) + kinds(m)
}

// kinds writes " (a 1, b 2)".
func kinds(m map[string]int64) string {
	if len(m) == 0 {
		return ""
	}
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+" "+Count(m[k]))
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func join(n []int) string {
	var parts []string
	for _, v := range n {
		parts = append(parts, strconv.Itoa(v))
	}
	return strings.Join(parts, " ")
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
