package peertest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestConformance has the runner of bench/conformance judge the gateway: every case of every rule has
// to be passed, exactly, in every split.
func TestConformance(t *testing.T) {
	runner := filepath.Join(scratchDir, "conformance")
	build := exec.Command("go", "build", "-o", runner, "./bench/conformance")
	build.Dir = moduleRoot
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	g := startGateway(t, setup{args: []string{"-compress", "-subprotocol", "echo"}})
	text := startGateway(t, setup{args: []string{"-only", "text"}})
	for name, args := range map[string][]string{
		"plain":    nil,
		"compress": {"-compress"},
		"delay":    {"-delay", "10ms"}, // half a minute
	} {
		t.Run(name, func(t *testing.T) {
			if name == "delay" && os.Getenv("WSGATEWAY_REQUIRE_PEERS") == "" {
				t.Skip("takes half a minute; set WSGATEWAY_REQUIRE_PEERS=1 to run it")
			}
			args := append([]string{"-json", "-url", "ws://" + g.addr + "/", "-text-url", "ws://" + text.addr + "/", "-subprotocol", "echo"}, args...)
			cmd := exec.Command(runner, args...)
			cmd.Stderr = os.Stderr
			out, runErr := cmd.Output()
			var report struct {
				Seed  uint64
				Total struct {
					Cases, Pass, Fail, Skip, Runs int
					NonStrict                     int `json:"non_strict"`
				}
				Cases []struct {
					ID, Verdict string
					Splits      []struct{ Split, Verdict, Expected, Observed string }
				}
			}
			if err := json.Unmarshal(out, &report); err != nil {
				t.Fatalf("%v, %v:\n%.2000s", runErr, err, out)
			}
			for _, c := range report.Cases {
				for _, s := range c.Splits {
					if s.Verdict != "PASS" && s.Verdict != "SKIP" {
						t.Errorf("%s %s in split %s: expected %s, observed %s", s.Verdict, c.ID, s.Split, s.Expected, s.Observed)
					}
				}
			}
			sum := report.Total
			t.Logf("%d of %d cases passed in %d runs, %d skipped, seed %d", sum.Pass, sum.Cases, sum.Runs, sum.Skip, report.Seed)
			// What is skipped depends on what has been agreed on, not on the gateway's answers.
			if runErr != nil || sum.Fail != 0 || sum.NonStrict != 0 || sum.Skip > 10 || sum.Pass < 1200 || sum.Runs < 5*sum.Pass {
				t.Errorf("%+v, %v", sum, runErr)
			}
		})
	}
}
