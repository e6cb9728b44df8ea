// Package target defines what a target is: the part of a gateway that serves routes. A target makes
// the routes for a path, counts what happens on them, and has an end. Package session knows only
// routes. The gateway knows only targets, and its configuration says which one serves a path.
//
// Packages echo, broadcast and webpubsub are targets. To add a target, write a package and add a
// line to the gateway's table of targets.
package target

import (
	"context"

	"wsgateway/session"
)

// Target serves routes. Its life has three steps: Routes is called for each path before the server
// starts, the handlers of these routes are called while the server runs, and Close is called once
// after the server has ended. A handler finds its server with session.Session.Server.
type Target interface {
	// Routes returns the routes that serve a path, usually one. The path is a valid
	// session.Route.Path. The target sets the fields that it depends on, such as handler, mode and
	// OnUpgrade. The caller may set fields that the target leaves at zero, such as limits, origins
	// and compression. The slice is the caller's.
	Routes(path string) []session.Route

	// Counters returns a snapshot of what the target counts, nil if it counts nothing. Any goroutine
	// may call it at any time. The names and labels are the same in every call, so that a counter
	// is there before its first event. The slice is the caller's.
	Counters() []Counter

	// Close ends what the target runs beside the calls of its handlers. It returns the error of ctx
	// if that ends first. No handler is called meanwhile or afterwards.
	Close(ctx context.Context) error
}

// Counter is a number that a target counts, split by one label or not at all.
type Counter struct {
	// Name is in snake case without the prefix of the gateway. The name of a gauge does not end with
	// "_total", every other name does.
	Name string
	Help string // one sentence for the reader of a dashboard
	// Gauge marks a number that may fall. Without it the number only grows.
	Gauge   bool
	Label   string // name of the label, "" for none
	Samples []Sample
}

// Sample is one value of a Counter.
type Sample struct {
	Label string // value of the label, "" where Counter.Label is ""; never chosen by a client
	Value float64
}

// Total returns the Counter of a number without a label that only grows.
func Total(name, help string, n uint64) Counter {
	return Counter{Name: name, Help: help, Samples: []Sample{{Value: float64(n)}}}
}
