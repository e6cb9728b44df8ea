package session_test

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"wsgateway/session"
	"wsgateway/wsproto"
)

const (
	publishers = 3
	actors     = 4  // goroutines whose sessions come and go
	fewest     = 60 // members of a channel that is served at once
)

// publishing is what a publisher does next.
type publishing struct {
	To     string
	Except []int // sessions
	Drain  bool  // wait until all has been sent before
}

// acting is what an actor does next with one of its sessions.
type acting struct {
	Do      string
	Session int
	To      string // channel or user
	After   int    // publications since the last act
}

var (
	publishings = rapid.Custom(func(t *rapid.T) publishing {
		return publishing{
			To:     rapid.SampledFrom([]string{"big", "big", "big", "small 0", "small 1", "user 0", "all"}).Draw(t, "to"),
			Except: rapid.SliceOfN(rapid.IntRange(0, 9), 0, 3).Draw(t, "except"),
			Drain:  rapid.IntRange(0, 9).Draw(t, "drain") == 0,
		}
	})
	actings = rapid.Custom(func(t *rapid.T) acting {
		return acting{
			Do: rapid.SampledFrom([]string{"join", "leave", "all join", "all leave", "all rejoin", "all rejoin", "user", "pause", "read",
				"client close", "server close", "reset", "overflow"}).Draw(t, "do"),
			Session: rapid.IntRange(0, 99).Draw(t, "session"),
			To:      rapid.SampledFrom([]string{"big", "big", "small 0", "small 1"}).Draw(t, "to"),
			After:   rapid.IntRange(0, 10).Draw(t, "after"),
		}
	})
)

// run is one run of publishers and actors beside each other. It notes when everything was called, and when
// it returned, on a clock of its own.
type run struct {
	*harness
	clock     atomic.Int64
	done      atomic.Int64 // publications
	silent    atomic.Bool  // the publishers are through
	clients   []*attendee
	published [publishers][]publication

	mu     sync.Mutex
	drains []span // in each of which nothing waited at some time
	errs   []string
}

// span is a stretch of time.
type span struct{ from, to int64 }

func (a span) meets(b span) bool { return a.from < b.to && b.from < a.to }

const always = math.MaxInt64

// publication is one call of Publish, SendUser or SendAll.
type publication struct {
	publishing
	text    string
	call    span
	refused bool
}

// attendee is a client, and when it was in what.
type attendee struct {
	*peerRecorder
	small bool // may be in channels that stay small
	user  string
	stays map[string][]stay
	ended string // how
}

// stay is from when joining was called, and had returned, until leaving was called, and had returned.
type stay struct{ join, leave span }

func (a *attendee) in(to string) bool {
	s := a.stays[to]
	return len(s) > 0 && s[len(s)-1].leave.from == always
}

// Publishers, and sessions that come and go, side by side. Everybody receives, of each publisher and
// channel, what was published while he was a member: in order, once and without a gap, nothing else.
func TestPropertyConcurrent(t *testing.T) {
	dir := propertyDir(t)
	for _, clients := range []int{12, 68, 160} { // the large channel never is, is now and then, has parts of several slices
		t.Run(fmt.Sprint(clients, " clients"), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { propertyRun(t, dir, clients) })
		})
	}
}

func propertyRun(t *rapid.T, dir string, clients int) {
	var toPublish [publishers][]publishing
	for i := range toPublish {
		toPublish[i] = rapid.SliceOfN(publishings, 20, 60).Draw(t, fmt.Sprint("publisher ", i))
	}
	var toDo [actors][]acting
	for i := range toDo {
		toDo[i] = rapid.SliceOfN(actings, 5, 40).Draw(t, fmt.Sprint("actor ", i))
	}
	var cfg session.Config
	cfg.Publications = rapid.SampledFrom([]int{2, 20, 4096}).Draw(t, "publications")
	cfg.Reactor.QueueMessages = 4096
	r := &run{harness: newHarness(t, dir, cfg)}
	for i := range clients {
		r.enter(t, i)
	}
	var publishing, acting, looking sync.WaitGroup
	for i := range toPublish {
		publishing.Go(func() { r.publish(i, toPublish[i]) })
	}
	for i := range toDo {
		acting.Go(func() { r.act(i, toDo[i]) })
	}
	looking.Go(r.look)
	publishing.Wait()
	r.silent.Store(true)
	acting.Wait()
	looking.Wait()
	r.drained(t)
	for _, msg := range r.errs {
		t.Error(msg)
	}
	r.check(t)
	r.checkMembers(t)
}

// enter has a client come, and join what there is.
func (r *run) enter(t *rapid.T, i int) {
	from := r.clock.Add(1)
	a := &attendee{peerRecorder: r.harness.join(t), small: i < fewest, stays: make(map[string][]stay)}
	a.stays["all"] = []stay{{join: span{from, r.clock.Add(1)}, leave: span{always, always}}}
	r.clients = append(r.clients, a)
	r.join(a, "big")
	if a.small {
		r.join(a, fmt.Sprint("small ", i%2))
		r.setUser(a, fmt.Sprint("user ", i%3))
	}
}

func (r *run) join(a *attendee, to string) {
	if a.in(to) || strings.HasPrefix(to, "small") && !a.small {
		return
	}
	from := r.clock.Add(1)
	if err := a.Join(to); err != nil {
		r.fault("Join: %v", err)
	}
	a.stays[to] = append(a.stays[to], stay{span{from, r.clock.Add(1)}, span{always, always}})
}

func (r *run) leave(a *attendee, to string) {
	if a.in(to) {
		a.left(to, r.timed(func() { a.Leave(to) }))
	}
}

func (a *attendee) left(to string, leave span) { a.stays[to][len(a.stays[to])-1].leave = leave }

func (r *run) setUser(a *attendee, user string) {
	if user == a.user || !a.small {
		return
	}
	call := r.timed(func() {
		if err := a.SetUser(user); err != nil {
			r.fault("SetUser: %v", err)
		}
	})
	if a.user != "" {
		a.left(a.user, call)
	}
	a.stays[user] = append(a.stays[user], stay{call, span{always, always}})
	a.user = user
}

// end ends a session, and with it all that it is in.
func (r *run) end(a *attendee, how string) {
	call := r.timed(func() {
		if err := a.peerRecorder.end(how); err != nil {
			r.fault("%v", err)
		}
	})
	for to := range a.stays {
		if a.in(to) {
			a.left(to, call)
		}
	}
	a.ended = how
}

func (r *run) timed(f func()) span {
	from := r.clock.Add(1)
	f()
	return span{from, r.clock.Add(1)}
}

func (r *run) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, fmt.Sprintf(format, args...))
}

// publish is one publisher.
func (r *run) publish(number int, list []publishing) {
	for i, do := range list {
		if do.Drain {
			r.drain()
		}
		p := publication{publishing: do, text: fmt.Sprintf("%s,%d,%d", do.To, number, i)}
		m := session.Prepare(wsproto.OpText, []byte(p.text))
		var except []session.Session
		for _, x := range do.Except {
			except = append(except, r.clients[x].Session)
		}
		var err error
		p.call = r.timed(func() {
			switch {
			case do.To == "all":
				_, err = r.srv.SendAll("", m, except...)
			case strings.HasPrefix(do.To, "user"):
				_, err = r.srv.SendUser(do.To, m, except...)
			default:
				_, err = r.srv.Publish(do.To, m, except...)
			}
		})
		if p.refused = err == session.ErrBusy; err != nil && !p.refused {
			r.fault("publishing: %v", err)
		}
		r.published[number] = append(r.published[number], p)
		r.done.Add(1)
		runtime.Gosched() // the actors keep pace
	}
}

// drain waits until nothing waits to be sent, and notes that.
func (r *run) drain() {
	for {
		nothing := false
		when := r.timed(func() { nothing = r.srv.Stats().Channels.Waiting == 0 })
		if nothing {
			r.mu.Lock()
			r.drains = append(r.drains, when)
			r.mu.Unlock()
			return
		}
		runtime.Gosched()
	}
}

// act is one actor, which has every fourth of the sessions in the first two thirds to itself.
func (r *run) act(number int, list []acting) {
	var own []*attendee
	for i := number; i < len(r.clients)*2/3; i += actors {
		own = append(own, r.clients[i])
	}
	next := int64(0)
	for _, do := range list {
		for next += int64(do.After); r.done.Load() < next && !r.silent.Load(); {
			runtime.Gosched()
		}
		a := own[do.Session%len(own)]
		if a.ended != "" {
			continue
		}
		switch do.Do {
		case "join":
			r.join(a, do.To)
		case "leave":
			r.leave(a, do.To)
		case "all join", "all leave", "all rejoin":
			r.moveAll(own, do)
		case "user":
			r.setUser(a, fmt.Sprint("user ", do.Session%3))
		case "pause", "read":
			a.pause(do.Do == "pause")
		default:
			r.end(a, do.Do)
		}
	}
}

// moveAll has all sessions of an actor join or leave, or one after the other leave and come back.
func (r *run) moveAll(own []*attendee, do acting) {
	for _, a := range own {
		if a.ended == "" && do.Do != "all join" {
			r.leave(a, do.To)
		}
		if a.ended == "" && do.Do != "all leave" {
			r.join(a, do.To)
		}
	}
}

// look looks at everything meanwhile.
func (r *run) look() {
	for !r.silent.Load() {
		for s := range r.srv.Members("big") {
			if got, ok := r.srv.Lookup(s.ID()); ok && got != s {
				r.fault("Lookup returns another session")
			}
			_ = s.Channels()
		}
		for name, n := range r.srv.Channels() {
			if n < 1 || n > len(r.clients) {
				r.fault("channel %s with %d members", name, n)
			}
		}
		runtime.Gosched()
	}
}
