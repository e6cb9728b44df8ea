package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// surviveSignals keeps two signals from ending the process. SIGPIPE says only that the reader of
// the log is gone. SIGHUP says only that a terminal is gone, or that an operator hopes for a
// reload. Go ends a process whose write to its standard output or error fails with EPIPE, unless
// SIGPIPE is handled here, even if it was started with SIGPIPE ignored (package os/signal).
func surviveSignals() {
	signal.Ignore(syscall.SIGPIPE)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // for run's beginning and end
}

// answerHangups logs that SIGHUP has no effect, until stop is called.
func answerHangups(log *slog.Logger) (stop func()) {
	hangups, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangups, syscall.SIGHUP)
	go func() { // ended by stop
		for {
			select {
			case <-hangups:
				log.Info("SIGHUP has no effect: there is nothing to reload")
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(done)
	}
}
