package main

import (
	"log/slog"
	"time"

	"wsgateway/session"
	"wsgateway/wsproto"
)

// config is the configuration of a gateway: what it serves where, and with which limits.
type config struct {
	logLevel        slog.Level
	listen          []string // addresses for clients, at least one
	reusePort       bool
	admin           string // address of metrics and health
	shutdownTimeout time.Duration
	routes          []routeConfig
	server          session.Config // limits and timeouts; without Routes and Logger
}

// routeConfig says which target serves a path, and with which settings.
type routeConfig struct {
	path         string
	target       string // a key of kinds
	subprotocols []string
	only         wsproto.Opcode
	origins      []string
	compress     bool
	maxMessage   int64
	maxFragments int
	access       access // for targets that let clients choose whom they reach
}

// access says which clients may choose whom they reach.
type access uint8

const (
	// accessByAddress allows it if only this machine can connect. A browser on this machine also shows
	// pages from elsewhere: these are refused, unless routeConfig.origins names them.
	accessByAddress access = iota
	accessNone
	accessAll
)

// routes returns the routes that are served without a configuration file.
func (f *flags) routes() []routeConfig {
	echo := routeConfig{
		path:         "/{$}", // this path alone, not all below it
		target:       "echo",
		subprotocols: f.subprotocols,
		only:         f.only,
		origins:      f.origins,
		compress:     f.compress,
		maxMessage:   f.maxMessage,
		maxFragments: f.maxFragments,
	}
	broadcast := echo
	broadcast.path, broadcast.target = "/broadcast", "broadcast"
	channels := echo
	channels.path, channels.target = "/channels", "webpubsub"
	channels.subprotocols, channels.only = nil, 0 // the target has its own
	channels.access = f.channels
	return []routeConfig{echo, broadcast, channels}
}
