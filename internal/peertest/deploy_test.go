package peertest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wsgateway/internal/waits"
)

// dashboardFile is read as Grafana would, as far as these tests need it.
var dashboardFile = filepath.Join(moduleRoot, "deploy", "grafana", "dashboard.json")

type dashboard struct {
	UID           string  `json:"uid"`
	SchemaVersion int     `json:"schemaVersion"`
	Panels        []panel `json:"panels"`
	Annotations   struct {
		List []struct {
			Expr string `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []struct {
			Name string `json:"name"`
			Type string `json:"type"`
		} `json:"list"`
	} `json:"templating"`
}

type panel struct {
	ID      int    `json:"id"`
	Type    string `json:"type"`
	Title   string `json:"title"`
	GridPos struct {
		X, Y, W, H int
	} `json:"gridPos"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Datasource struct {
		UID string `json:"uid"`
	} `json:"datasource"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
	Panels []panel `json:"panels"` // of a collapsed row
}

// readDashboard returns the dashboard with the panels of collapsed rows among
// the others.
func readDashboard(t *testing.T) dashboard {
	t.Helper()
	b, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		d.Panels = append(d.Panels, p.Panels...)
	}
	return d
}

// expressions returns the dashboard's queries by panel title.
func (d dashboard) expressions() map[string][]string {
	m := map[string][]string{}
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			m[p.Title] = append(m[p.Title], q.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		m["annotations"] = append(m["annotations"], a.Expr)
	}
	return m
}

func TestDashboardIsWellFormed(t *testing.T) {
	d := readDashboard(t)
	if d.UID == "" || d.SchemaVersion < 36 {
		t.Errorf("uid %q, schemaVersion %d; links need a uid, data source objects need schema 36", d.UID, d.SchemaVersion)
	}
	var variables []string
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name+":"+v.Type)
	}
	for _, want := range []string{"datasource:datasource", "instance:query"} {
		if !slices.Contains(variables, want) {
			t.Errorf("no variable %s among %v", want, variables)
		}
	}
	ids, cells := map[int]string{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if other, ok := ids[p.ID]; ok {
			t.Errorf("panels %q and %q share id %d", other, p.Title, p.ID)
		}
		ids[p.ID] = p.Title
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := cells[[2]int{x, y}]; ok && other != p.Title {
					t.Errorf("panels %q and %q overlap", other, p.Title)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %q is wider than the grid", p.Title)
		}
		if p.Type == "row" {
			continue
		}
		if p.FieldConfig.Defaults.Unit == "" {
			t.Errorf("panel %q has no unit", p.Title)
		}
		if p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %q is tied to data source %q", p.Title, p.Datasource.UID)
		}
		if len(p.Targets) == 0 {
			t.Errorf("panel %q asks nothing", p.Title)
		}
		for _, q := range p.Targets {
			if !strings.Contains(q.Expr, `instance=~"$instance"`) {
				t.Errorf("panel %q ignores the variable instance: %s", p.Title, q.Expr)
			}
		}
	}
}

// metricName finds names of the gateway's metrics in any text.
var metricName = regexp.MustCompile(`\b(wsgateway|process|go)_[a-z0-9]+(_[a-z0-9]+)*\b`)

// Every metric that a file under deploy/ names, be it in a query, an annotation
// or a sentence, is one a gateway exports.
func TestDeployNamesOnlyMetricsThatExist(t *testing.T) {
	g := startGateway(t, setup{})
	exerciseGateway(t, g)
	exported := g.scrape(t).names()
	used := map[string]bool{}
	files := []string{
		"grafana/dashboard.json", "prometheus/rules.yml", "prometheus/rules_test.yml",
		"prometheus/prometheus.yml", "haproxy/haproxy.cfg", "README.md",
	}
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join(moduleRoot, "deploy", file))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, name := range metricName.FindAllString(string(b), -1) {
			used[strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")] = true
			if !exported[name] {
				t.Errorf("%s names %s, which the gateway does not export", file, name)
			}
		}
	}
	for name := range exported {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if strings.HasPrefix(name, "wsgateway_") && !used[base] && !used[name] {
			t.Errorf("%s is neither on the dashboard nor in a rule", name)
		}
	}
}

// exerciseGateway makes a little of everything, so that no counter of what
// ordinary clients do stays unborn.
func exerciseGateway(t *testing.T, g *gateway) {
	t.Helper()
	for _, path := range []string{"/", "/broadcast"} {
		c, err := dial(g.addr, path)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range []byte{opText, opBinary} {
			if err := c.echo(op, []byte("something")); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.send(opClose, []byte{1000 >> 8, 1000 & 0xff}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.awaitClose(ioTimeout); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	if c, err := dial(g.addr, "/nowhere"); err == nil {
		_ = c.Close()
	}
	waits.Succeeds(t, waits.Patience, "clients gone", func() error { return g.connections(0) })
}

// adapt returns a shipped file with some of its text replaced. Each piece has to
// be there exactly once: a file that changes takes its test along.
func adapt(t *testing.T, file string, oldnew ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(moduleRoot, "deploy", file))
	if err != nil {
		t.Fatal(err)
	}
	s := string(b)
	for i := 0; i < len(oldnew); i += 2 {
		if n := strings.Count(s, oldnew[i]); n != 1 {
			t.Fatalf("deploy/%s has %q %d times, want once", file, oldnew[i], n)
		}
		s = strings.Replace(s, oldnew[i], oldnew[i+1], 1)
	}
	return s
}

// writeFile writes a file of the test and returns its path.
func writeFile(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
