// Package suite holds the conformance cases, in files by what they are about, and
// the small vocabulary of steps they are written in.
package suite

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"wsgateway/bench/conformance/internal/engine"
)

// Shorter names for what every case uses.
type (
	testCase = engine.Case
	step     = engine.Step
	session  = engine.Session
	config   = engine.Config
)

const (
	pass      = engine.Pass
	skip      = engine.Skip
	nonStrict = engine.NonStrict
	fail      = engine.Fail
)

// All returns all cases in the order of their ids. They must not be modified.
func All() []*testCase { return all() }

var all = sync.OnceValue(func() []*testCase {
	all := slices.Concat(
		handshakeCases(), requestCases(), refusalCases(),
		framingCases(), fragmentCases(), controlCases(), closingCases(), utf8Cases(), limitCases(),
		negotiationCases(), deflateCases(),
	)
	slices.SortStableFunc(all, func(a, b *testCase) int {
		return cmp.Or(
			cmp.Compare(order(a.ID), order(b.ID)),
			cmp.Compare(a.ID, b.ID),
		)
	})
	return all
})

// order sorts ids as H1, H2, H10, F1, D1.
func order(id string) int {
	rule, _, _ := strings.Cut(id, ".")
	n, _ := strconv.Atoi(rule[1:]) // a test sees to the form of ids
	return 1000*strings.IndexByte("HFD", id[0]) + n
}

// family makes cases that share a rule and a section.
type family struct{ id, section, rule string }

// add makes one case of the family.
func (f family) add(variant, title string, steps ...step) *testCase {
	return &testCase{ID: f.id + "." + variant, Section: f.section, Title: title, Rule: f.rule, Steps: steps}
}
