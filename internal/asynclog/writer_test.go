package asynclog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"wsgateway/internal/asynclog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a lock that a bubble's goroutines can wait for, see package synctest.
type gate chan struct{}

func (g gate) Lock()   { g <- struct{}{} }
func (g gate) Unlock() { <-g }

// reader is what a log is written to. It can stand still, and refuse.
type reader struct {
	mu     gate // held while it stands still
	text   bytes.Buffer
	writes []int // their lengths
	err    error
	short  int // with err: how many bytes are taken all the same
}

func (r *reader) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		r.text.Write(p[:r.short])
		return r.short, r.err
	}
	r.writes = append(r.writes, len(p))
	return r.text.Write(p)
}

func dropped(w io.Writer, n uint64) { fmt.Fprintf(w, "(%d lines dropped)\n", n) }

func open(t *testing.T, out io.Writer, cfg asynclog.Config) *asynclog.Writer {
	t.Helper()
	cfg.Dropped = dropped
	w := asynclog.New(out, cfg)
	t.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return w
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if n, err := io.WriteString(w, text); n != len(text) || err != nil {
		t.Errorf("Write(%.20q) = %d, %v, want %d and no error", text, n, err, len(text))
	}
}

func wantText(t *testing.T, r *reader, want string) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := r.text.String(); got != want {
		t.Errorf("the log is\n%s\nwant\n%s", got, want)
	}
}

// A line is written without anybody asking for it, and the caller may use its bytes again.
func TestLinesAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{mu: make(gate, 1)}
		w := open(t, r, asynclog.Config{})
		p := []byte("line 0\n")
		for i := range 3 {
			p[5] = byte('0' + i)
			write(t, w, string(p))
			if i == 0 {
				wantText(t, r, "line 0\n")
			}
		}
		wantText(t, r, "line 0\nline 1\nline 2\n")
	})
}

// While the reader stands still nobody waits. What has no room is dropped, counted, and told of
// where it is missing.
func TestReaderStandsStill(t *testing.T) {
	for name, cfg := range map[string]asynclog.Config{"lines": {Lines: 3}, "bytes": {Bytes: 3 * len("line 0\n")}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &reader{mu: make(gate, 1)}
				w := open(t, r, cfg)
				r.mu.Lock()
				write(t, w, "first\n")
				synctest.Wait() // it is being written
				for i := range 3 {
					write(t, w, fmt.Sprintf("line %d\n", i))
				}
				if n := w.Lost(); n != 0 {
					t.Errorf("%d lines are lost, want none: there was room", n)
				}
				write(t, w, "too much\nindeed\n")
				write(t, w, "x\n") // behind a gap
				if n := w.Lost(); n != 3 {
					t.Errorf("%d lines are lost, want 3", n)
				}
				r.mu.Unlock()
				wantText(t, r, "first\nline 0\nline 1\nline 2\n(3 lines dropped)\n")
				write(t, w, "last\n")
				wantText(t, r, "first\nline 0\nline 1\nline 2\n(3 lines dropped)\nlast\n")
			})
		})
	}
}

// A line that is larger than the whole buffer is told of, and does not stop the log.
func TestHugeLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{mu: make(gate, 1)}
		w := open(t, r, asynclog.Config{Bytes: 100})
		write(t, w, strings.Repeat("x", 100)+"\n")
		wantText(t, r, "(1 lines dropped)\n")
		write(t, w, "next\n")
		wantText(t, r, "(1 lines dropped)\nnext\n")
	})
}

// A reader that refuses, such as a closed pipe, loses lines. When it takes lines again, the first one
// says how many.
func TestReaderRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{mu: make(gate, 1), err: errors.New("broken pipe")}
		w := open(t, r, asynclog.Config{})
		for i := range 5 {
			write(t, w, fmt.Sprintf("line %d\n", i))
			synctest.Wait()
		}
		r.short = len("line 5\nli") // as a full disk does
		write(t, w, "line 5\nline 6\nline 7\n")
		synctest.Wait()
		r.err = nil
		if n := w.Lost(); n != 7 {
			t.Errorf("%d lines are lost, want 7", n)
		}
		r.text.Reset()
		write(t, w, "line 8\n")
		wantText(t, r, "(7 lines dropped)\nline 8\n")
	})
}

// Writes end with lines and are no larger than what a pipe takes as a whole, unless a line is.
func TestWritesAreWholeLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{mu: make(gate, 1)}
		w := open(t, r, asynclog.Config{})
		r.mu.Lock()
		write(t, w, "first\n")
		synctest.Wait()
		var want strings.Builder
		want.WriteString("first\n")
		for _, size := range []int{1000, 1000, 1000, 1096, 4000, 100, 9000, 10, 4096, 1} {
			line := strings.Repeat("x", size-1) + "\n"
			want.WriteString(line)
			write(t, w, line)
		}
		write(t, w, "no newline")
		want.WriteString("no newline")
		r.mu.Unlock()
		wantText(t, r, want.String())
		if got := fmt.Sprint(r.writes); got != "[6 4096 4000 100 9000 10 4096 11]" {
			t.Errorf("lengths of writes: %s", got)
		}
	})
}

// Flush waits for what was written before, and no longer than its context lasts. Close does the same
// and ends the goroutine, which goleak checks.
func TestFlushAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reader{mu: make(gate, 1)}
		w := asynclog.New(r, asynclog.Config{Lines: 2, Dropped: dropped})
		if err := w.Flush(context.Background()); err != nil {
			t.Errorf("Flush of nothing: %v", err)
		}
		for i := range 3 {
			write(t, w, fmt.Sprintf("line %d\n", i))
			if err := w.Flush(context.Background()); err != nil || r.text.Len() != (i+1)*7 {
				t.Errorf("Flush: %v, the log is %q", err, r.text.String())
			}
		}
		r.mu.Lock()
		for i := range 4 {
			write(t, w, fmt.Sprintf("late %d\n", i))
			synctest.Wait()
		}
		for name, f := range map[string]func(context.Context) error{"Flush": w.Flush, "Close": w.Close} {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			begin := time.Now()
			if err := f(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
				t.Errorf("%s with a reader that stands still: %v after %v, want a deadline exceeded after 1 s", name, err, time.Since(begin))
			}
			cancel()
		}
		write(t, w, "after Close\n")
		if n := w.Lost(); n != 2 {
			t.Errorf("%d lines are lost, want late 3 and the one after Close", n)
		}
		r.mu.Unlock()
		wantText(t, r, "line 0\nline 1\nline 2\nlate 0\nlate 1\nlate 2\n(1 lines dropped)\n")
	})
}

// Many goroutines log into a reader that stands still now and then: no line is torn, the order of each
// goroutine's lines is kept, and what is missing is exactly what is counted.
func TestManyWriters(t *testing.T) {
	r := &reader{mu: make(gate, 1)}
	w := asynclog.New(r, asynclog.Config{Lines: 50, Dropped: dropped})
	const writers, each = 8, 1000
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range each {
				switch { // its own 60 lines are more than there is room for
				case i == 0 && n%100 == 0:
					r.mu.Lock()
				case i == 0 && n%100 == 60:
					r.mu.Unlock()
				}
				write(t, w, fmt.Sprintf("%d %d\n", i, n))
			}
		})
	}
	all.Wait()
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := make([]int, writers)
	read, missing := 0, uint64(0)
	for line := range strings.Lines(r.text.String()) {
		var i, n int
		if _, err := fmt.Sscanf(line, "%d %d\n", &i, &n); err == nil && n >= next[i] {
			next[i] = n + 1
			read++
		} else if _, err := fmt.Sscanf(line, "(%d lines dropped)\n", &n); err == nil {
			missing += uint64(n)
		} else {
			t.Fatalf("line %q, next ones are %v", line, next)
		}
	}
	if uint64(read)+missing != writers*each || missing != w.Lost() {
		t.Errorf("%d lines, %d missing, %d lost, want %d together", read, missing, w.Lost(), writers*each)
	}
}

// Logging allocates nothing once the buffers have grown.
func TestWriteAllocatesNothing(t *testing.T) {
	w := asynclog.New(io.Discard, asynclog.Config{})
	defer w.Close(t.Context())
	line := []byte("a line of a log\n")
	for range 10_000 {
		_, _ = w.Write(line)
	}
	if n := testing.AllocsPerRun(1000, func() { _, _ = w.Write(line) }); n > 0.5 {
		t.Errorf("%v allocations a line", n)
	}
}
