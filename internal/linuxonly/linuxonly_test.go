package linuxonly

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// build compiles packages for another system, with the module cache as it is.
func build(t *testing.T, system string, packages ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build"}, packages...)...)
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestOtherSystems builds the module for systems other than Linux. The only complaint is the
// line of this package. What needs no epoll builds.
func TestOtherSystems(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the standard library for two systems")
	}
	for _, system := range []string{"darwin", "windows"} {
		t.Run(system, func(t *testing.T) {
			out, err := build(t, system, "wsgateway/...")
			var complaints []string
			for line := range strings.Lines(out) {
				if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "go: downloading ") {
					complaints = append(complaints, strings.TrimSpace(line))
				}
			}
			if err == nil || len(complaints) != 1 || !strings.HasSuffix(complaints[0], "undefined: wsgateway_needs_Linux") {
				t.Errorf("got %v and these complaints, want one that ends in %q:\n%s",
					err, "undefined: wsgateway_needs_Linux", out)
			}
			out, err = build(t, system, "wsgateway/wsproto", "wsgateway/bench/internal/report", "wsgateway/bench/conformance")
			if err != nil {
				t.Errorf("what needs no epoll does not build: %v\n%s", err, out)
			}
		})
	}
}
