package handshake_test

import (
	"errors"
	"strings"
	"testing"

	"wsgateway/bench/internal/handshake"
)

// sample is the key of RFC 6455 §1.3.
func sample() (k handshake.Key) {
	copy(k[:], "dGhlIHNhbXBsZSBub25jZQ==")
	return k
}

func TestAccept(t *testing.T) {
	a := sample().Accept()
	if got := string(a[:]); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("accept = %q", got)
	}
	if k := handshake.NewKey([16]byte([]byte("the sample nonce"))); k != sample() {
		t.Errorf("key = %q", k[:])
	}
}

func TestAppendRequest(t *testing.T) {
	got := string(handshake.AppendRequest(nil, "host:1", "/p?q", sample()))
	if !strings.HasPrefix(got, "GET /p?q HTTP/1.1\r\nHost: host:1\r\n") ||
		!strings.HasSuffix(got, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n") {
		t.Errorf("request = %q", got)
	}
}

func TestCheck(t *testing.T) {
	const good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	replace := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	tests := []struct {
		name, head string
		ok         bool
		status     int
	}{
		{"good", good, true, 0},
		{"other case and order of tokens", replace("Connection: Upgrade", "connection:keep-alive , upgrade"), true, 0},
		{"no reason phrase", replace(" Switching Protocols", ""), true, 0},
		{"HTTP/1.0", replace("HTTP/1.1", "HTTP/1.0"), false, 0},
		{"refused", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n", false, 503},
		{"status of two digits", replace("101 ", "10 "), false, 0},
		{"status of letters", replace("101", "1O1"), false, 0},
		{"wrong accept", replace("s3pP", "S3pP"), false, 0},
		{"accept missing", replace("Accept", "Other"), false, 0},
		{"accept twice", good + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", false, 0},
		{"upgrade missing", replace("Upgrade: websocket\r\n", ""), false, 0},
		{"upgrade to another", replace("websocket", "h2c"), false, 0},
		{"connection without upgrade", replace("Connection: Upgrade", "Connection: close"), false, 0},
		{"extension never offered", good + "Sec-WebSocket-Extensions: permessage-deflate\r\n", false, 0},
		{"subprotocol never offered", good + "Sec-WebSocket-Protocol: chat\r\n", false, 0},
		{"space before colon", good + "X-Y : z\r\n", false, 0},
		{"no colon", good + "nonsense\r\n", false, 0},
		{"garbage", "hello", false, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := handshake.Check([]byte(tt.head+"\r\n"), sample())
			if (err == nil) != tt.ok {
				t.Fatalf("Check = %v", err)
			}
			var refused *handshake.RefusedError
			if errors.As(err, &refused) != (tt.status != 0) || refused != nil && refused.Status != tt.status {
				t.Errorf("Check = %v, want status %d", err, tt.status)
			}
		})
	}
}

func TestHeadEnd(t *testing.T) {
	const head = "HTTP/1.1 101 x\r\n\r\n"
	for i := range len(head) {
		if n := handshake.HeadEnd([]byte(head[:i])); n != 0 {
			t.Errorf("HeadEnd of %d bytes = %d", i, n)
		}
	}
	if n := handshake.HeadEnd([]byte(head + "\x82\x00")); n != len(head) {
		t.Errorf("HeadEnd = %d, want %d", n, len(head))
	}
}
