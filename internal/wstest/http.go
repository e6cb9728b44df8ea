package wstest

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"wsgateway/internal/waits"
)

// Request returns the head of an opening handshake for a path, with further lines such as
// "Origin: https://example.com". A line for Host replaces the usual one.
func Request(path string, lines ...string) string {
	head := "GET " + path + " HTTP/1.1\r\n"
	host := true
	for _, line := range lines {
		head += line + "\r\n"
		host = host && !strings.HasPrefix(line, "Host:")
	}
	if host {
		head += "Host: gateway.example\r\n"
	}
	return head + "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

// StatusLine sends a request as it is, and returns the first line of the answer.
func StatusLine(t testing.TB, addr, request string) string {
	t.Helper()
	conn := Connect(t, addr)
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatalf("sending %.100q: %v", request, err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatalf("%.100q was answered with %q: %v", request, line, err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// Answer sends a request as it is, and returns all that comes until the server closes.
func Answer(t testing.TB, addr, request string) string {
	t.Helper()
	conn := Connect(t, addr)
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatalf("sending %.100q: %v", request, err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%.100q was answered with %.300q: %v, want the end", request, answer, err)
	}
	return string(answer)
}

// Get returns the status and the body that a URL is answered with. It leaves no connection behind.
func Get(t testing.TB, url string) (int, string) {
	t.Helper()
	client := &http.Client{Timeout: waits.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v after %.100q", url, err, body)
	}
	return resp.StatusCode, string(body)
}

func deadline() time.Time { return time.Now().Add(waits.Patience) }
