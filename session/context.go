package session

import "context"

// endedContext is the context of sessions that have ended.
var endedContext = func() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(ErrClosed)
	return ctx
}()

// sessionContext is the context of a session whose handler has asked for one.
type sessionContext struct {
	ctx context.Context
	end context.CancelCauseFunc
}

// Context returns a context that ends with the session. Pass it to what a handler does for the
// session, such as a query or a request to a backend. It ends before OnClose is called, with the
// cause ErrClosed. While a call that may block runs, the client is not read from; the context then
// ends as soon as the client closes the connection. Sessions that never ask for it pay nothing for
// it.
func (s Session) Context() context.Context {
	ctx := endedContext
	if s.srv == nil {
		return ctx
	}
	_ = s.srv.table.owned(s.c, func(rec *record) { // or it has ended
		d := s.srv.table.detailsOf(s.c)
		if d.life == nil {
			d.life = new(sessionContext)
			d.life.ctx, d.life.end = context.WithCancelCause(s.srv.ctx)
			s.srv.table.putDetails(rec, &d)
		}
		ctx = d.life.ctx
	})
	return ctx
}

// endContext ends the context of the turn's session, if it has one.
func (t *turn) endContext() {
	if t.rec.details.Load() == 0 {
		return
	}
	if d := t.srv.table.detailsOf(t.c); d.life != nil {
		d.life.end(ErrClosed)
	}
}
