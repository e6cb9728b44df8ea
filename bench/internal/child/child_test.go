package child_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"wsgateway/bench/internal/child"
)

func TestEndsByItself(t *testing.T) {
	p, err := child.Start("thing", exec.Command("sh", "-c", "echo one >&2; echo two >&2; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	<-p.Exited()
	if text := p.Err().Error(); !strings.Contains(text, "thing") || !strings.Contains(text, "exit status 3") || !strings.Contains(text, "two") {
		t.Errorf("error %q", text)
	}
}

func TestStop(t *testing.T) {
	tests := []struct {
		name, script string
		grace        time.Duration
		gentle       bool
	}{
		{"obeys", "echo ready; exec sleep 60", 10 * time.Second, true},
		{"ignores SIGTERM", "trap '' TERM; echo ready; exec sleep 60", 50 * time.Millisecond, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", tt.script)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			p, err := child.Start(tt.name, cmd)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			if gentle := p.Stop(tt.grace); gentle != tt.gentle {
				t.Errorf("Stop = %v, want %v", gentle, tt.gentle)
			}
		})
	}
}

func TestStartFails(t *testing.T) {
	if _, err := child.Start("nothing", exec.Command("/nonexistent")); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("err = %v", err)
	}
}
