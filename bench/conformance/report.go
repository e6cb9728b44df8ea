package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"wsgateway/bench/conformance/internal/engine"
)

// report is the outcome of a run; its JSON form is what -json prints.
type report struct {
	Schema      string            `json:"schema"`
	URL         string            `json:"url"`
	Seed        uint64            `json:"seed"`
	Compress    bool              `json:"compress"`
	Delay       float64           `json:"delay_seconds"`
	Seconds     float64           `json:"seconds"`
	Interrupted bool              `json:"interrupted,omitempty"`
	Total       counts            `json:"total"`
	Groups      map[string]counts `json:"groups"`
	Cases       []caseReport      `json:"cases"`
}

// counts counts cases by verdict, and the connections they took.
type counts struct {
	Cases     int `json:"cases"`
	Pass      int `json:"pass"`
	NonStrict int `json:"non_strict"`
	Fail      int `json:"fail"`
	Skip      int `json:"skip"`
	Runs      int `json:"runs"`
}

type caseReport struct {
	ID      string         `json:"id"`
	Section string         `json:"section"`
	Title   string         `json:"title"`
	Rule    string         `json:"rule"`
	Verdict engine.Verdict `json:"verdict"`
	Reason  string         `json:"reason,omitempty"` // of SKIP
	Splits  []splitReport  `json:"splits,omitempty"`

	worst *splitReport
}

type splitReport struct {
	Split    string         `json:"split"`
	Verdict  engine.Verdict `json:"verdict"`
	Expected string         `json:"expected,omitempty"`
	Observed string         `json:"observed"`
	Received string         `json:"received_hex"`
	Seconds  float64        `json:"seconds"`
}

// judge runs the cases.
func judge(ctx context.Context, s *settings) *report {
	begin := time.Now()
	results := engine.Run(ctx, &s.config, s.cases)
	rep := &report{
		Schema: "ws-conformance/1", URL: s.url, Seed: s.config.Seed, Compress: s.config.Compress,
		Delay: s.config.Delay.Seconds(), Seconds: time.Since(begin).Seconds(),
		Interrupted: ctx.Err() != nil, Groups: make(map[string]counts),
	}
	for _, r := range results {
		rep.add(r)
	}
	return rep
}

func (rep *report) add(r *engine.Result) {
	c := caseReport{ID: r.Case.ID, Section: r.Case.Section, Title: r.Case.Title, Rule: r.Case.Rule, Verdict: r.Verdict}
	if r.Verdict == engine.Skip {
		c.Reason = r.Reason
	}
	for _, x := range r.Splits {
		c.Splits = append(c.Splits, splitReport{
			x.Split, x.Verdict, x.Expected, x.Observed, hex.EncodeToString(x.Received), x.Took.Seconds(),
		})
	}
	for i := range c.Splits {
		if c.Splits[i].Verdict == c.Verdict {
			c.worst = &c.Splits[i]
			break
		}
	}
	rep.Cases = append(rep.Cases, c)
	group := rep.Groups[c.ID[:1]]
	group.count(&c)
	rep.Groups[c.ID[:1]] = group
	rep.Total.count(&c)
}

func (n *counts) count(c *caseReport) {
	n.Cases++
	n.Runs += len(c.Splits)
	switch c.Verdict {
	case engine.Pass:
		n.Pass++
	case engine.NonStrict:
		n.NonStrict++
	case engine.Fail:
		n.Fail++
	case engine.Skip:
		n.Skip++
	}
}

func (rep *report) write(w io.Writer, s *settings) error {
	if s.json {
		enc := json.NewEncoder(w)
		enc.SetIndent("", " ")
		return enc.Encode(rep)
	}
	return rep.writeTable(w, s.verbose)
}

// shownBytes is how much of what was received stands in the table.
const shownBytes = 24

func (rep *report) writeTable(w io.Writer, verbose bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range rep.Cases {
		c := &rep.Cases[i]
		if !verbose && (c.Verdict == engine.Pass || c.Verdict == engine.Skip) {
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", c.ID, c.Verdict, c.Section, c.Title)
		rep.detail(t, c)
	}
	rep.skipped(t)
	fmt.Fprintf(t, "\ngroup\tcases\tpass\tnon-strict\tfail\tskip\truns\n")
	for _, g := range []struct{ key, name string }{{"H", "H handshake"}, {"F", "F framing"}, {"D", "D deflate"}} {
		if n, ok := rep.Groups[g.key]; ok {
			n.write(t, g.name)
		}
	}
	rep.Total.write(t, "total")
	if err := t.Flush(); err != nil {
		return err
	}
	word := ""
	if rep.Interrupted {
		word = "interrupted; "
	}
	_, err := fmt.Fprintf(w, "\n%s%s: %d cases, %d runs in %.1fs, -seed %d\n", word, rep.URL, rep.Total.Cases, rep.Total.Runs, rep.Seconds, rep.Seed)
	return err
}

// detail says of a case that was not passed what was expected and observed.
func (rep *report) detail(t io.Writer, c *caseReport) {
	switch {
	case c.Verdict == engine.Pass:
	case c.Verdict == engine.Skip:
		fmt.Fprintf(t, "    skipped: %s\n", c.Reason)
	case c.worst != nil:
		var splits []string
		for _, x := range c.Splits {
			if x.Verdict == c.Verdict {
				splits = append(splits, x.Split)
			}
		}
		fmt.Fprintf(t, "    rule: %s\n", c.Rule)
		fmt.Fprintf(t, "    expected: %s\n", c.worst.Expected)
		fmt.Fprintf(t, "    observed: %s [%s]\n", c.worst.Observed, strings.Join(splits, " "))
		if hex := c.worst.Received; hex != "" {
			fmt.Fprintf(t, "    received: %s\n", hex[:min(len(hex), 2*shownBytes)])
		}
	}
}

// skipped counts the cases that were skipped, by reason.
func (rep *report) skipped(t io.Writer) {
	var order []string
	n := make(map[string]int)
	for i := range rep.Cases {
		if c := &rep.Cases[i]; c.Verdict == engine.Skip {
			if n[c.Reason] == 0 {
				order = append(order, c.Reason)
			}
			n[c.Reason]++
		}
	}
	for _, reason := range order {
		fmt.Fprintf(t, "skipped %d: %s\n", n[reason], reason)
	}
}

func (n *counts) write(t io.Writer, name string) {
	fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\n", name, n.Cases, n.Pass, n.NonStrict, n.Fail, n.Skip, n.Runs)
}
