package channels_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"wsgateway/channels"
	"wsgateway/session"
)

func TestWindow(t *testing.T) {
	const n = channels.Window
	for name, steps := range map[string][]step{
		"in order":        {{1, "new"}, {2, "new"}, {3, "new"}, {1, "served"}, {3, "served"}, {4, "new"}},
		"zero":            {{0, "new"}, {0, "served"}, {1, "new"}, {5 * n, "new"}, {0, "served"}},
		"backwards":       {{5, "new"}, {4, "new"}, {3, "new"}, {2, "new"}, {1, "new"}, {1, "served"}, {3, "served"}, {5, "served"}, {6, "new"}, {6, "served"}},
		"edge, inside":    {{1, "new"}, {n + 1, "new"}, {2, "new"}, {n + 1, "served"}, {2, "served"}},
		"edge, outside":   {{1, "new"}, {n + 2, "new"}, {1, "old"}, {2, "old"}, {3, "new"}, {n + 2, "served"}},
		"slides by one":   {{1, "new"}, {n + 1, "new"}, {n + 2, "new"}, {2, "old"}, {3, "new"}, {n + 1, "served"}},
		"far away":        {{1, "new"}, {10 * n, "new"}, {10 * n, "served"}, {9*n + 1, "new"}, {9 * n, "old"}, {9*n + 1, "served"}},
		"exactly as far":  {{2, "new"}, {n + 1, "new"}, {2 * n, "new"}, {2*n + 1, "new"}, {n + 1, "served"}, {n + 2, "new"}, {n, "old"}, {2, "old"}},
		"gap is passed":   {{1, "new"}, {3, "new"}, {4, "new"}, {n + 4, "new"}, {2, "old"}, {1, "old"}, {3, "served"}, {4, "served"}},
		"just passed":     {{n, "new"}, {2 * n, "new"}, {n, "served"}, {n - 1, "old"}},
		"the last":        {{math.MaxUint64, "new"}, {math.MaxUint64, "served"}, {math.MaxUint64 - 1, "new"}, {math.MaxUint64 - n, "old"}, {math.MaxUint64, "served"}},
		"filled to last":  append(countdown(math.MaxUint64, n), step{math.MaxUint64, "served"}, step{math.MaxUint64 - 1, "served"}, step{1, "old"}),
		"first is far in": {{n, "new"}, {1, "new"}, {n, "served"}},
	} {
		var w channels.TestWindow
		for i, s := range steps {
			if got := w.Serve(s.id); got != s.want {
				t.Errorf("%s: step %d: %d is %s, want %s", name, i, s.id, got, s.want)
			}
		}
	}
}

type step struct {
	id   uint64
	want string
}

func countdown(from uint64, n int) (steps []step) {
	for i := range n {
		steps = append(steps, step{from - uint64(i), "new"})
	}
	return steps
}

// Against a set that forgets nothing: no id is new twice, or said to have been served when it was not; and
// within the window every id gets its turn.
func TestWindowModel(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		spread := int64(1) << r.IntN(13)
		var w channels.TestWindow
		served := make(map[uint64]bool)
		highest, olds := uint64(0), 0
		for i := range int64(20_000) {
			id := uint64(max(0, i*r.Int64N(2)+r.Int64N(spread)))
			got := w.Serve(id)
			switch {
			case got == "new" && served[id], got == "served" && !served[id]:
				t.Fatalf("seed %d: %d is %s", seed, id, got)
			case got == "old" && id+channels.Window > highest:
				t.Fatalf("seed %d: %d is old, highest is %d", seed, id, highest)
			}
			if got == "old" {
				olds++
			} else {
				served[id], highest = true, max(highest, id)
			}
		}
		if spread > 2*channels.Window && olds == 0 {
			t.Errorf("seed %d: nothing was old", seed)
		}
	}
}

func TestWindowCostsNothingInOrder(t *testing.T) {
	var w channels.TestWindow
	for id := range uint64(10_000) {
		w.Serve(id)
	}
	if !w.InOrder() {
		t.Error("a bitmap for ids in order")
	}
	if w.Serve(10_001); w.InOrder() {
		t.Error("no bitmap for an id out of order")
	}
}

// A request with an ackId that has been served is not served again; one that was refused is.
func TestDuplicates(t *testing.T) {
	target, _, addr := start(t, open, session.Config{})
	a, b := dial(t, addr, ""), dial(t, addr, "")
	b.ask(`{"type":"joinGroup","group":"g","ackId":1}`, ok("1"))
	const send = `{"type":"sendToGroup","group":"g","data":1,"ackId":`
	const got = `{"type":"message","from":"group","group":"g","dataType":"json","data":1}`
	a.ask(send+`5000}`, ok("5000")) // a's ids are no business of b's
	b.want(got)
	a.ask(send+`5000}`, `{"type":"ack","ackId":5000,"success":false,"error":{"name":"Duplicate","message":"a request with this ackId has been served"}}`)
	a.ask(`{"type":"joinGroup","group":"g","ackId":5000}`, `{"type":"ack","ackId":5000,"success":false,"error":{"name":"Duplicate","message":"a request with this ackId has been served"}}`)
	a.refused(send+`1}`, "BadRequest") // too old to tell
	a.ask(send+`4999}`, ok("4999"))
	b.want(got)
	a.ask(`{"type":"sendToGroup","group":"g","ackId":4998}`, `{"type":"ack","ackId":4998,"success":false,"error":{"name":"BadRequest","message":"no data"}}`)
	a.ask(send+`4998}`, ok("4998"))
	b.want(got)
	b.quiet()
	if st := target.Stats(); st.Duplicates != 2 || st.Refused["old_ack_id"] != 1 || st.Publishes != 3 || st.Joins != 1 {
		t.Errorf("counted %+v", st)
	}
}
