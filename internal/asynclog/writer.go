// Package asynclog keeps a log from holding up the program that writes it.
//
// A log goes to a pipe, a terminal or a file, and another program reads it. If that program stops
// reading, every goroutine that logs blocks. If it ends, each write fails. A Writer stands in
// between. Lines are buffered within bounds, and one goroutine writes them. When the buffer is
// full, lines are dropped and counted. The log then says how many are missing, at the place where
// they are missing.
package asynclog

import (
	"bytes"
	"context"
	"io"
	"sync"
	"sync/atomic"
)

// Config bounds what a Writer holds.
type Config struct {
	// Bytes and Lines bound what waits to be written; the lines that are being written count once
	// more. 0 means 512 KiB and 4096 lines.
	Bytes, Lines int
	// Dropped, if not nil, writes the line to w that says how many lines are missing before the
	// next one. The goroutine of the Writer calls it. w is valid until Dropped returns.
	Dropped func(w io.Writer, lines uint64)
}

// maxWrite bounds what is written at once. Writes of up to PIPE_BUF bytes to a pipe are atomic, see
// pipe(7): the lines of several processes with one pipe do not mix.
const maxWrite = 4096

// Writer is an io.Writer whose Write takes one whole line, or several, and does not block. Its
// methods may be called from any goroutine.
type Writer struct {
	cfg Config
	out io.Writer

	lost atomic.Uint64 // lines, in total

	mu      sync.Mutex
	changed sync.Cond // any of the fields below has changed
	waiting batch
	missing uint64 // lines that were dropped behind waiting
	taken   uint64 // batches that the goroutine has taken
	written uint64 // batches that it has written, or lost
	closed  bool
}

// batch is the lines that the goroutine writes in one go.
type batch struct {
	text  []byte
	lines int
}

// New returns a Writer to out, and starts its goroutine, which Close ends. Only this goroutine uses
// out.
func New(out io.Writer, cfg Config) *Writer {
	if cfg.Bytes == 0 {
		cfg.Bytes = 512 << 10
	}
	if cfg.Lines == 0 {
		cfg.Lines = 4096
	}
	w := &Writer{cfg: cfg, out: out}
	w.changed.L = &w.mu
	go w.run() // ends after Close
	return w
}

// Write takes what p holds, which should end with a newline. It always returns len(p) and nil: what
// has no room is dropped and counted. p is the caller's again afterwards.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := lines(p)
	if w.closed {
		w.lost.Add(uint64(n))
		return len(p), nil
	}
	if w.waiting.lines == 0 && w.missing == 0 {
		w.changed.Broadcast()
	}
	// Once a line is missing, those behind it are dropped until the batch is taken: this way all
	// missing lines are in one place.
	if w.missing > 0 || len(w.waiting.text)+len(p) > w.cfg.Bytes || w.waiting.lines+n > w.cfg.Lines {
		w.missing += uint64(n)
		w.lost.Add(uint64(n))
		return len(p), nil
	}
	w.waiting.text = append(w.waiting.text, p...)
	w.waiting.lines += n
	return len(p), nil
}

// lines returns how many lines p is; at least one.
func lines(p []byte) int { return max(1, bytes.Count(p, []byte{'\n'})) }

// Lost returns how many lines have been lost so far: dropped for want of room, or refused by the
// underlying writer.
func (w *Writer) Lost() uint64 { return w.lost.Load() }

// Flush waits until everything that was written before has reached the underlying writer, or has
// been lost there.
//
// Errors: that of ctx, if it ends first.
func (w *Writer) Flush(ctx context.Context) error {
	stop := w.wakeAfter(ctx)
	defer stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	goal := w.taken
	if w.waiting.lines > 0 || w.missing > 0 {
		goal++
	}
	for w.written < goal {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.changed.Wait()
	}
	return nil
}

// Close is Flush, and ends the goroutine: at once, or when a write that stands still returns. Lines
// that come later are lost.
//
// Errors: that of ctx, if it ends first.
func (w *Writer) Close(ctx context.Context) error {
	err := w.Flush(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.changed.Broadcast()
	return err
}

// wakeAfter has those that wait look at ctx when it is over.
func (w *Writer) wakeAfter(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changed.Broadcast()
	})
}
