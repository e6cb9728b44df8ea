// Plainecho is a bare epoll echo loop in Go, without timeouts or limits: the
// floor that servers are compared with. "go run ./bench -server plain" runs it.
//
//	plainecho [-listen 127.0.0.1:9001] [-reuse-port]
//
// It prints "listening ADDRESS" when it accepts connections and ends on
// SIGTERM or SIGINT.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"

	"wsgateway/bench/internal/plain"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "plainecho:", err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:9001", "address to listen on, ip:port")
	reuse := flag.Bool("reuse-port", false, "share the port with other processes (SO_REUSEPORT)")
	flag.Parse()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		limit.Cur = limit.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) // without it the server carries less
	}
	s, err := plain.Listen(*listen, *reuse)
	if err != nil {
		return err
	}
	s.Raw = true
	runtime.GOMAXPROCS(2) // the loop keeps one for itself
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM, os.Interrupt)
	go func() { // ends with the process
		<-stop
		s.Close()
	}()
	fmt.Println("listening", s.Addr())
	return s.Run()
}
