package peertest

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// moduleRoot is where the tests find the sources and deploy/.
const moduleRoot = "../.."

// scratchDir lives as long as the test process and holds the built binary.
var scratchDir string

func TestMain(m *testing.M) {
	// The test binary doubles as a client process that a test can stop with
	// SIGSTOP, which a goroutine cannot be.
	if addr := os.Getenv(holdEnv); addr != "" {
		os.Exit(holdMain(addr))
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "peertest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	scratchDir = dir
	return m.Run()
}

// gatewayBinary builds the gateway once for all tests.
var gatewayBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("WSGATEWAY_BINARY"); path != "" {
		return path, nil
	}
	return buildProgram("./cmd/gateway")
})

// buildProgram builds a program of the module.
func buildProgram(pkg string) (string, error) {
	if err := touchSources(); err != nil {
		return "", err
	}
	out := filepath.Join(scratchDir, filepath.Base(pkg))
	args := []string{"build", "-o", out}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = moduleRoot
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(cmd.Args[1:], " "), err, b)
	}
	return out, nil
}

// touchSources looks at every Go file and every script of the module. The go command
// records which files a test looked at and runs it again when one of them changes; it
// cannot see that the binary under test is made of them, or that a peer reads them.
func touchSources() error {
	return filepath.WalkDir(moduleRoot, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != moduleRoot):
			return filepath.SkipDir
		case slices.Contains([]string{".go", ".mod", ".sum", ".js", ".py"}, filepath.Ext(path)):
			_, err = os.Stat(path)
		}
		return err
	})
}

// missing ends a test whose peer cannot be had: skipped on a developer's
// machine, failed where the peers are promised.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	reason := fmt.Sprintf(format, args...)
	if os.Getenv("WSGATEWAY_REQUIRE_PEERS") == "1" {
		t.Fatalf("WSGATEWAY_REQUIRE_PEERS=1, and %s", reason)
	}
	t.Skip(reason)
}

// tool returns the path of a program of a peer.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		// Debian keeps daemons out of an ordinary user's PATH.
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			missing(t, "%s is not installed", name)
		}
	}
	return path
}
