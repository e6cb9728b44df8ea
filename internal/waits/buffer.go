package waits

import (
	"bytes"
	"strings"
	"sync"
	"testing"
)

// Buffer collects what goroutines write, a log for instance, and may be read meanwhile. The zero
// value is empty and ready.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns all that has been written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Tail returns the last n bytes that have been written, or fewer.
func (b *Buffer) Tail(n int) string {
	s := b.String()
	return s[max(0, len(s)-n):]
}

// Field returns the value of a field of the first line of a text log that has it, "" for none.
func (b *Buffer) Field(name string) string {
	_, rest, _ := strings.Cut(b.String(), " "+name+"=")
	value, _, _ := strings.Cut(rest, " ")
	return strings.TrimSpace(value)
}

// Await waits until the buffer contains a text.
func (b *Buffer) Await(t testing.TB, text string) {
	t.Helper()
	if !Poll(func() bool { return strings.Contains(b.String(), text) }) {
		t.Fatalf("waited %v for %q in:\n%s", Patience, text, b)
	}
}

// Want fails the test for each text that the buffer does not contain.
func (b *Buffer) Want(t testing.TB, texts ...string) {
	t.Helper()
	all := b.String()
	for _, text := range texts {
		if !strings.Contains(all, text) {
			t.Errorf("there is no %q in:\n%s", text, all)
		}
	}
}
