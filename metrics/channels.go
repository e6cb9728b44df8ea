package metrics

import "wsgateway/session"

// Metrics of channels and publications.
var (
	channels         = desc("channels", "Channels that have members.")
	subscriptions    = desc("channel_subscriptions", "Memberships of sessions in channels.")
	users            = desc("users", "Users that have open sessions.")
	userSessions     = desc("user_sessions", "Open sessions that have a user.")
	publications     = desc("publications_total", "Publications to channels, to users and to all sessions.")
	publRefused      = desc("publications_refused_total", "Publications that were refused because too many waited.")
	publWaiting      = desc("publications_waiting", "Publications that have not been sent to all members yet.")
	publWaitingLimit = desc("publications_waiting_limit", "Bound of publications_waiting.")
	publBytes        = desc("publications_waiting_bytes", "Bytes of the publications that have not been sent to all members yet.")
	publBytesLimit   = desc("publications_waiting_limit_bytes", "Bound of publications_waiting_bytes.")
	untold           = desc("membership_changes_untold_total", "Changes of membership that were dropped, because too many channels changed at once.")
	delivered        = desc("deliveries_total", "Messages of publications to members, by result: accepted for sending, or missed because the session was closing or did not read.", "result")
)

func (e emitter) channels(st *session.Stats) {
	e.gauge(channels, float64(st.Channels.Channels))
	e.gauge(subscriptions, float64(st.Channels.Subscriptions))
	e.gauge(users, float64(st.Channels.Users))
	e.gauge(userSessions, float64(st.Channels.UserSessions))
	e.count(publications, float64(st.Channels.Publications))
	e.count(publRefused, float64(st.Channels.Refused))
	e.gauge(publWaiting, float64(st.Channels.Waiting))
	e.gauge(publWaitingLimit, float64(st.Channels.WaitingLimit))
	e.gauge(publBytes, float64(st.Channels.WaitingBytes))
	e.gauge(publBytesLimit, float64(st.Channels.WaitingBytesLimit))
	e.count(untold, float64(st.Channels.Untold))
	e.count(delivered, float64(st.Channels.Delivered), "accepted")
	e.count(delivered, float64(st.Channels.Missed), "missed")
}
