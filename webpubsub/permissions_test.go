package webpubsub_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"wsgateway/internal/wstest"
	"wsgateway/session"
	"wsgateway/webpubsub"
)

func TestGrant(t *testing.T) {
	var p webpubsub.Permissions
	for role, known := range map[string]bool{
		"webpubsub.joinLeaveGroup.a":  true,
		"webpubsub.sendToGroup.b.c":   true,
		"webpubsub.sendToGroup.":      false,
		"webpubsub.joinLeaveGroups.a": false,
		"webpubsub.sendtogroup":       false,
		"":                            false,
	} {
		if p.Grant(role) != known {
			t.Errorf("%q: known %v", role, !known)
		}
	}
	if p.JoinAll || p.SendAll || len(p.Join) != 1 || p.Join[0] != "a" || len(p.Send) != 1 || p.Send[0] != "b.c" {
		t.Errorf("granted %+v", p)
	}
	if !p.Grant(webpubsub.RoleJoinLeaveGroup) || !p.JoinAll || p.SendAll || !p.Grant(webpubsub.RoleSendToGroup) || !p.SendAll {
		t.Errorf("granted %+v", p)
	}
}

// Each client may do what its roles say, and nothing else. The query is its name here.
func TestPermissions(t *testing.T) {
	roles := map[string]string{
		"nobody": "",
		"reader": "webpubsub.joinLeaveGroup",
		"writer": "webpubsub.sendToGroup",
		"a":      "webpubsub.joinLeaveGroup.a webpubsub.sendToGroup.a",
		"ab":     "webpubsub.joinLeaveGroup.a webpubsub.sendToGroup.b unknown",
	}
	authorize := func(u *session.Upgrade) (p webpubsub.Permissions, err error) {
		p.UserID = string(u.Request.RawQuery)
		for _, role := range strings.Fields(roles[p.UserID]) {
			p.Grant(role)
		}
		return p, nil
	}
	target, srv, addr := start(t, webpubsub.Config{Authorize: authorize, Hint: "ask", Prefix: "x/"}, session.Config{})
	forbidden := uint64(0)
	for user, may := range map[string]string{
		"nobody": "",
		"reader": "join a, leave a, join b, leave b",
		"writer": "send a, send b",
		"a":      "join a, leave a, send a",
		"ab":     "join a, leave a, send b",
	} {
		c := dial(t, addr, user)
		for _, do := range []string{"send", "join", "leave"} {
			for _, group := range []string{"a", "b", "aa", "x/a"} {
				request := map[string]string{"send": `"sendToGroup","data":1,"noEcho":true`, "join": `"joinGroup"`, "leave": `"leaveGroup"`}[do]
				request = `{"type":` + request + `,"group":"` + group + `"`
				all := user == "reader" && do != "send" || user == "writer" && do == "send"
				if all || strings.Contains(may, do+" "+group) {
					c.ask(request+`,"ackId":7}`, ok("7"))
					c = dial(t, addr, user) // who may use 7 again
					continue
				}
				c.refused(request+`,"ackId":1}`, "Forbidden")
				c.send(request + `}`)
				c.quiet()
				forbidden += 2
			}
		}
		found := 0
		for s := range srv.UserSessions(user) {
			if s.User() == user {
				found++
			}
		}
		if found == 0 {
			t.Errorf("%s is nobody's session", user)
		}
	}
	if st := target.Stats(); st.Refused["forbidden"] != forbidden || st.Unanswered != forbidden/2 {
		t.Errorf("counted %+v, want %d", st, forbidden)
	}

	// The text says what to do, and a message says whom it is from.
	c := dial(t, addr, "nobody")
	c.ask(`{"type":"joinGroup","group":"a","ackId":1}`, `{"type":"ack","ackId":1,"success":false,"error":{"name":"Forbidden","message":"no permission to join or leave this group: ask"}}`)
	r := dial(t, addr, "reader")
	r.ask(`{"type":"joinGroup","group":"a","ackId":1}`, ok("1"))
	if srv.MemberCount("x/a") == 0 {
		t.Error("no channel with the prefix")
	}
	w := dial(t, addr, "writer")
	w.ask(`{"type":"sendToGroup","group":"a","data":1,"ackId":1}`, ok("1"))
	r.want(`{"type":"message","from":"group","fromUserId":"writer","group":"a","dataType":"json","data":1}`)
}

// Without Authorize and Open a client may connect, and nothing else.
func TestClosedByDefault(t *testing.T) {
	_, _, addr := start(t, webpubsub.Config{}, session.Config{})
	c := dial(t, addr, "")
	c.refused(`{"type":"joinGroup","group":"g","ackId":1}`, "Forbidden")
	c.refused(`{"type":"leaveGroup","group":"g","ackId":1}`, "Forbidden")
	c.refused(`{"type":"sendToGroup","group":"g","data":1,"ackId":1}`, "Forbidden")
	c.quiet()
}

func TestAuthorizeRefuses(t *testing.T) {
	authorize := func(u *session.Upgrade) (p webpubsub.Permissions, err error) {
		switch string(u.Request.RawQuery) {
		case "refused":
			return p, session.Refusal(http.StatusForbidden, "no")
		case "control":
			return webpubsub.Permissions{UserID: "a\n"}, nil
		case "C1":
			return webpubsub.Permissions{UserID: "a\u009f"}, nil
		case "long":
			return webpubsub.Permissions{UserID: strings.Repeat("u", session.MaxChannelName+1)}, nil
		}
		return p, errors.New("cannot tell")
	}
	_, _, addr := start(t, webpubsub.Config{Authorize: authorize}, session.Config{})
	for query, want := range map[string]int{"refused": 403, "control": 500, "C1": 500, "long": 500, "other": 500} {
		got := wstest.Status(t, addr, "/channels?"+query, ws.Dialer{Protocols: []string{webpubsub.Subprotocol}})
		if got != want {
			t.Errorf("%s: status %d, want %d", query, got, want)
		}
	}
}
