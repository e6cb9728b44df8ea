package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"wsgateway/session"
)

// maxSymbols is how many names of three letters there are.
const maxSymbols = 26 * 26 * 26

// market is the handler, and the source of the prices. Each symbol is a channel of the server.
type market struct {
	srv      *session.Server
	quotes   []*quote
	bySymbol map[string]*quote // the same; neither changes once the server runs
	welcome  *session.Prepared // encoded once, for every client
	watch    int
	late     map[*quote]bool // whose price the server was too busy to publish; of whoever calls step
}

// quote is the price of one symbol.
type quote struct {
	symbol string
	// mu is held while the price is changed or looked at and sent, both: otherwise an older price
	// might be sent after a newer one, and stay. Sending never blocks.
	mu    sync.Mutex
	cents int
}

// message encodes the price. It expects the lock.
func (q *quote) message() []byte {
	return fmt.Appendf(nil, `{"symbol":%q,"price":%d.%02d}`, q.symbol, q.cents/100, q.cents%100)
}

func newMarket(symbols, watch int) *market {
	m := &market{bySymbol: make(map[string]*quote), watch: watch, late: make(map[*quote]bool)}
	var names []string
	for i := range symbols {
		name := string([]byte{'A' + byte(i/676), 'A' + byte(i/26%26), 'A' + byte(i%26)})
		names = append(names, name)
		q := &quote{symbol: name, cents: 1000 + rand.IntN(50_000)}
		m.quotes = append(m.quotes, q)
		m.bySymbol[name] = q
	}
	p, _ := json.Marshal(map[string]any{"symbols": names, "watch": watch}) // strings and a number
	m.welcome = session.Prepare(session.OpText, p)
	return m
}

// trade moves random prices, rate of them a second, until ctx is over.
func (m *market) trade(ctx context.Context, rate int) {
	clock := time.NewTicker(10 * time.Millisecond)
	defer clock.Stop()
	due, last := 0.0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
		}
		now := time.Now()
		due += now.Sub(last).Seconds() * float64(rate)
		due = min(due, max(1, float64(rate)/10)) // what we were late for is not made up for
		last = now
		n := int(due)
		due -= float64(n)
		m.step(n)
	}
}

// step moves n random prices. Those that were late are published before.
func (m *market) step(n int) {
	for q := range m.late {
		if m.publish(q, false) != nil {
			break // still busy
		}
	}
	for range n {
		_ = m.publish(m.quotes[rand.IntN(len(m.quotes))], true) // or it is late
	}
}

// publish sends a price to who watches it, after a change of up to 0.5 % if it is to move. The key is
// what makes it replace the price of the same symbol that a client has not read yet.
func (m *market) publish(q *quote, move bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if move {
		step := max(1, q.cents/200)
		q.cents = max(100, q.cents+rand.IntN(2*step+1)-step)
	}
	delete(m.late, q)
	if m.srv.MemberCount(q.symbol) == 0 {
		return nil // saves encoding it; who joins now waits for the lock, and sends itself the price
	}
	_, err := m.srv.Publish(q.symbol, session.PrepareKeyed(q.symbol, session.OpText, q.message()))
	if err != nil { // ErrBusy: too much waits to be sent to thousands of clients. Nobody has got it.
		m.late[q] = true
	}
	return err
}

// OnOpen implements session.Handler.
func (m *market) OnOpen(s session.Session, _ *session.Request) { _ = s.SendPrepared(m.welcome) }

// OnClose implements session.Handler. The session has left its channels by itself.
func (m *market) OnClose(session.Session, session.CloseInfo) {}

// OnMessage implements session.Handler.
func (m *market) OnMessage(s session.Session, msg session.Message) {
	var request struct{ Subscribe, Unsubscribe []string }
	err := json.Unmarshal(msg.Data, &request) // copies what it keeps of msg.Data
	if err != nil || len(request.Subscribe)+len(request.Unsubscribe) == 0 {
		err = errors.New(`send {"subscribe":["AAA"]} or {"unsubscribe":["AAA"]}`)
	} else {
		err = m.change(s, request.Subscribe, request.Unsubscribe)
	}
	if err != nil {
		p, _ := json.Marshal(map[string]string{"error": err.Error()}) // a string
		_ = s.Send(session.OpText, p)                                 // no key: it is never replaced
	}
}

// change does what a client asks for. With an unknown symbol it does nothing.
func (m *market) change(s session.Session, subscribe, unsubscribe []string) error {
	for _, list := range [][]string{subscribe, unsubscribe} {
		for _, symbol := range list {
			if m.bySymbol[symbol] == nil {
				return fmt.Errorf("unknown symbol %.20q", symbol) // what a client sends is never repeated whole
			}
		}
	}
	for _, symbol := range unsubscribe {
		s.Leave(symbol)
	}
	for _, symbol := range subscribe {
		switch err := s.Join(symbol); {
		case errors.Is(err, session.ErrTooManyChannels):
			return fmt.Errorf("%s is one too many: at most %d can be watched", symbol, m.watch)
		case err != nil:
			return nil // the session has ended
		}
		q := m.bySymbol[symbol]
		q.mu.Lock()
		err := s.SendKeyed(symbol, session.OpText, q.message())
		q.mu.Unlock()
		if err != nil {
			return nil
		}
	}
	return nil
}
