package peertest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// metrics is one scrape: series as written, with labels, to value.
type metrics map[string]float64

// scrape reads /metrics.
func (g *gateway) scrape(t *testing.T) metrics {
	t.Helper()
	m, err := g.tryScrape()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (g *gateway) tryScrape() (metrics, error) {
	status, body, err := g.get("/metrics")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("/metrics: %d", status)
	}
	return parseMetrics(body)
}

func parseMetrics(body string) (metrics, error) {
	m := metrics{}
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		// The gateway writes no timestamps: the value follows the last blank.
		i := strings.LastIndexByte(line, ' ')
		if i < 0 {
			return nil, fmt.Errorf("metrics line %q", line)
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics line %q: %w", line, err)
		}
		m[line[:i]] = v
	}
	return m, nil
}

// sum adds the series of name that have every given label, such as
// `initiator="client"`. Absent series count as 0.
func (m metrics) sum(name string, labels ...string) float64 {
	var sum float64
series:
	for series, v := range m {
		base, rest, _ := strings.Cut(series, "{")
		if base != name {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue series
			}
		}
		sum += v
	}
	return sum
}

// names returns the metric names, without labels.
func (m metrics) names() map[string]bool {
	names := map[string]bool{}
	for series := range m {
		base, _, _ := strings.Cut(series, "{")
		names[base] = true
	}
	return names
}

// connections returns nil when the gateway holds exactly n connections.
func (g *gateway) connections(n int) error {
	m, err := g.tryScrape()
	if err != nil {
		return err
	}
	if got := m.sum("wsgateway_connections"); got != float64(n) {
		return fmt.Errorf("wsgateway_connections = %v, want %d", got, n)
	}
	return nil
}
