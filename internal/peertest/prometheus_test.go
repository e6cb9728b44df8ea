package peertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wsgateway/internal/waits"
)

// prometheus is a running Prometheus.
type prometheus struct {
	*process
	base string
}

// query asks the HTTP API and decodes the data of the answer into v.
func (p *prometheus) query(path string, args url.Values, v any) error {
	if err := p.running(); err != nil {
		return err
	}
	res, err := http.Get(p.base + path + "?" + args.Encode())
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", args.Encode(), answer.Error)
	}
	return json.Unmarshal(answer.Data, v)
}

// sample is one series of an instant query.
type sample struct {
	Metric map[string]string
	Value  [2]any // seconds, value as text
}

// instant evaluates an expression now.
func (p *prometheus) instant(expr string) ([]sample, error) {
	var data struct{ Result []sample }
	err := p.query("/api/v1/query", url.Values{"query": {expr}}, &data)
	return data.Result, err
}

// startPrometheus runs Prometheus with the shipped configuration; only
// addresses and intervals are others.
func startPrometheus(t *testing.T, g *gateway) *prometheus {
	t.Helper()
	bin := tool(t, "prometheus")
	dir := t.TempDir()
	writeFile(t, dir, "rules.yml", adapt(t, "prometheus/rules.yml"))
	config := writeFile(t, dir, "prometheus.yml", adapt(t, "prometheus/prometheus.yml",
		"- 127.0.0.1:8081", "- "+g.admin,
		"scrape_interval: 15s", "scrape_interval: 1s",
		"evaluation_interval: 15s", "evaluation_interval: 1s",
		"scrape_timeout: 5s", "scrape_timeout: 1s"))
	listen := "127.0.0.1:" + freePort(t)
	p := &prometheus{base: "http://" + listen}
	p.process = startProcess(t, exec.Command(bin,
		"--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+listen,
		"--log.level=warn"))
	return p
}

func TestPrometheusScrapes(t *testing.T) {
	g := startGateway(t, setup{args: fastPings})
	exerciseGateway(t, g)
	const n = 3
	stop := make(chan struct{})
	ended := make(chan error, n)
	for range n {
		c, err := dial(g.addr, "/")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		go func() { ended <- c.stayConnected(stop) }()
	}
	// Something to see on every panel while Prometheus looks: traffic until the end.
	go func() { ended <- chatter(g.addr, stop) }()
	defer func() {
		close(stop)
		for range n + 1 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}()

	p := startPrometheus(t, g)
	value := func(expr, want string) {
		t.Helper()
		waits.Succeeds(t, waits.Patience, expr+" is "+want, func() error {
			r, err := p.instant(expr)
			if err != nil {
				return err
			}
			if len(r) != 1 || r[0].Value[1] != want {
				return fmt.Errorf("got %v", r)
			}
			return nil
		})
	}
	value(`up{job="wsgateway"}`, "1")
	value(`wsgateway_connections{job="wsgateway"}`, fmt.Sprint(n+1))

	t.Run("rules load and evaluate", func(t *testing.T) { checkRules(t, p) })
	t.Run("every query of the dashboard has data", func(t *testing.T) { checkDashboard(t, p) })
}

func checkRules(t *testing.T, p *prometheus) {
	type rule struct{ Name, Query, Health, LastError, State string }
	waits.Succeeds(t, waits.Patience, "all rules evaluated", func() error {
		var data struct{ Groups []struct{ Rules []rule } }
		if err := p.query("/api/v1/rules", nil, &data); err != nil {
			return err
		}
		if len(data.Groups) == 0 {
			return errors.New("no groups")
		}
		for _, group := range data.Groups {
			for _, r := range group.Rules {
				if r.Health != "ok" {
					return fmt.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
				}
				// A healthy gateway with a few clients raises no alarm.
				if r.State == "firing" {
					return fmt.Errorf("%s is firing", r.Name)
				}
			}
		}
		return nil
	})
}

func checkDashboard(t *testing.T, p *prometheus) {
	variables := strings.NewReplacer(
		"$__rate_interval", "10s", "$__interval", "10s", "$__range", "1m", "$instance", ".*")
	for title, exprs := range readDashboard(t).expressions() {
		for _, expr := range exprs {
			expr := variables.Replace(expr)
			mayBeEmpty := title == "annotations"
			waits.Succeeds(t, waits.Patience, title+": "+expr, func() error {
				r, err := p.instant(expr)
				if err == nil && len(r) == 0 && !mayBeEmpty {
					err = errors.New("no data")
				}
				return err
			})
		}
	}
}

// A gateway that ends stops being ready, and is then seen to be down.
func TestPrometheusSeesTheEnd(t *testing.T) {
	g := startGateway(t, setup{})
	p := startPrometheus(t, g)
	waits.Succeeds(t, waits.Patience, "up", func() error { return expectUp(p, "1") })
	g.signal(t, 15)
	if code := g.wait(t, waits.Patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	waits.Succeeds(t, waits.Patience, "down", func() error { return expectUp(p, "0") })
}

func expectUp(p *prometheus, want string) error {
	r, err := p.instant(`up{job="wsgateway"}`)
	if err == nil && (len(r) != 1 || r[0].Value[1] != want) {
		err = fmt.Errorf("up is %v", r)
	}
	return err
}

// chatter keeps one connection talking until stop is closed.
func chatter(addr string, stop <-chan struct{}) error {
	c, err := dial(addr, "/")
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return nil
		case <-tick.C:
		}
		if err := c.echo([]byte{opText, opBinary}[i%2], []byte("chatter")); err != nil {
			return err
		}
	}
}

func TestPromtoolChecksScrape(t *testing.T) {
	promtool := tool(t, "promtool")
	g := startGateway(t, setup{})
	exerciseGateway(t, g)
	status, body, err := g.get("/metrics")
	if err != nil || status != http.StatusOK {
		t.Fatalf("/metrics: %d, %v", status, err)
	}
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(body)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
