package webpubsub

import (
	"slices"
	"strings"
)

// Permissions says who a client is and what it may do. The zero value is a client without a user id
// that may do nothing. It is not changed after Authorize has returned it; sessions may share its slices.
type Permissions struct {
	UserID string // for session.Session.SetUser and fromUserId; at most session.MaxChannelName bytes

	JoinAll bool     // may join and leave every group
	SendAll bool     // may send to every group
	Join    []string // groups it may join and leave
	Send    []string // groups it may send to
}

// The roles of Azure Web PubSub. With a dot and the name of a group behind it a role is for that group
// alone.
const (
	RoleJoinLeaveGroup = "webpubsub.joinLeaveGroup"
	RoleSendToGroup    = "webpubsub.sendToGroup"
)

// Grant adds what a role permits. It reports whether the role is one that it knows; others permit
// nothing.
func (p *Permissions) Grant(role string) bool {
	switch role {
	case RoleJoinLeaveGroup:
		p.JoinAll = true
		return true
	case RoleSendToGroup:
		p.SendAll = true
		return true
	}
	if group, ok := strings.CutPrefix(role, RoleJoinLeaveGroup+"."); ok && group != "" {
		p.Join = append(p.Join, group)
		return true
	}
	if group, ok := strings.CutPrefix(role, RoleSendToGroup+"."); ok && group != "" {
		p.Send = append(p.Send, group)
		return true
	}
	return false
}

func (p *Permissions) mayJoin(group string) bool { return p.JoinAll || slices.Contains(p.Join, group) }
func (p *Permissions) maySend(group string) bool { return p.SendAll || slices.Contains(p.Send, group) }
