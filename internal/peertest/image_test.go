package peertest

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// buildCommand is the line of the Dockerfile that makes the binary.
var buildCommand = regexp.MustCompile(`(?m)^\s*(CGO_ENABLED=0 go build .*) -o /gateway (\./cmd/gateway)$`)

// The image holds the binary and nothing else. This builds it the way the
// Dockerfile does and runs it in an empty root directory as the user named there,
// which needs no container runtime.
func TestBinaryOfTheImage(t *testing.T) {
	if os.Geteuid() != 0 {
		missing(t, "chroot needs root")
	}
	b, err := os.ReadFile(filepath.Join(moduleRoot, "deploy", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	dockerfile := string(b)
	m := buildCommand.FindStringSubmatch(dockerfile)
	if m == nil {
		t.Fatal("no build command in the Dockerfile")
	}
	if !strings.Contains(dockerfile, "\nFROM scratch\n") || !strings.Contains(dockerfile, "\nUSER 65532:65532\n") {
		t.Fatal("the Dockerfile is not what this test imitates")
	}

	// Not t.TempDir: others may not enter that, and the gateway runs as another user.
	root, err := os.MkdirTemp("", "peertest-image-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := touchSources(); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(root, "gateway")
	build := exec.Command("sh", "-c", m[1]+` -o "$0" `+m[2], bin)
	build.Dir = moduleRoot
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}

	f, err := elf.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary asks for a dynamic linker")
		}
	}
	_ = f.Close()

	g := startGateway(t, setup{
		bin: "/gateway",
		attr: &syscall.SysProcAttr{
			Chroot:     root,
			Credential: &syscall.Credential{Uid: 65532, Gid: 65532},
		},
	})
	c, err := dial(g.addr, "/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.echo(opText, []byte("from an empty image")); err != nil {
		t.Fatal(err)
	}
}
