package client

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	// checkTimeout bounds each check; it is wide because race detectors and busy
	// machines are slow, and nothing waits for its end.
	checkTimeout = 30 * time.Second
	manyMessages = 200
	mib          = 1 << 20
)

type check struct {
	name string
	run  func(*dialer) error
}

// Run does the checks in turn and reports the name of each that holds. It returns
// the first failure.
func Run(cfg Config, ok func(name string)) error {
	for _, c := range checks(cfg) {
		if err := c.within(checkTimeout, cfg); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		ok(c.name)
	}
	return nil
}

func (c check) within(limit time.Duration, cfg Config) error {
	d := &dialer{Config: cfg}
	defer d.end()
	timer := time.AfterFunc(limit, d.end)
	err := c.run(d)
	if !timer.Stop() && err != nil {
		return fmt.Errorf("no end within %v: %w", limit, err)
	}
	return err
}

func checks(cfg Config) []check {
	list := []check{
		{"text", echoes(text, []byte("hello"), []byte("Grüße, 世界 🌍"), bytes.Repeat([]byte("x"), 126), bytes.Repeat([]byte("y"), 65536))},
		{"binary", echoes(binary, random(1), random(125), random(126), random(65535), random(65536))},
		{"empty text", echoes(text, nil)},
		{"empty binary", echoes(binary, nil)},
		{"1 MiB", echoes(binary, random(mib))},
		{"text and binary of several sizes", checkSizes},
		{"1 MiB in fragments", checkFragments},
		{"messages keep their order", checkOrder},
		{"ping", checkPing},
		{"subprotocol", checkSubprotocol},
	}
	if cfg.Compress {
		list = append(list,
			check{"permessage-deflate agreed", checkDeflate},
			check{"small messages compressed", echoes(text, []byte("a"), []byte("a"), []byte("again, again and again"))},
			check{"1 MiB of one byte compressed", checkCompressed},
			check{"1 MiB of digits compressed", echoes(text, digits(mib))},
			check{"1 MiB of noise compressed", echoes(binary, random(mib), random(mib))})
	} else {
		list = append(list, check{"no extension", checkNoExtension})
	}
	if cfg.Page != "" {
		list = append(list, check{"page on the same port", checkPage})
	}
	for _, code := range []int{1000, 1001, 3000, 4999} {
		list = append(list, check{fmt.Sprintf("close with %d", code), checkClose(code)})
	}
	return list
}

// echoes sends the payloads one by one and compares each with its echo.
func echoes(op opcode, payloads ...[]byte) func(*dialer) error {
	return func(d *dialer) error {
		c, _, err := d.open()
		if err != nil {
			return err
		}
		for i, p := range payloads {
			// Some libraries mask in place.
			if err := c.send(op, bytes.Clone(p)); err != nil {
				return fmt.Errorf("send message %d: %w", i+1, err)
			}
			if err := expect(c, op, p); err != nil {
				return fmt.Errorf("message %d: %w", i+1, err)
			}
		}
		return nil
	}
}

// checkSizes sends messages on both sides of each length of a frame's header.
func checkSizes(d *dialer) error {
	for _, op := range []opcode{text, binary} {
		for _, size := range []int{0, 125, 126, 65536, mib} {
			if err := echoes(op, digits(size))(d); err != nil {
				return fmt.Errorf("opcode %d, %d bytes: %w", op, size, err)
			}
		}
	}
	return nil
}

// checkPage fetches a page before a session, while it is open, and after its end.
func checkPage(d *dialer) error {
	web := &http.Client{Transport: &http.Transport{DialContext: d.dial}}
	if err := fetch(web, d.Page); err != nil {
		return err
	}
	c, _, err := d.open()
	if err != nil {
		return err
	}
	if err := fetch(web, d.Page); err != nil {
		return fmt.Errorf("beside a session: %w", err)
	}
	if err := c.send(text, []byte("beside a page")); err != nil {
		return err
	}
	if err := expect(c, text, []byte("beside a page")); err != nil {
		return err
	}
	if _, err := c.close(1000, ""); err != nil {
		return err
	}
	return fetch(web, d.Page)
}

func fetch(web *http.Client, url string) error {
	res, err := web.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || string(body) != "an ordinary page") {
		err = fmt.Errorf("status %d, page %.100q", res.StatusCode, body)
	}
	return err
}

func expect(c conn, op opcode, want []byte) error {
	gotOp, got, err := c.receive()
	switch {
	case err != nil:
		return fmt.Errorf("receive: %w", err)
	case gotOp != op:
		return fmt.Errorf("echo has opcode %d, want %d", gotOp, op)
	case !bytes.Equal(got, want):
		return fmt.Errorf("echo of %d bytes differs from the %d sent", len(got), len(want))
	}
	return nil
}

func checkFragments(d *dialer) error {
	c, _, err := d.open()
	if err != nil {
		return err
	}
	message := random(mib) // compressed, it still fills several frames
	if err := c.sendFragments(slices.Collect(slices.Chunk(bytes.Clone(message), 100_000))); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if err := expect(c, binary, message); err != nil {
		return err
	}
	// The message has ended where it should.
	if err := c.send(text, []byte("next")); err != nil {
		return fmt.Errorf("send the next message: %w", err)
	}
	return expect(c, text, []byte("next"))
}

func checkOrder(d *dialer) error {
	c, _, err := d.open()
	if err != nil {
		return err
	}
	for i := range manyMessages {
		if err := c.send(text, fmt.Appendf(nil, "message %d", i)); err != nil {
			return fmt.Errorf("send message %d: %w", i, err)
		}
	}
	for i := range manyMessages {
		if err := expect(c, text, fmt.Appendf(nil, "message %d", i)); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
	}
	return nil
}

func checkPing(d *dialer) error {
	c, _, err := d.open()
	if err != nil {
		return err
	}
	for _, payload := range []string{"", "are you there?", strings.Repeat("p", 125)} {
		pong, err := c.ping(payload)
		if err != nil {
			return err
		}
		if pong != payload {
			return fmt.Errorf("pong has %q, want %q", pong, payload)
		}
	}
	return nil
}

func checkSubprotocol(d *dialer) error {
	for _, v := range []struct {
		offered []string
		want    string
	}{
		{nil, ""},
		{[]string{"echo"}, "echo"},
		{[]string{"chat", "echo", "superchat"}, "echo"},
	} {
		_, header, err := d.open(v.offered...)
		if err != nil {
			return fmt.Errorf("%q offered: %w", v.offered, err)
		}
		if got := header.Get("Sec-WebSocket-Protocol"); got != v.want {
			return fmt.Errorf("%q offered: %q chosen, want %q", v.offered, got, v.want)
		}
	}
	return nil
}

func checkDeflate(d *dialer) error {
	_, header, err := d.open()
	if err != nil {
		return err
	}
	got := header.Values("Sec-WebSocket-Extensions")
	if len(got) != 1 || strings.TrimSpace(strings.Split(got[0], ";")[0]) != "permessage-deflate" {
		return fmt.Errorf("agreed on %q, want permessage-deflate", got)
	}
	return nil
}

func checkNoExtension(d *dialer) error {
	_, header, err := d.open()
	if err != nil {
		return err
	}
	if got := header.Values("Sec-WebSocket-Extensions"); len(got) > 0 {
		return fmt.Errorf("agreed on %q, which was not offered", got)
	}
	return nil
}

// checkCompressed counts the bytes on the wire.
func checkCompressed(d *dialer) error {
	if err := echoes(text, bytes.Repeat([]byte("z"), mib))(d); err != nil {
		return err
	}
	if received, sent := d.wire(); received > mib/10 || sent > mib/10 {
		return fmt.Errorf("1 MiB of one byte took %d bytes to send and %d to receive", sent, received)
	}
	return nil
}

func checkClose(code int) func(*dialer) error {
	return func(d *dialer) error {
		c, _, err := d.open()
		if err != nil {
			return err
		}
		got, err := c.close(code, "enough – genug")
		if err != nil {
			return err
		}
		want := code
		if other, ok := d.CloseAnswer[code]; ok {
			want = other
		}
		if got != want {
			return fmt.Errorf("answered with %d, want %d", got, want)
		}
		return nil
	}
}

// random returns the same n incompressible bytes each time.
func random(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(p)
	return p
}

// digits returns text that compresses to a bit less than half of it.
func digits(n int) []byte {
	p := random(n)
	for i := range p {
		p[i] = '0' + p[i]%10
	}
	return p
}
