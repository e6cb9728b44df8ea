package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"wsgateway/session"
)

// One clear line and exit status 2, for whatever is wrong with the command line.
func TestUsageErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"unknown flag":       {[]string{"-nope"}, "-nope"},
		"argument":           {[]string{"serve"}, `"serve"`},
		"bad duration":       {[]string{"-ping-interval", "27"}, "ping-interval"},
		"negative":           {[]string{"-max-conns", "-1"}, "-max-conns"},
		"zero":               {[]string{"-max-message", "0"}, "-max-message"},
		"bad level":          {[]string{"-log-level", "loud"}, "log-level"},
		"bad type":           {[]string{"-only", "ping"}, "-only"},
		"bad channels-open":  {[]string{"-channels-open=maybe"}, "-channels-open"},
		"bad origin":         {[]string{"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-origin", "example.com"}, "example.com"},
		"empty listen":       {[]string{"-listen", ""}, "listen"},
		"bad address":        {[]string{"-listen", "nowhere"}, "nowhere"},
		"port in use":        {[]string{"-listen", taken.Addr().String(), "-admin", "127.0.0.1:0"}, taken.Addr().String()},
		"admin port in use":  {[]string{"-listen", "127.0.0.1:0", "-admin", taken.Addr().String()}, taken.Addr().String()},
		"over the fd limit":  {[]string{"-listen", "127.0.0.1:0", "-max-conns", "2000000000"}, "RLIMIT_NOFILE"},
		"no such unix place": {[]string{"-listen", "unix:/no/such/dir/s"}, "/no/such/dir/s"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if code := run(tt.args, &out, &errs); code != exitUsage {
				t.Errorf("exit status %d, want %d", code, exitUsage)
			}
			if line := errs.String(); strings.Count(line, "\n") != 1 || !strings.Contains(line, tt.want) || !strings.HasPrefix(line, "gateway: ") {
				t.Errorf("stderr is %q, want one line with %q", line, tt.want)
			}
		})
	}
}

// Values that are refused name the flag and say what to do. Nothing is started to find that out: so many
// workers or loops would take all the memory of the machine.
func TestRefusedValues(t *testing.T) {
	for _, tt := range []struct{ flag, value, want string }{
		{"admin", "", "empty, give host:port, such as 127.0.0.1:8081"},
		{"subprotocol", "a b", `"a b" is not a token (RFC 9110 §5.6.2): give letters, digits and !#$%&'*+-.^_` + "`|~"},
		{"subprotocol", "a,b/c", `"b/c" is not a token (RFC 9110 §5.6.2): give letters, digits and !#$%&'*+-.^_` + "`|~"},
		{"subprotocol", "ü", `"ü" is not a token (RFC 9110 §5.6.2): give letters, digits and !#$%&'*+-.^_` + "`|~"},
		{"subprotocol", "a,b,a", `"a" is given twice, give it once`},
		{"subprotocol", manyNames(session.MaxSubprotocols + 1), "256 names, must be at most 255"},
		{"queue-bytes", "2147483648", "2147483648 is too much, must be at most 2147483647"},
		{"queue-bytes", "268435457", "268435457 is more than all clients together may have, must be at most -queue-total-bytes 268435456"},
		{"queue-total-bytes", "2147483648", "2147483648 is too much, must be at most 2147483647"},
		{"inbound-total-bytes", "3145727", "3145727 is too little for one request of -max-head 16384 or one message of -max-message 1048576, must be at least 3145728"},
		{"max-head", "1048577", "1048577 is too much, must be at most 1048576"},
		{"max-head", "0", "must be greater than 0"},
		{"max-target", "-1", "must be greater than 0"},
		{"origin", "file:///x", `"file:///x" is not scheme://host[:port], file://, null, none or *`},
		{"inbound-total-bytes", "0", "must be greater than 0"},
		{"workers", "-1", "must not be negative"},
		{"workers", "4097", "4097 is too much, must be at most 4096"},
		{"workers", "1073741824", "1073741824 is too much, must be at most 4096"},
		{"loops", "-1", "must not be negative"},
		{"loops", "1025", "1025 is too much, must be at most 1024"},
		{"loops", "1073741824", "1073741824 is too much, must be at most 1024"},
	} {
		args := []string{"-" + tt.flag, tt.value}
		want := "invalid value for flag -" + tt.flag + ": " + tt.want
		if _, err := parseFlags(args, io.Discard); err == nil || err.Error() != want {
			t.Errorf("-%s %.50s: %v, want %s", tt.flag, tt.value, err, want)
			continue // run might start
		}
		var out, errs bytes.Buffer
		if code := run(args, &out, &errs); code != exitUsage || errs.String() != "gateway: "+want+"\n" {
			t.Errorf("-%s %.50s: exit status %d, stderr %q", tt.flag, tt.value, code, errs.String())
		}
	}
	// The bounds themselves are taken. This only parses.
	for _, args := range [][]string{
		{"-workers", "4096", "-loops", "1024", "-inbound-total-bytes", "3145728"},
		{"-max-head", "8192", "-max-target", "8192", "-max-message", "8192", "-inbound-total-bytes", "24576"},
		{"-max-message", "9223372036854775807", "-inbound-total-bytes", "9223372036854775807"},
		{"-queue-bytes", "1000", "-queue-total-bytes", "1000"},
		{"-max-head", "4096"}, // the largest target is then less, too
		{"-max-head", "1048576", "-max-target", "1048576", "-inbound-total-bytes", "3145728", "-origin", "file://,null,none"},
		{"-workers", "0", "-loops", "0", "-subprotocol", "a,A"},
	} {
		if _, err := parseFlags(args, io.Discard); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// manyNames returns n of them.
func manyNames(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint("p", i))
	}
	return strings.Join(list, ",")
}

func TestVersionAndHelp(t *testing.T) {
	for _, flag := range []string{"-version", "-help"} {
		var out, errs bytes.Buffer
		if code := run([]string{flag}, &out, &errs); code != exitOK || errs.Len() > 0 || !strings.Contains(out.String(), "gateway") {
			t.Errorf("%s: status %d, stdout %q, stderr %q", flag, code, out.String(), errs.String())
		}
	}
}
