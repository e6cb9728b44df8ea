package session_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// verdict is what a client asks the route's functions to do. It is the request's path.
type verdict string

const (
	accepts  verdict = "/accept"
	refuses  verdict = "/refuse"
	responds verdict = "/respond" // with a *wsproto.Response
	panics   verdict = "/panic"
	exits    verdict = "/exit" // with runtime.Goexit
	lingers  verdict = "/wait" // until its context ends; then it refuses
)

// applicant is a client that asks to be admitted.
type applicant struct {
	id      int // the query of its request
	verdict verdict
	plain   bool
	blank   string // empty lines before its request
	cuts    []int  // where its request is cut into pieces
	leaves  bool   // it resets the connection without waiting for the answer
}

func drawApplicant(t *rapid.T, id int, verdicts ...verdict) applicant {
	a := applicant{
		id:      id,
		verdict: rapid.SampledFrom(verdicts).Draw(t, "verdict"),
		plain:   rapid.IntRange(0, 3).Draw(t, "plain") == 0,
		blank:   rapid.SampledFrom([]string{"", "\r\n", "\r\n\r\n"}).Draw(t, "blank"),
		leaves:  rapid.IntRange(0, 3).Draw(t, "leaves") == 0,
	}
	a.cuts = rapid.SliceOfN(rapid.IntRange(1, len(a.request())-1), 0, 3).Draw(t, "cuts")
	return a
}

func (a applicant) request() string {
	target := fmt.Sprint(a.verdict, "?", a.id)
	if a.plain {
		return a.blank + "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n"
	}
	return a.blank + wstest.Request(target)
}

// apply sends the request, and returns the status of the answer, 0 for none, and whether more than one came. An
// accepted client leaves without a word.
func (a applicant) apply(addr string, e *examiner) (status int, err error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	rest := a.request()
	for i := range a.cuts {
		at := min(a.cuts[i], len(rest)-1) // the last piece is not empty
		if _, err := io.WriteString(c, rest[:at]); err != nil {
			return 0, err
		}
		rest = rest[at:]
	}
	if _, err := io.WriteString(c, rest); err != nil {
		return 0, err
	}
	r := bufio.NewReader(c)
	if a.leaves {
		if a.verdict == lingers { // while the call runs, unless the answer comes without one
			answered := make(chan struct{})
			go func() { // ends with the connection
				_, _ = r.Peek(1)
				close(answered)
			}()
			select {
			case <-e.begun(a.id):
			case <-answered:
			}
		}
		return 0, c.(*net.TCPConn).SetLinger(0)
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, nil // no answer, as from a goroutine that has ended
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return res.StatusCode, nil
	}
	_, _ = io.Copy(io.Discard, res.Body)
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		return 0, fmt.Errorf("behind the answer came %q, %v", rest, err)
	}
	return res.StatusCode, nil
}

// want is the status of the answer that the client gets if it waits for it; 0 for none.
func (a applicant) want(async bool) int {
	switch a.verdict {
	case refuses:
		return http.StatusForbidden
	case responds:
		return http.StatusTeapot
	case panics:
		return http.StatusInternalServerError
	case exits:
		if async {
			return http.StatusInternalServerError
		}
		return 0 // the turn ends with its goroutine, and the connection with the turn
	case lingers:
		return http.StatusServiceUnavailable
	}
	if a.plain {
		return http.StatusOK
	}
	return http.StatusSwitchingProtocols
}

// examiner has a route whose functions do what the path says, and counts.
type examiner struct {
	mu             sync.Mutex
	asked          map[string]int           // about whom, and how often
	begins         map[string]chan struct{} // closed when somebody is asked about for the first time
	opened, closed atomic.Int64             // sessions, by the table that had accepted them
	ended          atomic.Int64             // sessions
}

// teapot is a response of the route's own, which errTeapot stands for.
var (
	teapot    = &wsproto.Response{Status: http.StatusTeapot, Body: []byte("no")}
	errTeapot = errors.New("a response")
)

func (e *examiner) decide(ctx context.Context, r *wsproto.Request) error {
	e.mu.Lock()
	id := string(r.RawQuery)
	if e.asked[id]++; e.asked[id] == 1 {
		close(e.beginLocked(id))
	}
	e.mu.Unlock()
	switch verdict(r.Path) {
	case refuses:
		return wsproto.ErrForbidden
	case responds:
		return errTeapot
	case panics:
		panic("asked to")
	case exits:
		runtime.Goexit()
	case lingers:
		<-ctx.Done()
		return wsproto.ErrForbidden // nobody is there any more to hear it
	}
	return nil
}

// begun returns a channel that is closed when the first decision about a client begins.
func (e *examiner) begun(id int) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.beginLocked(fmt.Sprint(id))
}

func (e *examiner) beginLocked(id string) chan struct{} {
	if e.begins[id] == nil {
		e.begins[id] = make(chan struct{})
	}
	return e.begins[id]
}

// times is how often a client was decided about.
func (e *examiner) times(id int) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked[fmt.Sprint(id)]
}

// route returns the route of one table: a session that one table accepts must not be served by another.
func (e *examiner) route(mode session.Mode, upgrade session.UpgradeMode, table int) session.Route {
	return session.Route{
		Path: "/{verdict}", Mode: mode, UpgradeMode: upgrade,
		OnUpgrade: func(u *session.Upgrade) error {
			u.Value = table
			err := e.decide(u.Context, u.Request)
			if err == errTeapot {
				return u.Respond(teapot)
			}
			return err
		},
		HTTP: func(r *wsproto.Request) *wsproto.Response {
			switch e.decide(context.Background(), r) {
			case nil:
				return &wsproto.Response{Status: http.StatusOK, Body: []byte("page")}
			case errTeapot:
				return teapot
			default:
				return &wsproto.Response{Status: http.StatusForbidden}
			}
		},
		Handler: session.HandlerFuncs{
			Open: func(s session.Session, r *wsproto.Request) {
				if len(r.Path) < 2 || !strings.HasPrefix(string(r.Head()), "GET "+string(r.Path)) || "/"+r.PathValue("verdict") != string(r.Path) {
					panic("the request is another's")
				}
				if s.Value() == table && "/"+s.PathValue("verdict") == s.Path() {
					e.opened.Add(1)
				}
			},
			Close: func(s session.Session, _ session.CloseInfo) {
				if s.Value() == table && "/"+s.PathValue("verdict") == s.Path() {
					e.closed.Add(1)
				}
				e.ended.Add(1)
			},
		},
	}
}

// Whatever a route's functions do, wherever they run, and whether the client is still there: a request gets
// exactly one answer, or none if its client has left, and nothing of it is kept. It is decided about by the
// routes in which it was found, whatever replaces them meanwhile.
func TestPropertyAdmission(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		mode := rapid.SampledFrom([]session.Mode{session.MayBlock, session.NeverBlocks, session.OnLoop}).Draw(rt, "mode")
		upgrade := rapid.SampledFrom([]session.UpgradeMode{session.UpgradeAsMode, session.UpgradeMayBlock, session.UpgradeNeverBlocks}).Draw(rt, "upgrade")
		async := upgrade == session.UpgradeMayBlock || upgrade == session.UpgradeAsMode && mode == session.MayBlock
		e := &examiner{asked: make(map[string]int), begins: make(map[string]chan struct{})}
		cfg := session.Config{
			Routes:           []session.Route{e.route(mode, upgrade, 0)},
			BlockingCalls:    rapid.IntRange(1, 4).Draw(rt, "calls"),
			HandshakeTimeout: time.Minute,
		}
		var list []applicant
		if async && rapid.IntRange(0, 3).Draw(rt, "late") == 0 { // no decision comes in time
			cfg.HandshakeTimeout = 30 * time.Millisecond
			cfg.BlockingCalls = 16
			for i := range rapid.IntRange(1, 6).Draw(rt, "clients") {
				a := drawApplicant(rt, i, lingers)
				a.plain, a.cuts, a.leaves = false, nil, rapid.Bool().Draw(rt, "leaves early")
				list = append(list, a)
			}
		} else {
			for i := range rapid.IntRange(1, 12).Draw(rt, "clients") {
				list = append(list, drawApplicant(rt, i, accepts, refuses, responds, panics, exits))
			}
		}
		tables := rapid.IntRange(0, 5).Draw(rt, "tables")
		admissions(rt, t, e, cfg, list, async, func(srv *session.Server) {
			for i := range tables {
				if err := srv.SetRoutes([]session.Route{e.route(mode, upgrade, i+1)}); err != nil {
					rt.Error(err)
				}
				runtime.Gosched()
			}
		})
	})
}

// admissions has clients apply all at once, while swap replaces the routes, and checks what came of it.
func admissions(rt *rapid.T, t *testing.T, e *examiner, cfg session.Config, list []applicant, async bool, swap func(*session.Server)) {
	srv, err := session.NewServer(cfg)
	if err != nil {
		rt.Fatal(err)
	}
	defer srv.Close()
	addr, err := srv.Listen("127.0.0.1:0")
	if err != nil {
		rt.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		rt.Fatal(err)
	}
	type outcome struct {
		applicant
		status int
		err    error
	}
	outcomes := make(chan outcome)
	for _, a := range list {
		go func() {
			status, err := a.apply(addr.String(), e)
			outcomes <- outcome{a, status, err}
		}()
	}
	swap(srv)
	for range list {
		o := <-outcomes
		if o.err != nil {
			rt.Errorf("%+v: %v", o.applicant, o.err)
		}
		if o.verdict == lingers && e.times(o.id) == 0 {
			continue // its request was not complete in time, or nobody came to be asked
		}
		if want := o.want(async); !o.leaves && o.status != want {
			rt.Errorf("%+v: the answer has status %d, want %d (0: none)", o.applicant, o.status, want)
		}
	}
	waits.Eventually(t, func() bool {
		st := srv.Stats()
		return st.RouteTables == 1 && session.RouteUsers(srv) == 0 && st.Conns == 0 && st.Sessions == 0 && st.Blocking.Busy == 0 && st.Blocking.Waiting == 0 && st.InboundBytes == 0
	}, "connections, calls and buffers are given back")
	answered := uint64(0)
	for _, n := range srv.Stats().Handshakes {
		answered += n
	}
	if answered > uint64(len(list)) {
		rt.Errorf("%d requests were answered or given up %d times", len(list), answered)
	}
	if opened, closed, ended := e.opened.Load(), e.closed.Load(), e.ended.Load(); opened != closed || closed != ended {
		rt.Errorf("OnOpen was called %d times by the right table, OnClose %d times of %d", opened, closed, ended)
	}
	for _, a := range list {
		if n := e.times(a.id); n > 1 {
			rt.Errorf("%+v was decided about %d times", a, n)
		}
	}
}
