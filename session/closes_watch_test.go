package session_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"wsgateway/netpoll"
	"wsgateway/session"
	"wsgateway/wsproto"
)

// watcher is a Handler that checks for every session that its calls come one at a time, OnOpen
// first, OnClose once and last. It does what its clients tell it to: see obey.
type watcher struct {
	t      testing.TB
	srv    *session.Server
	faults atomic.Int64

	blocking bool // its calls may block

	lives   sync.Map // Session -> *life
	waiting sync.Map // name -> chan struct{}, closed by OnClose: see peer.awaitOver
	fresh   chan session.Session
	others  sync.WaitGroup // goroutines that close sessions

	opens, closes atomic.Int64
	quota         int64         // of closes
	reached       chan struct{} // closed when there are so many

	ends   tally // how sessions ended
	panics tally // by call
}

// life is what is known of one session.
type life struct {
	calls int // plain, and touched before busy: the race detector sees calls that nothing puts in order
	busy  atomic.Bool
	over  bool
	tcp   bool  // there is an address
	ends  bool  // OnOpen or OnMessage has closed it
	late  bool  // OnError and OnClose are to panic
	err   error // that of OnError
	alone string
	gone  atomic.Bool // OnClose has returned
	name  string      // in watcher.waiting
}

func newWatcher(t testing.TB, quota int) *watcher {
	return &watcher{t: t, quota: int64(quota), reached: make(chan struct{}), fresh: make(chan session.Session, 256)}
}

// fault reports the first few violations.
func (w *watcher) fault(format string, args ...any) {
	if w.faults.Add(1) <= 10 {
		w.t.Errorf(format, args...)
	}
}

// enter begins a call of the handler, which leave ends.
func (w *watcher) enter(s session.Session, call string) *life {
	v, ok := w.lives.Load(s)
	if !ok {
		w.fault("%s before OnOpen", call)
		return &life{}
	}
	l := v.(*life)
	l.calls++
	if !l.busy.CompareAndSwap(false, true) {
		w.fault("%s beside another call", call)
	}
	if l.over {
		w.fault("%s after OnClose", call)
	}
	if l.ends && call != "OnClose" && call != "OnError" {
		w.fault("%s after Close", call)
	}
	if rand.IntN(8) == 0 {
		runtime.Gosched() // a chance for a call that must not come now
	}
	return l
}

func (l *life) leave() { l.busy.Store(false) }

func (w *watcher) OnOpen(s session.Session, r *wsproto.Request) {
	if _, there := w.lives.LoadOrStore(s, &life{}); there {
		w.fault("OnOpen twice")
	}
	l := w.enter(s, "OnOpen")
	defer l.leave()
	n := w.opens.Add(1)
	l.tcp = s.RemoteAddr().IsValid()
	l.alone = "alone " + s.ID()
	for _, channel := range []string{l.alone, crowdName(int(n))} {
		if err := s.Join(channel); err != nil && s.IsAvailable() {
			w.fault("Join in OnOpen: %v", err)
		}
	}
	select {
	case w.fresh <- s:
	default: // the interferers have enough to do
	}
	command, name, _ := strings.Cut(string(r.RawQuery), ".")
	l.name = name
	w.obey(s, l, "OnOpen", command)
}

func (w *watcher) OnMessage(s session.Session, m session.Message) {
	l := w.enter(s, "OnMessage")
	defer l.leave()
	w.obey(s, l, "OnMessage", string(m.Data))
}

func (w *watcher) OnBinary(s session.Session, p []byte) {
	l := w.enter(s, "OnBinary")
	defer l.leave()
	w.obey(s, l, "OnBinary", string(p))
}

func (w *watcher) OnPing(s session.Session, p []byte) bool {
	l := w.enter(s, "OnPing")
	defer l.leave()
	w.obey(s, l, "OnPing", string(p))
	return true
}

func (w *watcher) OnPong(s session.Session, p []byte) {
	l := w.enter(s, "OnPong")
	defer l.leave()
	w.obey(s, l, "OnPong", string(p))
}

func (w *watcher) OnError(s session.Session, err error) {
	l := w.enter(s, "OnError")
	defer l.leave()
	if l.err != nil {
		w.fault("OnError twice: %v, %v", l.err, err)
	}
	l.err = err
	w.panicLate(l, "OnError")
}

func (w *watcher) OnClose(s session.Session, c session.CloseInfo) {
	l := w.enter(s, "OnClose")
	defer l.gone.Store(true)
	defer l.leave()
	l.over = true
	w.checkOver(s, l.alone)
	switch err := s.SetValue(l.name); {
	case w.blocking && (err != nil || s.Value() == nil): // known until it returns; whose it is, others may have changed
		w.fault("in OnClose: SetValue: %v, value %v", err, s.Value())
	case !w.blocking && !errors.Is(err, session.ErrClosed):
		w.fault("in OnClose: SetValue: %v", err)
	}
	if s.Path() != "/" || !s.RemoteAddr().IsValid() && l.tcp {
		w.fault("in OnClose: path %q, address %v", s.Path(), s.RemoteAddr())
	}
	if rand.IntN(16) == 0 {
		w.checkAbsent(s)
	}
	w.ends.add(ending(c, l.err))
	if ch, ok := w.waiting.LoadAndDelete(l.name); ok {
		close(ch.(chan struct{}))
	}
	if w.closes.Add(1) == w.quota {
		close(w.reached)
	}
	w.panicLate(l, "OnClose")
}

var block = make([]byte, 16<<10)

// obey does what a client says.
func (w *watcher) obey(s session.Session, l *life, call, command string) {
	switch command {
	case "close":
		code := wsproto.StatusCode(4000)
		if call == "OnOpen" {
			code = 4001
		}
		_ = s.Close(code, "") // or it has been closed
		l.ends = true
		if err := s.Join("late"); !errors.Is(err, session.ErrClosed) {
			w.fault("Join after Close: %v", err)
		}
	case "race":
		w.others.Go(func() { _ = s.Close(4002, "") })
	case "panic":
		w.panics.add(call)
		panic(call)
	case "late":
		l.late = true
	case "flood":
		for s.SendBinary(block) == nil {
		}
	case "stall":
		for s.BufferedAmount() == 0 && s.SendBinary(block) == nil {
		}
	}
}

func (w *watcher) panicLate(l *life, call string) {
	if l.late {
		w.panics.add(call)
		panic(call)
	}
}

// ending names how a session ended.
func ending(c session.CloseInfo, err error) string {
	if c.Code != wsproto.StatusAbnormal {
		return fmt.Sprintf("%d by %v", c.Code, c.Initiator)
	}
	switch {
	case errors.Is(err, netpoll.ErrReactorClosed):
		return "cut off"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, session.ErrEvicted):
		return "evicted"
	case err == session.ErrBroken:
		return "half-closed"
	}
	return "broken"
}

// checkOver checks that a session is over for everybody who still knows it.
func (w *watcher) checkOver(s session.Session, alone string) {
	for name, err := range map[string]error{
		"Send": s.Send(wsproto.OpText, nil), "SendPrepared": s.SendPrepared(hello), "SendPing": s.SendPing(nil),
		"SendPong": s.SendPong(nil), "Close": s.Close(1000, ""), "Join": s.Join("late"),
		"SetUser": s.SetUser("late"),
	} {
		if !errors.Is(err, session.ErrClosed) {
			w.fault("%s after the end: %v", name, err)
		}
	}
	if s.IsAvailable() || s.Channels() != nil {
		w.fault("after the end: available %v, channels %q", s.IsAvailable(), s.Channels())
	}
	if _, ok := w.srv.Lookup(s.ID()); ok {
		w.fault("Lookup finds a session that has ended")
	}
	if n := w.srv.MemberCount(alone); n != 0 {
		w.fault("%d members where the only one has ended", n)
	}
}

// checkAbsent looks for a session where the living are.
func (w *watcher) checkAbsent(s session.Session) {
	for i := range crowds {
		if slices.Contains(slices.Collect(w.srv.Members(crowdName(i))), s) {
			w.fault("a session that has ended is in a channel")
		}
	}
	if slices.Contains(slices.Collect(w.srv.Sessions()), s) {
		w.fault("Sessions has one that has ended")
	}
}

// checkEnd checks what is true when the server has closed.
func (w *watcher) checkEnd() {
	w.lives.Range(func(k, v any) bool {
		s, l := k.(session.Session), v.(*life)
		if !l.over {
			w.fault("OnOpen without OnClose")
		}
		w.checkOver(s, l.alone)
		if err := s.SetValue(1); !errors.Is(err, session.ErrClosed) {
			w.fault("SetValue after the end: %v", err)
		}
		if s.Value() != nil || s.User() != "" || s.Path() != "" || s.RemoteAddr() != (netip.AddrPort{}) || s.BufferedAmount() != 0 {
			w.fault("after OnClose: value %v, user %q, path %q, address %v, %d bytes buffered",
				s.Value(), s.User(), s.Path(), s.RemoteAddr(), s.BufferedAmount())
		}
		return true
	})
	st := w.srv.Stats()
	if o, c := w.opens.Load(), w.closes.Load(); o != c || st.Handshakes["101"] != uint64(o) {
		w.fault("%d times OnOpen, %d times OnClose, %d handshakes", o, c, st.Handshakes["101"])
	}
	counted := uint64(0)
	for _, c := range st.Closes {
		counted += c.Count
	}
	if counted != uint64(w.closes.Load()) {
		w.fault("%d closes counted, want %d", counted, w.closes.Load())
	}
	if got := st.HandlerPanics; got != w.panics.sum() {
		w.fault("%d panics counted, want %d", got, w.panics.sum())
	}
	if st.Conns != 0 || st.Sessions != 0 || st.QueueBytes != 0 || st.QueueMessages != 0 || st.InboundBytes != 0 ||
		st.Channels.Channels != 0 || st.Channels.Subscriptions != 0 || st.Channels.Users != 0 || st.Channels.UserSessions != 0 || st.Deflate.Sessions != 0 {
		w.fault("something is left: %+v", st)
	}
}

// tally counts things by name.
type tally struct {
	mu sync.Mutex
	n  map[string]uint64
}

func (t *tally) add(name string) { t.addN(name, 1) }

func (t *tally) addN(name string, n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = make(map[string]uint64)
	}
	t.n[name] += n
}

func (t *tally) addAll(kind string, n map[string]uint64) {
	for name, n := range n {
		t.addN(kind+name, n)
	}
}

func (t *tally) sum() (n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.n {
		n += k
	}
	return n
}
