package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"wsgateway/internal/waits"
	"wsgateway/internal/wstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSubscribe(t *testing.T) {
	m, addr := start(t, 100, 3)
	c := dial(t, addr)
	if got := c.read(); len(got.Symbols) != 100 || got.Symbols[0] != "AAA" || got.Symbols[99] != "ADV" || got.Watch != 3 {
		t.Fatalf("it said %+v first", got)
	}
	price := func(symbol string) {
		t.Helper()
		if got, want := c.read(), m.price(symbol); got.Symbol != symbol || got.Price != want {
			t.Fatalf("got %+v, want %s at %.2f", got, symbol, want)
		}
	}
	// Each price comes at once, and whenever it changes.
	c.send(`{"subscribe":["AAA","AAB"]}`)
	price("AAA")
	price("AAB")
	for range 3 {
		for _, symbol := range []string{"AAB", "AAC", "AAA"} { // AAC is not watched
			m.move(symbol)
		}
		price("AAB")
		price("AAA")
	}
	// With one request some may go and others come: the symbols that go are first.
	c.send(`{"subscribe":["AAC","AAD"],"unsubscribe":["AAA"]}`)
	price("AAC")
	price("AAD")
	m.move("AAA")
	m.move("AAD")
	price("AAD")

	for request, want := range map[string]string{
		`{"subscribe":["AAE"]}`:                              "AAE is one too many: at most 3 can be watched",
		`{"subscribe":["AAA","XYZ"]}`:                        `unknown symbol "XYZ"`,
		`{"unsubscribe":["aac"]}`:                            `unknown symbol "aac"`,
		`{"subscribe":["` + strings.Repeat("x", 900) + `"]}`: `unknown symbol "` + strings.Repeat("x", 20) + `"`,
		`{"subscribe":"AAA"}`:                                `send {"subscribe":["AAA"]} or {"unsubscribe":["AAA"]}`,
		`subscribe AAA`:                                      `send {"subscribe":["AAA"]} or {"unsubscribe":["AAA"]}`,
		`{}`:                                                 `send {"subscribe":["AAA"]} or {"unsubscribe":["AAA"]}`,
	} {
		c.send(request)
		if got := c.read(); got.Error != want {
			t.Errorf("%.60s: got %+v, want %s", request, got, want)
		}
	}
	if n := m.srv.Stats().Channels.Subscriptions; n != 3 {
		t.Errorf("%d subscriptions, want 3", n)
	}
	c.send(`{"subscribe":["` + strings.Repeat("x", 2000) + `"]}`)
	c.AnswerClose(1009)
}

// A client that does not read for a while gets the latest price of each symbol afterwards, and
// stays. Another one, which reads, misses nothing meanwhile.
func TestSlowClientGetsLatestPrices(t *testing.T) {
	const symbols = 200
	m, addr := start(t, 2*symbols, symbols)
	slow, quick := dial(t, addr), dial(t, addr)
	names := slow.read().Symbols[:symbols]
	_ = quick.read()
	request, _ := json.Marshal(map[string][]string{"subscribe": names})
	slow.send(string(request))
	for range symbols { // now it is subscribed
		_ = slow.read()
	}
	quick.send(`{"subscribe":["AAA"]}`)
	_ = quick.read()

	// The slow one does not read until prices have been replaced in its queue, each of them many
	// times over.
	rounds := 0
	for m.srv.Stats().Conflated < 20*symbols {
		if rounds++; rounds > 100_000 {
			t.Fatalf("nothing is replaced: %+v", m.srv.Stats())
		}
		for _, name := range names {
			m.move(name)
		}
		if got, want := quick.read().Price, m.price("AAA"); got != want {
			t.Fatalf("the quick client got %.2f, want %.2f", got, want)
		}
	}
	// Now it reads. What it gets last of each symbol is the latest.
	sent := uint64(rounds * symbols)
	latest, got := make(map[string]float64), uint64(0)
	for lost := m.srv.Stats().Conflated; got < sent-lost; got++ {
		p := slow.read()
		latest[p.Symbol] = p.Price
	}
	for _, name := range names {
		if latest[name] != m.price(name) {
			t.Errorf("%s: got %.2f at last, want %.2f", name, latest[name], m.price(name))
		}
	}
	t.Logf("%d prices, of which %d were read", sent, got)

	// It goes on as if nothing had been.
	m.move("AAB")
	if p := slow.read(); p.Symbol != "AAB" || p.Price != m.price("AAB") {
		t.Errorf("got %+v, want AAB at %.2f", p, m.price("AAB"))
	}
	if st := m.srv.Stats(); st.Sessions != 2 || st.Dropped != 0 || len(st.SlowConsumers) != 0 {
		t.Errorf("%d sessions, %d messages dropped, slow consumers: %v", st.Sessions, st.Dropped, st.SlowConsumers)
	}
}

// A client that does not read may still watch other symbols, and others again. What it watched before
// waits too. It stays, and gets the latest price of each symbol that it watches at last.
func TestSlowClientChangesSymbols(t *testing.T) {
	const watch, changes = 100, 40
	m, addr := start(t, watch*changes, watch)
	c := dial(t, addr)
	symbols := c.read().Symbols
	var watched []string
	// The kernel takes what it has room for, which may be more than one change makes.
	for i := 0; m.srv.Stats().QueueMessages <= 2*watch+100; i++ {
		if i == changes {
			t.Fatalf("%d messages wait after %d changes, want more than %d: those of symbols that are not watched any more too",
				m.srv.Stats().QueueMessages, changes, 2*watch+100)
		}
		before := watched
		watched = symbols[i*watch : (i+1)*watch]
		m.rewatch(t, c, before, watched)
	}
	c.send(`{}`) // its answer is the end
	last := make(map[string]float64)
	for p := c.read(); p.Error == ""; p = c.read() {
		last[p.Symbol] = p.Price
	}
	for _, name := range watched {
		if last[name] != m.price(name) {
			t.Errorf("%s: got %.2f at last, want %.2f", name, last[name], m.price(name))
		}
	}
	if st := m.srv.Stats(); st.Sessions != 1 || len(st.SlowConsumers) != 0 {
		t.Errorf("%d sessions, slow consumers %v, want 1 and none", st.Sessions, st.SlowConsumers)
	}
}

// rewatch has a client watch other symbols, and moves their prices until some have been replaced in its
// queue.
func (m *market) rewatch(t *testing.T, c *client, before, now []string) {
	t.Helper()
	request, _ := json.Marshal(map[string][]string{"subscribe": now, "unsubscribe": before})
	c.send(string(request))
	waits.Eventually(t, func() bool { return m.srv.MemberCount(now[len(now)-1]) == 1 }, "the client watches other symbols")
	for replaced := m.srv.Stats().Conflated; m.srv.Stats().Conflated < replaced+uint64(2*len(now)); {
		if st := m.srv.Stats(); st.Sessions == 0 {
			t.Fatalf("the session has ended, slow consumers %v, want that it stays", st.SlowConsumers)
		}
		for _, name := range now {
			m.move(name)
		}
	}
}

// So many watch one symbol that the server's own goroutines publish to them, and more prices come than
// they can send. Clients come meanwhile. None is left with an old price.
func TestManyWatchOneSymbol(t *testing.T) {
	m, addr := start(t, 1, 1)
	var moving sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	moving.Go(func() {
		var err error
		for ctx.Err() == nil || err == nil && t.Context().Err() == nil { // until the last one is refused
			err = m.publish(m.quotes[0], true)
		}
	})
	var clients []*client
	var last []float64 // that each of them has got
	for range 80 {
		c := dial(t, addr)
		_ = c.read()
		c.send(`{"subscribe":["AAA"]}`)
		clients = append(clients, c)
		last = append(last, c.read().Price)
	}
	cancel()
	moving.Wait()
	waits.Eventually(t, func() bool {
		m.step(0)
		return len(m.late) == 0 && m.srv.Stats().Channels.Waiting == 0
	}, "every price has been published")
	want := m.price("AAA")
	for i, c := range clients {
		c.send(`{}`) // its answer is the end
		for p := c.read(); p.Error == ""; p = c.read() {
			last[i] = p.Price
		}
		if last[i] != want {
			t.Fatalf("client %d got %.2f at last, want %.2f", i, last[i], want)
		}
	}
}

// The clock moves the prices while clients come, look and go.
func TestTrade(t *testing.T) {
	m, addr := start(t, 50, 50)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.trade(ctx, 10_000)
	}()
	for range 5 {
		c := dial(t, addr)
		request, _ := json.Marshal(map[string][]string{"subscribe": c.read().Symbols})
		c.send(string(request))
		changes := make(map[string]int)
		last := make(map[string]float64)
		for len(changes) < 50 {
			p := c.read()
			if p.Price < 1 || m.bySymbol[p.Symbol] == nil {
				t.Fatalf("got %+v", p)
			}
			if before, ok := last[p.Symbol]; ok && before != p.Price {
				changes[p.Symbol]++
			}
			last[p.Symbol] = p.Price
		}
		c.Close()
	}
	cancel()
	<-done
}

func TestPageAndOrigin(t *testing.T) {
	_, addr := start(t, 10, 10)
	res, err := http.Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.StatusCode != 200 || !bytes.Equal(body, page) || res.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("the page: %s, %v, %v", res.Status, res.Header, err)
	}
	for origin, want := range map[string]int{"http://" + addr: 101, "http://evil.example": 403, "null": 403} {
		if status := wstest.Status(t, addr, "/", wstest.From(origin)); status != want {
			t.Errorf("from %s: status %d, want %d", origin, status, want)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, f := range []struct{ symbols, watch, rate int }{{0, 1, 1}, {maxSymbols + 1, 1, 1}, {1, 0, 1}, {1, 1, 0}} {
		if err := run("127.0.0.1:0", f.symbols, f.watch, f.rate); err == nil {
			t.Errorf("%+v is accepted", f)
		}
	}
}

func TestShutdown(t *testing.T) {
	m, addr := start(t, 10, 10)
	c := dial(t, addr)
	_ = c.read()
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), waits.Patience)
		defer cancel()
		done <- m.srv.Shutdown(ctx)
	}()
	c.AnswerClose(1001)
	if err := waits.Receive(t, done, "the end of Shutdown"); err != nil {
		t.Errorf("Shutdown: %v, want nil", err)
	}
}

// move changes and publishes a price.
func (m *market) move(symbol string) { _ = m.publish(m.bySymbol[symbol], true) }

// price returns the current price.
func (m *market) price(symbol string) float64 {
	q := m.bySymbol[symbol]
	q.mu.Lock()
	defer q.mu.Unlock()
	var p answer
	if err := json.Unmarshal(q.message(), &p); err != nil {
		panic(fmt.Sprintf("%s: %v", q.message(), err))
	}
	return p.Price
}

// start runs the server until the test ends, and checks that nobody is left in it.
func start(t *testing.T, symbols, watch int) (*market, string) {
	t.Helper()
	m, addr, err := newServer("127.0.0.1:0", symbols, watch, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { wstest.End(t, m.srv) })
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return m, addr.String()
}

// answer is any message of the server.
type answer struct {
	Symbols []string
	Watch   int
	Symbol  string
	Price   float64
	Error   string
}

// client watches prices.
type client struct{ *wstest.Client }

func dial(t *testing.T, addr string) *client {
	t.Helper()
	return &client{wstest.Dial(t, addr, "/")}
}

func (c *client) send(text string) { c.Helper(); c.SendText(text) }

func (c *client) read() (m answer) {
	c.Helper()
	text := c.ReadText()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		c.Fatalf("read %.200q: %v, want JSON", text, err)
	}
	return m
}
