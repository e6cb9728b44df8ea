package webpubsub_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"wsgateway/session"
	"wsgateway/webpubsub"
)

func TestAckSet(t *testing.T) {
	const n, last = webpubsub.MaxAckIntervals, math.MaxUint64
	for name, steps := range map[string][]step{
		"in order":          {{1, "new"}, {2, "new"}, {3, "new"}, {1, "served"}, {3, "served"}, {4, "new"}, {0, "new"}},
		"zero":              {{0, "new"}, {0, "served"}, {1, "new"}, {0, "served"}, {1, "served"}, {2, "new"}},
		"backwards":         {{5, "new"}, {4, "new"}, {3, "new"}, {2, "new"}, {1, "new"}, {1, "served"}, {3, "served"}, {5, "served"}, {6, "new"}, {6, "served"}},
		"one is high":       {{1_000_000, "new"}, {1, "new"}, {2, "new"}, {3, "new"}, {1_000_000, "served"}, {2, "served"}, {4, "new"}, {1_000_001, "new"}, {5, "new"}},
		"first is high":     {{1025, "new"}, {1, "new"}, {2, "new"}, {1025, "served"}, {1, "served"}, {1024, "new"}, {1026, "new"}, {1025, "served"}},
		"first is the last": {{last, "new"}, {1, "new"}, {2, "new"}, {last, "served"}, {1, "served"}, {0, "new"}, {3, "new"}, {last - 1, "new"}, {last, "served"}},
		"ends do not touch": {{last, "new"}, {0, "new"}, {last, "served"}, {0, "served"}, {1, "new"}, {last - 1, "new"}, {2, "new"}, {last - 2, "new"}},
		"gap is filled":     {{1, "new"}, {3, "new"}, {2, "new"}, {1, "served"}, {2, "served"}, {3, "served"}, {4, "new"}, {0, "new"}},
		"as many as fit":    slices.Concat(gaps(2, n), []step{{2, "served"}, {3, "new"}, {1, "new"}, {0, "new"}, {2*n - 1, "new"}, {2*n + 1, "new"}}),
		"one too many":      slices.Concat(gaps(2, n+1), []step{{2, "old"}, {1, "old"}, {0, "old"}, {4, "served"}, {3, "new"}, {3, "served"}, {5, "new"}, {2, "old"}}),
		"lowest is long":    slices.Concat(countdown(9, 8), gaps(12, n), []step{{9, "old"}, {2, "old"}, {0, "old"}, {10, "new"}, {11, "new"}, {12, "served"}}),
		"twice as many":     slices.Concat(gaps(2, 2*n), []step{{2 * n, "old"}, {2*n - 1, "old"}, {2*n + 1, "new"}, {2*n + 2, "served"}}),
		"no room below":     slices.Concat(gaps(1000, n), []step{{1, "new"}, {1, "old"}, {2, "new"}, {3, "new"}, {7, "new"}, {6, "old"}, {999, "new"}, {998, "new"}, {996, "new"}, {996, "old"}, {997, "new"}, {995, "old"}}),
		"no room between":   slices.Concat(gaps(1000, n-1), []step{{3000, "new"}, {2000, "new"}, {1000, "old"}, {1001, "new"}, {2000, "served"}, {2001, "new"}, {3000, "served"}}),
		"up to the last":    slices.Concat(gaps(last-2*n, n+1), []step{{last - 2*n, "old"}, {last - 2*n + 1, "new"}, {last, "served"}, {last - 1, "new"}, {last - 2, "served"}}),
	} {
		var s webpubsub.AckSet
		for i, step := range steps {
			if got := s.Serve(step.id); got != step.want {
				t.Errorf("%s: step %d: %d is %s, want %s", name, i, step.id, got, step.want)
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

// gaps are every other id.
func gaps(from uint64, n int) (steps []step) {
	for i := range n {
		steps = append(steps, step{from + 2*uint64(i), "new"})
	}
	return steps
}

// ackModel is what an AckSet shall be: a set of the ids that are known, and one of all that were served.
type ackModel struct {
	known, served map[uint64]bool
	intervals     int
	floor         uint64
}

func (m *ackModel) state(id uint64) string {
	switch {
	case m.known[id]:
		return "served"
	case id < m.floor:
		return "old"
	}
	return "new"
}

func (m *ackModel) serve(id uint64) {
	m.known[id], m.served[id] = true, true
	m.intervals++
	if id > 0 && m.known[id-1] {
		m.intervals--
	}
	if id < math.MaxUint64 && m.known[id+1] {
		m.intervals--
	}
	if m.intervals <= webpubsub.MaxAckIntervals {
		return
	}
	lowest := uint64(math.MaxUint64)
	for id := range m.known {
		lowest = min(lowest, id)
	}
	for ; m.known[lowest]; lowest++ {
		delete(m.known, lowest)
	}
	m.floor = lowest
	m.intervals--
}

// Against sets that forget nothing: no id is new twice, none is said to have been served when it was
// not, and nothing is old without need.
func TestAckSetModel(t *testing.T) {
	edges := []uint64{0, 1, 2, 1024, 1025, math.MaxUint64 - 2, math.MaxUint64 - 1, math.MaxUint64}
	rapid.Check(t, func(t *rapid.T) {
		var s webpubsub.AckSet
		m := ackModel{known: map[uint64]bool{}, served: map[uint64]bool{}}
		serve := func(id uint64) {
			got, want := s.Serve(id), m.state(id)
			if got == "new" && m.served[id] || got == "served" && !m.served[id] || got != want {
				t.Fatalf("%d is %s, want %s; it has been served: %v", id, got, want, m.served[id])
			}
			if want == "new" {
				if m.serve(id); m.known[id] && !m.known[id+1] && s.Next() != id+1 {
					t.Fatalf("after %d comes %d", id, s.Next())
				}
			}
			if n, room := s.Intervals(); n != m.intervals || room > webpubsub.MaxAckIntervals || s.Floor() != m.floor {
				t.Fatalf("after %d: %d intervals in room for %d, floor %d; want %d, %d", id, n, room, s.Floor(), m.intervals, m.floor)
			}
		}
		var at uint64
		for range rapid.IntRange(1, 40).Draw(t, "runs") {
			switch rapid.IntRange(0, 5).Draw(t, "from") {
			case 0:
				at = rapid.SampledFrom(edges).Draw(t, "edge")
			case 1:
				at = rapid.Uint64().Draw(t, "id")
			case 2, 3:
				at = rapid.Uint64Range(0, 1000).Draw(t, "low id")
			case 4:
				at = m.floor
			} // 5: where it is
			by := rapid.SampledFrom([]int64{1, 1, 2, 3, 1000, -1, -2, 0}).Draw(t, "by")
			for range rapid.IntRange(1, 2*webpubsub.MaxAckIntervals).Draw(t, "ids") {
				at += uint64(by) // 0 comes after the last id
				if rapid.IntRange(0, 9).Draw(t, "near") == 0 {
					serve(at + uint64(rapid.Int64Range(-3, 3).Draw(t, "off")))
				}
				serve(at)
			}
		}
		for id := range m.served {
			for _, id := range []uint64{id - 1, id, id + 1} {
				if got := s.State(id); got != m.state(id) {
					t.Fatalf("in the end %d is %s, want %s", id, got, m.state(id))
				}
			}
		}
	})
}

// Ids in order cost one interval and no memory each, whatever they begin with, and gaps cost no more than
// the bound.
func TestAckSetMemory(t *testing.T) {
	var s webpubsub.AckSet
	if n, room := s.Intervals(); n+room != 0 {
		t.Errorf("%d intervals in room for %d before the first id", n, room)
	}
	id := uint64(5000)
	s.Serve(id)
	if n := testing.AllocsPerRun(1000, func() { id++; s.Serve(id) }); n != 0 {
		t.Errorf("%v allocations for an id", n)
	}
	if n, room := s.Intervals(); n != 1 || room != 1 {
		t.Errorf("%d intervals in room for %d", n, room)
	}
	low := uint64(0)
	s.Serve(low)
	if n := testing.AllocsPerRun(1000, func() { id++; low++; s.Serve(id); s.Serve(low) }); n != 0 {
		t.Errorf("%v allocations for two ids", n)
	}
	if n, room := s.Intervals(); n != 2 || room != 2 {
		t.Errorf("%d intervals in room for %d", n, room)
	}
	for range 2 * webpubsub.MaxAckIntervals {
		id += 2
		s.Serve(id)
	}
	if n := testing.AllocsPerRun(1000, func() { id += 2; s.Serve(id) }); n != 0 {
		t.Errorf("%v allocations for an id when there is no room", n)
	}
	if n, room := s.Intervals(); n != webpubsub.MaxAckIntervals || room != n {
		t.Errorf("%d intervals in room for %d", n, room)
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
	for _, id := range []string{"1", "18446744073709551615", "4999", "2"} { // in any order
		a.ask(send+id+`}`, ok(id))
		b.want(got)
	}
	a.ask(`{"type":"sendToGroup","group":"g","ackId":4998}`, `{"type":"ack","ackId":4998,"success":false,"error":{"name":"BadRequest","message":"no data"}}`)
	a.ask(send+`4998}`, ok("4998"))
	b.want(got)
	b.quiet()

	c := dial(t, addr, "")
	for i := range webpubsub.MaxAckIntervals + 1 {
		id := fmt.Sprint(2 + 2*i)
		c.ask(`{"type":"leaveGroup","group":"g","ackId":`+id+`}`, ok(id))
	}
	c.refused(send+`1}`, "BadRequest") // too old to tell
	c.ask(send+`3}`, ok("3"))
	b.want(got)
	if st := target.Stats(); st.Duplicates != 2 || st.Refused["old_ack_id"] != 1 || st.Publishes != 7 || st.Joins != 1 {
		t.Errorf("counted %+v", st)
	}
}
