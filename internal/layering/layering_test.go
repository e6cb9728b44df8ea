// Package layering holds a test of which package may import which.
package layering

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed lists, for each package of the module, the packages of the module it may depend on,
// directly or not. Imports point down only: what is not listed is refused, for new packages
// too, so that every new arrow is a decision.
var allowed = map[string][]string{
	"internal/slab":    {},
	"internal/counter": {},
	"wsproto":          {},
	"netpoll":          {"internal/slab", "internal/counter"},
	"session":          {"netpoll", "wsproto", "internal/slab", "internal/counter"},
	"target":           {"session", "netpoll", "wsproto", "internal/slab", "internal/counter"},
	"echo":             {"target", "session", "netpoll", "wsproto", "internal/slab", "internal/counter"},
	"broadcast":        {"target", "session", "netpoll", "wsproto", "internal/slab", "internal/counter"},
	"webpubsub":        {"target", "session", "netpoll", "wsproto", "internal/slab", "internal/counter"},
	"metrics":          {"target", "session", "netpoll", "wsproto", "internal/slab", "internal/counter"},
	"cmd/gateway":      {"metrics", "echo", "broadcast", "webpubsub", "target", "session", "netpoll", "wsproto", "internal/slab", "internal/counter"},
	"examples/echo":    {"session", "netpoll", "wsproto", "internal/slab", "internal/counter"},
	"examples/chat":    {"session", "netpoll", "wsproto", "internal/slab", "internal/counter"},
	"examples/ticker":  {"session", "netpoll", "wsproto", "internal/slab", "internal/counter"},
}

// independent are trees that depend on nothing outside of themselves, so that they cannot share
// a bug with what they test.
var independent = []string{"bench", "internal/peertest", "internal/layering"}

// foreign lists modules that only some packages may use.
var foreign = map[string][]string{
	"github.com/mailru/easygo":      {"netpoll"},
	"github.com/gobwas/ws":          {"wsproto"},
	"github.com/klauspost/compress": {"wsproto"},
	"github.com/prometheus/client":  {"metrics", "cmd/gateway"},
	"github.com/schollz":            {"bench"},
	"github.com/HdrHistogram":       {"bench"},
}

func TestImportsPointDown(t *testing.T) {
	const module = "wsgateway/"
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Deps " "}}|{{join .Imports " "}}`, module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		all, direct, _ := strings.Cut(strings.TrimSpace(line), "|")
		deps := strings.Fields(all)
		pkg := strings.TrimPrefix(deps[0], module)
		seen++
		tree := ""
		for _, root := range independent {
			if pkg == root || strings.HasPrefix(pkg, root+"/") {
				tree = root
			}
		}
		may, known := allowed[pkg]
		if tree == "" && !known {
			t.Errorf("%s is not listed: say what it may import", pkg)
			continue
		}
		for _, dep := range deps[1:] {
			dep, own := strings.CutPrefix(dep, module)
			if !own {
				continue
			}
			if tree != "" && dep != tree && !strings.HasPrefix(dep, tree+"/") || tree == "" && !slices.Contains(may, dep) {
				t.Errorf("%s depends on %s", pkg, dep)
			}
		}
		for _, dep := range strings.Fields(direct) {
			for mod, users := range foreign {
				if strings.HasPrefix(dep, mod) && !slices.Contains(users, pkg) && !slices.Contains(users, tree) {
					t.Errorf("%s imports %s, which is for %v", pkg, dep, users)
				}
			}
		}
	}
	if seen < len(allowed) {
		t.Errorf("only %d packages seen", seen)
	}
}
