package layering

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// serverMethods is how many methods session.Server may have. What it could have more of belongs to one of its
// parts.
const serverMethods = 45

func TestMethodsOfServer(t *testing.T) {
	files, err := filepath.Glob("../../session/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && receiver(fn) == "Server" {
				names = append(names, fn.Name.Name)
			}
		}
	}
	if n := len(names); n == 0 || n > serverMethods {
		t.Errorf("Server has %d methods, want some, and at most %d: %v", n, serverMethods, names)
	}
}

// receiver returns the name of the type whose method fn is, "" for a function.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	name, _ := typ.(*ast.Ident)
	if name == nil {
		return ""
	}
	return name.Name
}
