package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The limits of the house style.
const (
	maxFileLines  = 450
	maxFuncLines  = 70
	maxComplexity = 15
	maxDocLines   = 60
)

type source struct {
	path string // relative to the root
	dir  string
	test bool
	text string
	ast  *ast.File
}

func sources(t *testing.T) (*token.FileSet, []source) {
	t.Helper()
	fset := token.NewFileSet()
	var all []source
	top := root(t)
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != top && (name == "testdata" || name == "bin" || strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		all = append(all, source{rel, filepath.Dir(rel), strings.HasSuffix(path, "_test.go"), string(text), file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fset, all
}

func TestSizes(t *testing.T) {
	fset, all := sources(t)
	for _, s := range all {
		if s.test {
			continue
		}
		if n := strings.Count(s.text, "\n"); n > maxFileLines {
			t.Errorf("%s: %d lines, limit %d: split by noun", s.path, n, maxFileLines)
		}
		for _, d := range s.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > maxFuncLines {
				t.Errorf("%s: func %s has %d lines, limit %d", s.path, fn.Name.Name, n, maxFuncLines)
			}
			if n := complexity(fn); n > maxComplexity {
				t.Errorf("%s: func %s has cyclomatic complexity %d, limit %d", s.path, fn.Name.Name, n, maxComplexity)
			}
		}
	}
}

// complexity is McCabe's number: one plus the branches. Function literals inside count with their function.
func complexity(fn *ast.FuncDecl) int {
	n := 1
	ast.Inspect(fn, func(node ast.Node) bool {
		switch x := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			if x.List != nil {
				n++
			}
		case *ast.CommClause:
			if x.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if x.Op == token.LAND || x.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}

func TestEveryPackageHasADocFile(t *testing.T) {
	_, all := sources(t)
	has := map[string]bool{}
	for _, s := range all {
		if _, seen := has[s.dir]; !seen {
			has[s.dir] = false
		}
		if filepath.Base(s.path) == "doc.go" && s.ast.Doc != nil {
			has[s.dir] = true
			if n := strings.Count(s.ast.Doc.Text(), "\n"); n > maxDocLines {
				t.Errorf("%s: %d lines, limit %d", s.path, n, maxDocLines)
			}
		}
	}
	for dir, ok := range has {
		if !ok {
			t.Errorf("%s: no doc.go with a package comment", dir)
		}
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	_, all := sources(t)
	for _, s := range all {
		if s.test {
			continue
		}
		for _, d := range s.ast.Decls {
			switch x := d.(type) {
			case *ast.FuncDecl:
				if x.Name.IsExported() && x.Doc == nil && exportedReceiver(x) {
					t.Errorf("%s: %s is exported and not documented", s.path, x.Name.Name)
				}
			case *ast.GenDecl:
				undocumented(t, s.path, x)
			}
		}
	}
}

func exportedReceiver(fn *ast.FuncDecl) bool {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return true
	}
	typ := fn.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if generic, ok := typ.(*ast.IndexExpr); ok {
		typ = generic.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// undocumented reports exported types without a comment of their own, and exported constants and variables for which neither
// they nor their group has one.
func undocumented(t *testing.T, path string, d *ast.GenDecl) {
	t.Helper()
	for _, spec := range d.Specs {
		switch x := spec.(type) {
		case *ast.TypeSpec:
			if x.Name.IsExported() && x.Doc == nil && (d.Doc == nil || len(d.Specs) > 1) {
				t.Errorf("%s: type %s is exported and not documented", path, x.Name.Name)
			}
		case *ast.ValueSpec:
			for _, name := range x.Names {
				if name.IsExported() && x.Doc == nil && x.Comment == nil && d.Doc == nil {
					t.Errorf("%s: %s is exported and not documented", path, name.Name)
				}
			}
		}
	}
}

func TestForbiddenCalls(t *testing.T) {
	fset, all := sources(t)
	pure := []string{"state", "sched"}
	bubbles := map[string]bool{} // packages whose tests run in bubbles: their helpers sleep in virtual time
	for _, s := range all {
		bubbles[s.dir] = bubbles[s.dir] || s.test && strings.Contains(s.text, `"testing/synctest"`)
	}
	for _, s := range all {
		bubble := bubbles[s.dir]
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.GoStmt:
				if !s.test {
					t.Errorf("%s: naked go statement: use a WaitGroup's or an errgroup's Go, which somebody waits on", fset.Position(x.Pos()))
				}
			case *ast.SelectorExpr:
				id, ok := x.X.(*ast.Ident)
				if !ok || id.Name != "time" {
					return true
				}
				if x.Sel.Name == "Sleep" && s.test && !bubble {
					t.Errorf("%s: time.Sleep in a test outside a synctest bubble: wait for what you mean", fset.Position(x.Pos()))
				}
				if !s.test && slices.Contains(pure, s.dir) && slices.Contains([]string{"Now", "Since", "Until", "After", "Tick"}, x.Sel.Name) {
					t.Errorf("%s: time.%s in a pure room: take the time as an argument", fset.Position(x.Pos()), x.Sel.Name)
				}
			case *ast.FuncDecl:
				if x.Name.Name == "init" && x.Recv == nil {
					t.Errorf("%s: init function", fset.Position(x.Pos()))
				}
			}
			return true
		})
	}
}

func TestPackageVariablesAreNeverChanged(t *testing.T) {
	fset, all := sources(t)
	vars := map[string]map[string]bool{} // directory → names
	for _, s := range all {
		for _, d := range s.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR || s.test {
				continue
			}
			for _, spec := range g.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if vars[s.dir] == nil {
						vars[s.dir] = map[string]bool{}
					}
					vars[s.dir][name.Name] = name.Name != "_"
				}
			}
		}
	}
	for _, s := range all {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			var targets []ast.Expr
			switch x := n.(type) {
			case *ast.AssignStmt:
				if x.Tok != token.DEFINE {
					targets = x.Lhs
				}
			case *ast.IncDecStmt:
				targets = []ast.Expr{x.X}
			}
			for _, target := range targets {
				id := rootIdent(target)
				// An identifier that the parser resolved to a local declaration is not the package's.
				if id != nil && vars[s.dir][id.Name] && (id.Obj == nil || packageLevel(id.Obj, s.ast)) {
					t.Errorf("%s: package variable %s is changed", fset.Position(id.Pos()), id.Name)
				}
			}
			return true
		})
	}
}

func rootIdent(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

func packageLevel(obj *ast.Object, file *ast.File) bool {
	return file.Scope != nil && file.Scope.Lookup(obj.Name) == obj
}
