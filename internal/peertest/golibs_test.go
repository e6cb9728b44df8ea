package peertest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// libraryModule has the clients on Go's WebSocket libraries; it is a module of its own.
const libraryModule = moduleRoot + "/bench/peers"

// libraryDownload fetches the libraries, unless they are in the module cache.
var libraryDownload = sync.OnceValue(func() error {
	cmd := exec.Command("go", "mod", "download")
	cmd.Dir = libraryModule
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go mod download in bench/peers: %w\n%s", err, b)
	}
	return nil
})

// libraryClient builds the client once for all tests.
var libraryClient = sync.OnceValues(func() (string, error) {
	out := filepath.Join(scratchDir, "libraryclient")
	args := []string{"build", "-o", out}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./client")...)
	cmd.Dir = libraryModule
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build in bench/peers: %w\n%s", err, b)
	}
	return out, nil
})

// goLibraries returns the client on Go's libraries.
func goLibraries(t *testing.T) string {
	t.Helper()
	if err := libraryDownload(); err != nil {
		missing(t, "the libraries cannot be downloaded: %v", err)
	}
	client, err := libraryClient()
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestGoLibraries(t *testing.T) {
	client := goLibraries(t)
	eachGateway(t, func(t *testing.T, g *gateway, deflate bool) {
		for _, lib := range []string{"gorilla", "coder", "gws"} {
			t.Run(lib, func(t *testing.T) {
				args := []string{"-lib", lib, "-url", "ws://" + g.addr + "/"}
				if deflate {
					args = append(args, "-compress")
				}
				runPeer(t, client, args...)
			})
		}
	})
}
