package webpubsub_test

import (
	"testing"

	"wsgateway/session"
)

// Every counter is there before its first event, and counts.
func TestCounters(t *testing.T) {
	target, _, addr := start(t, open, session.Config{})
	values := func() map[string]float64 {
		m := make(map[string]float64)
		for _, c := range target.Counters() {
			if c.Gauge || c.Help == "" {
				t.Errorf("%s: %+v, want a counter with a text", c.Name, c)
			}
			for _, s := range c.Samples {
				m[c.Name+" "+s.Label] = s.Value
			}
		}
		return m
	}
	before := values()
	c := dial(t, addr, "")
	c.ask(`{"type":"joinGroup","group":"g","ackId":1}`, ok("1"))
	c.send(`{"type":"joinGroup","group":"g","ackId":1}`)
	c.read() // Duplicate
	c.ask(`{"type":"leaveGroup","group":"g","ackId":2}`, ok("2"))
	c.ask(`{"type":"sendToGroup","group":"g","data":1,"ackId":3}`, ok("3"))
	c.send(`{"type":"sendToGroup","group":"","data":1}`)
	c.quiet()
	c.send(`no JSON`)
	c.declined(1008)
	after := values()
	for _, name := range []string{
		"channels_requests_total join", "channels_requests_total leave", "channels_requests_total publish", "channels_requests_total ping",
		"channels_duplicates_total ", "channels_refused_total group", "channels_unanswered_total ", "channels_malformed_total ",
	} {
		if was, known := before[name]; !known || was != 0 || after[name] != 1 {
			t.Errorf("%s: %v, then %v, want 0, then 1", name, was, after[name])
		}
	}
	for name, n := range after {
		if was, known := before[name]; !known {
			t.Errorf("%s has come into being: %v", name, n)
		} else if name == "channels_refused_total busy" && n != was {
			t.Errorf("%s: %v, want %v", name, n, was)
		}
	}
}
