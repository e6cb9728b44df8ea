// Package layering holds a test of which package may import which.
package layering

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "wsgateway/"

// allowed lists, for each package of the module, the packages of the module that it may import. The
// order is that of the layers: each imports from above only. What is not listed is refused, for new
// packages too, so that every new arrow is a decision.
var allowed = []struct {
	pkg     string
	imports []string
}{
	{linuxOnly, nil},
	{"internal/slab", nil},
	{"internal/counter", nil},
	{"internal/lanes", nil},
	{"internal/asynclog", nil},
	{"internal/hub", []string{"internal/slab", "internal/counter"}},
	{"wsproto", nil},
	{"netpoll", []string{"internal/slab", "internal/counter"}},
	{"session", []string{"netpoll", "wsproto", "internal/slab", "internal/lanes", "internal/hub", "internal/counter"}},

	{testWaits, nil}, // imported by tests alone
	{"internal/wstest", []string{"session", testWaits}}, // likewise
	{testInflater, nil}, // likewise

	{"target", []string{"session"}},
	{"echo", []string{"target", "session"}},
	{"broadcast", []string{"target", "session"}},
	{"webpubsub", []string{"target", "session"}},

	{"metrics", []string{"target", "session", "internal/counter"}},
	{"cmd/gateway", []string{"internal/asynclog", "metrics", "echo", "broadcast", "webpubsub", "target", "session", "netpoll", "wsproto"}},

	{"internal/muxserver", []string{"echo", "broadcast", "session"}}, // a program of internal/peertest
	{"examples/echo", []string{"session"}},
	{"examples/chat", []string{"session"}},
	{"examples/ticker", []string{"session"}},
	{"examples/embed-http", []string{"session"}},
}

// linuxOnly holds no code, only a line for other systems. Every package may import it.
const linuxOnly = "internal/linuxonly"

// testInflater and testWaits are not part of what is tested. The independent trees may import them too.
const (
	testInflater = "internal/inflate"
	testWaits    = "internal/waits"
)

// independent are trees that import nothing of the module outside of themselves, in their tests neither,
// so that they cannot share a bug with what they test.
var independent = []string{"bench", "internal/peertest", "internal/layering"}

// foreign lists modules that only some packages may import.
var foreign = map[string][]string{
	"github.com/mailru/easygo":      {"netpoll"},
	"github.com/gobwas/ws":          {"wsproto", "internal/wstest"},
	"github.com/klauspost/compress": {"wsproto"},
	"github.com/prometheus/client":  {"metrics", "cmd/gateway"},
	"github.com/schollz":            {"bench"},
	"github.com/HdrHistogram":       {"bench"},
}

// The table itself has no arrow that points up.
func TestLayersAreInOrder(t *testing.T) {
	seen := make(map[string]bool)
	for _, layer := range allowed {
		for _, dep := range layer.imports {
			if !seen[dep] {
				t.Errorf("%s may import %s, which does not stand above it", layer.pkg, dep)
			}
		}
		seen[layer.pkg] = true
	}
}

func TestImportsPointDown(t *testing.T) {
	left := make(map[string][]string)
	for _, layer := range allowed {
		left[layer.pkg] = layer.imports
	}
	for pkg, imports := range list(t, `{{join .Imports " "}}`) {
		if treeOf(pkg) != "" {
			continue
		}
		may, known := left[pkg]
		if !known {
			t.Errorf("%s is not listed: say what it may import", pkg)
		}
		delete(left, pkg)
		checkForeign(t, pkg, pkg, imports)
		for _, dep := range imports {
			if dep, own := strings.CutPrefix(dep, module); own && dep != linuxOnly && !slices.Contains(may, dep) {
				t.Errorf("%s imports %s, and may import %v", pkg, dep, may)
			}
		}
	}
	for pkg := range left {
		t.Errorf("%s is listed, and is not there", pkg)
	}
}

func TestIndependentTrees(t *testing.T) {
	seen := make(map[string]bool)
	for pkg, imports := range list(t, `{{join .Imports " "}} {{join .TestImports " "}} {{join .XTestImports " "}}`) {
		if tree := treeOf(pkg); tree != "" {
			seen[tree] = true
			checkTree(t, pkg, tree, imports)
		}
	}
	for _, tree := range independent {
		if !seen[tree] {
			t.Errorf("%s is listed, and is not there", tree)
		}
	}
}

// list returns the imports of each package of the module, by the package's path in it. format is go
// list's, and says which imports.
func list(t *testing.T, format string) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} "+format, module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	imports := make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		imports[strings.TrimPrefix(fields[0], module)] = fields[1:]
	}
	return imports
}

// treeOf returns the independent tree that a package belongs to, "" for none.
func treeOf(pkg string) string {
	for _, root := range independent {
		if pkg == root || strings.HasPrefix(pkg, root+"/") {
			return root
		}
	}
	return ""
}

func checkTree(t *testing.T, pkg, tree string, imports []string) {
	t.Helper()
	checkForeign(t, pkg, tree, imports)
	for _, dep := range imports {
		if dep, own := strings.CutPrefix(dep, module); own && dep != linuxOnly && dep != testInflater && dep != testWaits && treeOf(dep) != tree {
			t.Errorf("%s imports %s, from outside of %s", pkg, dep, tree)
		}
	}
}

// checkForeign checks the imports of other modules. user is the package or the tree it belongs to.
func checkForeign(t *testing.T, pkg, user string, imports []string) {
	t.Helper()
	for _, dep := range imports {
		for mod, users := range foreign {
			if strings.HasPrefix(dep, mod) && !slices.Contains(users, user) {
				t.Errorf("%s imports %s, which is for %v", pkg, dep, users)
			}
		}
	}
}
