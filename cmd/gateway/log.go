package main

import (
	"context"
	"io"
	"log/slog"
	"time"

	"wsgateway/internal/asynclog"
)

// logCloseTimeout is how long the end of the gateway waits for the last lines of the log to be read.
const logCloseTimeout = 2 * time.Second

// newLogWriter returns what the log is written to. No goroutine that logs waits for the reader of
// out: lines are lost instead, and the log says how many. The caller closes it with closeLog.
func newLogWriter(out io.Writer) *asynclog.Writer {
	return asynclog.New(out, asynclog.Config{Dropped: func(w io.Writer, lines uint64) {
		newLogger(w, slog.LevelWarn).Warn("log lines dropped, the log was not read in time", "lines", lines)
	}})
}

func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// closeLog has the last lines written, if somebody reads them.
func closeLog(w *asynclog.Writer) {
	ctx, cancel := context.WithTimeout(context.Background(), logCloseTimeout)
	defer cancel()
	_ = w.Close(ctx) // or they are lost
}
