package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"wsgateway/session"
)

const (
	channel  = "board" // all windows that are open
	maxNotes = 50      // that are kept
	maxText  = 280     // characters of one note
)

// note is what somebody has posted.
type note struct {
	ID   int       `json:"id"`
	Text string    `json:"text"`
	Time time.Time `json:"time"`
}

// event is what the server sends to open windows: a new note, or how many windows there are.
type event struct {
	Note    *note `json:"note,omitempty"`
	Windows int   `json:"windows,omitempty"`
}

// board keeps the notes, and tells the open windows about new ones.
type board struct {
	live *session.Server

	// mu is held while an event is published too. So the events come in the order of what they
	// tell.
	mu    sync.Mutex
	last  int
	notes []note
}

// publish sends an event to all open windows. It never waits for them. The caller holds mu.
func (b *board) publish(e event) (session.Published, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return session.Published{}, err
	}
	return b.live.Publish(channel, session.Prepare(session.OpText, text))
}

// watch is called when a WebSocket connection is open.
func (b *board) watch(s session.Session, _ *session.Request) {
	if s.Join(channel) == nil {
		b.tellWindows()
	}
}

// unwatch is called when a session has ended. It has left its channel already.
func (b *board) unwatch(session.Session, session.CloseInfo) { b.tellWindows() }

func (b *board) tellWindows() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, _ = b.publish(event{Windows: b.live.MemberCount(channel)}) // or the server is ending
}

// list answers GET /api/notes.
func (b *board) list(w http.ResponseWriter, _ *http.Request) {
	b.mu.Lock()
	notes := append([]note{}, b.notes...)
	b.mu.Unlock()
	respond(w, http.StatusOK, notes)
}

// posted is the answer to POST /api/notes.
type posted struct {
	Note    note `json:"note"`
	Reached int  `json:"reached"` // open windows that the note was sent to
}

// post answers POST /api/notes.
func (b *board) post(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Text string `json:"text"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 8<<10)).Decode(&body); err != nil {
		http.Error(w, `send {"text": "..."}`, http.StatusBadRequest)
		return
	}
	text := strings.TrimSpace(body.Text)
	if n := utf8.RuneCountInString(text); n == 0 || n > maxText {
		http.Error(w, "a note has 1 to 280 characters", http.StatusBadRequest)
		return
	}
	answer, err := b.add(text)
	if err != nil {
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	respond(w, http.StatusCreated, answer)
}

// add keeps a note and publishes it. On an error it has done neither.
func (b *board) add(text string) (posted, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := note{ID: b.last + 1, Text: text, Time: time.Now()}
	p, err := b.publish(event{Note: &n})
	if err != nil {
		return posted{}, err
	}
	b.last = n.ID
	b.notes = append(b.notes, n)
	b.notes = b.notes[max(0, len(b.notes)-maxNotes):]
	return posted{n, p.Reached}, nil
}

func respond(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // or the client is gone
}
