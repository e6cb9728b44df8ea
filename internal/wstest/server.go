package wstest

import (
	"strings"
	"testing"

	"wsgateway/session"
)

// Serve runs a server on a loopback port until the test ends, and returns its address. At the end it
// checks that the server has given everything back.
func Serve(t testing.TB, cfg session.Config) (*session.Server, string) {
	t.Helper()
	return ServeOn(t, cfg, "127.0.0.1:0")
}

// ServeOn is Serve on an address: host:port, or unix:/path.
func ServeOn(t testing.TB, cfg session.Config, addr string) (*session.Server, string) {
	t.Helper()
	s := New(t, cfg)
	return s, Start(t, s, addr)
}

// New makes a server that is closed when the test ends, with the checks of Serve.
func New(t testing.TB, cfg session.Config) *session.Server {
	t.Helper()
	s, err := session.NewServer(cfg)
	if err != nil {
		t.Fatalf("NewServer: %v", err)
	}
	t.Cleanup(func() { closeEmpty(t, s) })
	return s
}

// Start has a server listen on an address, see ServeOn, and starts it. It returns the address.
func Start(t testing.TB, s *session.Server, addr string) string {
	t.Helper()
	a, err := s.Listen(addr)
	if err != nil {
		t.Fatalf("listening on %s: %v", addr, err)
	}
	if err := s.Start(); err != nil {
		t.Fatalf("Start: %v", err)
	}
	if strings.HasPrefix(addr, "unix:") {
		return addr
	}
	return a.String()
}

// End closes a server, and fails the test if something is left in it or if a handler has panicked.
func End(t testing.TB, s *session.Server) {
	t.Helper()
	closeEmpty(t, s)
	if n := s.Stats().HandlerPanics; n != 0 {
		t.Errorf("%d panics of handlers, want none", n)
	}
}

// closeEmpty closes a server, and fails the test if something is left in it.
func closeEmpty(t testing.TB, s *session.Server) {
	t.Helper()
	s.Close()
	st := s.Stats()
	for what, n := range map[string]int64{
		"connections":               int64(st.Conns),
		"sessions":                  int64(st.Sessions),
		"bytes in outbound queues":  st.QueueBytes,
		"messages in such queues":   st.QueueMessages,
		"bytes of incomplete input": st.InboundBytes,
		"subscriptions":             int64(st.Channels.Subscriptions),
		"sessions of users":         int64(st.Channels.UserSessions),
		"earlier route tables":      int64(st.RouteTables - 1),
	} {
		if n != 0 {
			t.Errorf("after Close: %d %s, want none", n, what)
		}
	}
}
