package asynclog

import (
	"bytes"
)

// maxKept is how large a buffer the goroutine keeps for its next batch.
const maxKept = 64 << 10

// run writes batches. missing is how many lines the log does not know to be missing yet.
func (w *Writer) run() {
	var b batch
	missing := uint64(0)
	for {
		dropped, ok := w.take(&b)
		if !ok {
			return
		}
		for rest := b.text; len(rest) > 0; {
			var chunk []byte
			chunk, rest = cut(rest)
			missing = w.report(missing)
			missing += w.write(chunk)
		}
		missing = w.report(missing + dropped)
		w.done()
	}
}

// take waits for the next batch and swaps it with b, which has been written. It returns how many
// lines were dropped behind it, and false when there will be no more.
func (w *Writer) take(b *batch) (dropped uint64, ok bool) {
	if cap(b.text) > maxKept {
		b.text = nil
	}
	b.text, b.lines = b.text[:0], 0
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.waiting.lines == 0 && w.missing == 0 {
		if w.closed {
			return 0, false
		}
		w.changed.Wait()
	}
	w.waiting, *b = *b, w.waiting
	dropped, w.missing = w.missing, 0
	w.taken++
	return dropped, true
}

func (w *Writer) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written++
	w.changed.Broadcast()
}

// cut returns as many whole lines as may be written at once, one at least.
func cut(text []byte) (chunk, rest []byte) {
	if len(text) <= maxWrite {
		return text, nil
	}
	n := bytes.LastIndexByte(text[:maxWrite], '\n') + 1
	if n == 0 {
		if n = bytes.IndexByte(text, '\n') + 1; n == 0 {
			n = len(text)
		}
	}
	return text[:n], text[n:]
}

// write writes whole lines, and returns how many of them are lost.
func (w *Writer) write(chunk []byte) (missing uint64) {
	n, err := w.out.Write(chunk)
	if err == nil || n >= len(chunk) {
		return 0
	}
	missing = uint64(lines(chunk[max(n, 0):]))
	w.lost.Add(missing)
	return missing
}

// report has the log say how many lines are missing. It returns how many it still does not know of:
// none, or all if this could not be written either.
func (w *Writer) report(missing uint64) uint64 {
	if missing == 0 || w.cfg.Dropped == nil {
		return 0
	}
	var line bytes.Buffer
	w.cfg.Dropped(&line, missing)
	if _, err := w.out.Write(line.Bytes()); err != nil {
		return missing
	}
	return 0
}
