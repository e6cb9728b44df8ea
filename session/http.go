package session

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"wsgateway/wsproto"
)

// ServeHTTP serves WebSocket clients that come through a server of net/http. It takes the
// connection over (http.Hijacker), and from then on the reactor serves it as if the server had
// accepted it itself. So a Server can be mounted in an http.ServeMux beside ordinary pages, behind
// any middleware that passes the http.ResponseWriter on.
//
// The server must have been started (Start). Before that it answers 500. The route is found by r.URL
// and r.Host, as middleware such as http.StripPrefix left them. Upgrade.HTTPRequest returns a copy of
// r. Route.HTTP answers requests that do not ask for WebSocket, as it does behind the server's own
// listeners; each answer other than 101 ends the connection. Requests with a body are refused with 400.
//
// ServeHTTP returns when the connection has been taken over, and keeps nothing of r for the
// session. It cannot take over TLS, HTTP/2, connections that are not sockets, and writers without
// http.Hijacker, such as the one of http.TimeoutHandler. It answers these with 501. During
// Shutdown, and when the server has as many connections as it may hold, it answers 503.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refusal := s.takeOver(w, r)
	if refusal == nil {
		return
	}
	defer reportRefusal(s, r, refusal)
	if refusal.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter()))
	}
	http.Error(w, refusal.Reason, refusal.Status)
}

// The reasons for which ServeHTTP cannot take a connection over.
var (
	errNotStarted = wsproto.Refusal(http.StatusInternalServerError, "the server has not been started")
	errTLS        = wsproto.Refusal(http.StatusNotImplemented, "this server does not take over TLS connections")
	errHTTP2      = wsproto.Refusal(http.StatusNotImplemented, "WebSocket needs HTTP/1.1 here")
	errNoHijack   = wsproto.Refusal(http.StatusNotImplemented, "middleware of this server keeps WebSocket from taking the connection over")
	errNoSocket   = wsproto.Refusal(http.StatusNotImplemented, "this connection is not a socket")
	errBodyBytes  = wsproto.Refusal(http.StatusBadRequest, "a request with a body")
)

// takeOver hands the connection of r to the reactor. Where it cannot it returns the refusal to answer
// with; once the connection has been hijacked it answers itself.
func (s *Server) takeOver(w http.ResponseWriter, r *http.Request) *wsproto.RequestError {
	switch {
	case s.draining.Load():
		return wsproto.ErrOverloaded
	case !s.started.Load():
		s.log.Error("ServeHTTP was called before Start")
		return errNotStarted
	case r.TLS != nil:
		return errTLS
	case r.ProtoMajor != 1:
		return errHTTP2
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return errBodyBytes
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.log.Error("a connection cannot be taken over from net/http", "err", err, "writer", fmt.Sprintf("%T", w))
		return errNoHijack
	}
	head := requestHead(r)
	if early, _ := rw.Reader.Peek(rw.Reader.Buffered()); len(early) > 0 {
		head = append(head, early...) // admission refuses it
	}
	if _, err := s.reactor.AdoptConn(nc, head, r); err != nil {
		if !errors.Is(err, ErrFull) && !errors.Is(err, ErrStopped) && !errors.Is(err, ErrReactorClosed) {
			s.log.Warn("a connection cannot be taken over from net/http", "err", err)
		}
		s.refuseHijacked(nc, r)
	}
	return nil
}

// refuseHijacked answers a request whose connection the reactor does not take, and ends it.
func (s *Server) refuseHijacked(nc net.Conn, r *http.Request) {
	defer nc.Close()
	refusal := wsproto.ErrOverloaded
	options := wsproto.ResponseOptions{
		Date:     []byte(time.Now().UTC().Format(http.TimeFormat)),
		OmitBody: r.Method == http.MethodHead,
	}
	if _, ok := nc.(syscall.Conn); ok {
		options.RetryAfter = retryAfter()
	} else {
		refusal = errNoSocket
	}
	defer reportRefusal(s, r, refusal)
	_ = nc.SetDeadline(time.Now().Add(time.Second)) // a socket that nothing has been written to takes this
	_, _ = nc.Write(wsproto.AppendRefusal(nil, refusal, options))
}

// requestHead returns the head of r as the client could have sent it. It is judged like any other.
func requestHead(r *http.Request) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/%d.%d\r\nHost: %s\r\n", r.Method, r.URL.RequestURI(), r.ProtoMajor, r.ProtoMinor, r.Host)
	_ = r.Header.Write(&b) // a bytes.Buffer takes everything
	b.WriteString("\r\n")
	return b.Bytes()
}
