package runner

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sys/unix"

	"wsgateway/bench/internal/client"
	"wsgateway/bench/internal/report"
)

// Progress shows what runs: a bar on a terminal, a line every few seconds
// elsewhere. A nil *Progress shows nothing.
type Progress struct {
	w       io.Writer
	bars    bool
	verbose bool
}

// NewProgress writes to f. verbose adds a line after every step.
func NewProgress(f *os.File, verbose bool) *Progress {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return &Progress{w: f, bars: err == nil, verbose: verbose}
}

// detail writes one line if asked for.
func (p *Progress) detail(format string, args ...any) {
	if p != nil && p.verbose {
		p.Say(format, args...)
	}
}

// Say writes one line.
func (p *Progress) Say(format string, args ...any) {
	if p != nil {
		fmt.Fprintf(p.w, format+"\n", args...)
	}
}

const (
	barPeriod  = 200 * time.Millisecond
	linePeriod = 3 * time.Second
)

// watch shows a step until the returned function is called. total 0 means the
// end is not known; seconds then counts up instead.
func (p *Progress) watch(what string, total int64, look func() client.Progress) (end func()) {
	if p == nil {
		return func() {}
	}
	quit := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		if p.bars {
			p.bar(what, total, look, quit)
		} else {
			p.lines(what, total, look, quit)
		}
	})
	return func() {
		close(quit)
		shown.Wait()
	}
}

func (p *Progress) bar(what string, total int64, look func() client.Progress, quit <-chan struct{}) {
	if total <= 0 {
		total = -1 // a spinner
	}
	b := progressbar.NewOptions64(total, progressbar.OptionSetWriter(p.w), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetWidth(24),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(false))
	tick := time.NewTicker(barPeriod)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			_ = b.Clear() // a terminal that is gone loses the bar only
			return
		case <-tick.C:
			_ = b.Set64(look().Done)
		}
	}
}

func (p *Progress) lines(what string, total int64, look func() client.Progress, quit <-chan struct{}) {
	tick := time.NewTicker(linePeriod)
	defer tick.Stop()
	begin := time.Now()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		s := look()
		of := ""
		if total > 0 {
			of = " of " + report.Count(total)
		}
		p.Say("%s: %s%s after %.0f s, %s open, %s errors", what, report.Count(s.Done), of,
			time.Since(begin).Seconds(), report.Count(s.Open), report.Count(s.Errors))
	}
}
