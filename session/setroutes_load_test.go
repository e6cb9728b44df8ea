package session_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
	"wsgateway/session"
)

// generationHandler answers every message with the generation of its route.
type generationHandler struct {
	session.HandlerFuncs
	generation string
}

func (h *generationHandler) OnMessage(s session.Session, _ session.Message) {
	_ = s.SendText(h.generation)
}

// swaps is a server whose routes are replaced while clients come and send.
type swaps struct {
	*testing.T
	srv    *session.Server
	addr   string
	opened atomic.Int64
	freed  atomic.Int64 // handlers of earlier generations that are garbage
}

// routes returns the routes of a generation, whose handler is counted when it is garbage.
func (w *swaps) routes(generation int) []session.Route {
	h := &generationHandler{generation: strconv.Itoa(generation)}
	runtime.AddCleanup(h, func(n *atomic.Int64) { n.Add(1) }, &w.freed)
	mode := []session.Mode{session.MayBlock, session.NeverBlocks, session.OnLoop}[generation%3]
	return []session.Route{
		{Path: fmt.Sprintf("/only-%d", generation), Mode: mode, Handler: h},
		{Path: "/", Mode: mode, Handler: h},
	}
}

// generationClient is a client that knows the generation of its route.
type generationClient struct {
	*wstest.Client
	generation string
}

// clients opens n clients, one after the other. Each asks which generation is its own, and so do some
// of those before it.
func (w *swaps) clients(n int) (list []generationClient) {
	for range n {
		c := wstest.Dial(w, w.addr, "/")
		c.SendText("which")
		list = append(list, generationClient{c, c.ReadText()})
		w.opened.Add(1)
		for range 3 {
			list[rand.IntN(len(list))].ask()
		}
	}
	return list
}

func (c generationClient) ask() {
	c.SendText("which")
	c.WantText(c.generation)
}

// Thousands of sessions live through a hundred SetRoutes under load: none is dropped, each keeps
// its generation, and a generation is freed with its last session. WSGATEWAY_ROUTE_SESSIONS is how
// many; 500 by default, and fewer where there are not two descriptors for each.
func TestSetRoutesUnderLoad(t *testing.T) {
	const sets, workers = 100, 8
	count := 500
	if v := os.Getenv("WSGATEWAY_ROUTE_SESSIONS"); v != "" {
		var err error
		if count, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	count = min(count, int(min(files.Cur, 1<<30)-500)/2)
	w := &swaps{T: t}
	w.srv, w.addr = wstest.Serve(t, session.Config{Routes: w.routes(1)})
	lists := make([][]generationClient, workers)
	var dialing sync.WaitGroup
	for i := range lists {
		dialing.Go(func() { lists[i] = w.clients(count / workers) })
	}
	for i := range sets {
		waits.Eventually(t, func() bool {
			return t.Failed() || w.opened.Load() >= int64((i+1)*(count/workers*workers)/(sets+1))
		}, "more clients have come")
		setRoutes(t, w.srv, w.routes(i+2)...)
	}
	dialing.Wait()
	w.check(lists, sets)
}

// check asks every client once more and has them leave, and waits until nothing is left of the
// generations that they held.
func (w *swaps) check(lists [][]generationClient, sets int) {
	held := map[string]bool{strconv.Itoa(sets + 1): true}
	for _, list := range lists {
		for _, c := range list {
			c.ask()
			held[c.generation] = true
		}
	}
	st := w.srv.Stats()
	if int64(st.Sessions) != w.opened.Load() || len(st.Closes) > 0 {
		w.Errorf("%d of %d sessions are open, closes %v; want all, and none", st.Sessions, w.opened.Load(), st.Closes)
	}
	if st.RouteTables != len(held) || st.RouteGeneration != uint64(sets+1) || len(held) < sets/2 {
		w.Errorf("%d route tables, generation %d; want %d, which is at least %d, and %d", st.RouteTables, st.RouteGeneration, len(held), sets/2, sets+1)
	}
	w.Logf("%d sessions of %d generations", st.Sessions, len(held))
	for _, list := range lists {
		for _, c := range list {
			c.Conn.Close()
		}
	}
	clear(lists)
	wantTables(w.T, w.srv, 1)
	waits.Becomes(w, func() int64 { runtime.GC(); return w.freed.Load() }, int64(sets), "handlers of earlier generations that are garbage")
}
