package peertest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wsgateway/internal/waits"
)

// The chat of the README is built and run in a module of its own, with the steps that stand beside it.
func TestOtherModule(t *testing.T) {
	program, steps := readmeChat(t)
	dir := t.TempDir()
	root, err := filepath.Abs(moduleRoot)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, filepath.Join(dir, "wsgateway")); err != nil { // the checkout beside it
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", freePort(t))
	const documented = `"127.0.0.1:8080"`
	if strings.Count(program, documented) != 1 {
		t.Fatalf("the address %s does not stand once in:\n%s", documented, program)
	}
	program = strings.ReplaceAll(program, documented, `"`+addr+`"`)
	if err := os.WriteFile(filepath.Join(dir, "program"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	chat := startProcess(t, otherModule(dir, steps))
	waits.Succeeds(t, 5*time.Minute, "the chat has been built and listens", func() error {
		if err := chat.running(); err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", addr)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	chatInTwoRooms(t, addr)
}

// readmeChat returns the program and the steps that stand in the README's section.
func readmeChat(t *testing.T) (program, steps string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(moduleRoot, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## A chat in Go\n")
	section, _, _ = strings.Cut(section, "\n## ")
	block := func(language string) string {
		_, block, _ := strings.Cut(section, "\n```"+language+"\n")
		block, _, ok := strings.Cut(block, "\n```\n")
		if !ok {
			t.Fatalf("no block of %s in the section:\n%s", language, section)
		}
		return block
	}
	return block("go"), block("sh")
}

// otherModule returns the command that does the steps in a directory. The program is saved behind the
// first of them, as it says.
func otherModule(dir, steps string) *exec.Cmd {
	first, rest, _ := strings.Cut(steps, "\n")
	// The checksums need not be asked for over the network.
	save := "cp ../program main.go && cp ../wsgateway/go.sum go.sum"
	cmd := exec.Command("bash", "-ec", strings.Join([]string{first, save, rest}, "\n"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	return cmd
}

// chatInTwoRooms checks that what a client says goes to everybody in its room, and to nobody else.
func chatInTwoRooms(t *testing.T, addr string) {
	t.Helper()
	enter := func(room, words string) *client {
		c, err := dial(addr, "/room/"+room)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.echo(opText, []byte(words)); err != nil { // it has joined
			t.Fatalf("%q in room %s: %v", words, room, err)
		}
		return c
	}
	ann, carl := enter("gophers", "ann is here"), enter("elsewhere", "carl is here")
	bob := enter("gophers", "bob is here")
	if err := ann.expect(opText, []byte("bob is here")); err != nil {
		t.Fatalf("ann hears bob: %v", err)
	}
	for _, op := range []byte{opText, opBinary} {
		if err := ann.send(op, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]*client{"ann": ann, "bob": bob} {
			if err := c.expect(op, []byte("hello")); err != nil {
				t.Errorf("%s hears ann: %v", name, err)
			}
		}
	}
	if err := carl.echo(opText, []byte("nobody else?")); err != nil { // and nothing came before it
		t.Errorf("carl in another room: %v", err)
	}
}
