package api

import (
	"fmt"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const apiPage = "../docs/api.md"

// TestAPIPage keeps the tables of docs/api.md what the code says. -rewrite writes them.
func TestAPIPage(t *testing.T) {
	text, err := os.ReadFile(apiPage)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	for part, table := range map[string]string{"errors": errorTable(t), "routes": routeTable()} {
		block := regexp.MustCompile(`(?s)(<!-- ` + part + `: [^\n]* -->\n).*?(<!-- end -->)`)
		if !block.MatchString(got) {
			t.Fatalf("%s has no place for %s", apiPage, part)
		}
		got = block.ReplaceAllStringFunc(got, func(old string) string {
			m := block.FindStringSubmatch(old)
			return m[1] + table + m[2]
		})
	}
	if *rewrite {
		if err := os.WriteFile(apiPage, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(text), got); diff != "" {
		t.Errorf("docs/api.md is not what the code says; run the test with -rewrite:\n%s", diff)
	}
}

func routeTable() string {
	var b strings.Builder
	b.WriteString("| | | needs | answered by |\n|---|---|---|---|\n")
	for _, r := range Routes() {
		fmt.Fprintf(&b, "| %s | `%s` | `%s` | %s: %s |\n", r.Method, r.Path, r.Capability, answeredBy()[r.Where], r.Doc)
	}
	return strings.Replace(b.String(), "| | | needs | answered by |", "| method | path | needs | answered by, and what it does |", 1)
}

// errorTable is made of the Code constants and their comments.
func errorTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| code | status | meaning |\n|---|---|---|\n")
	for _, c := range codes(t) {
		fmt.Fprintf(&b, "| `%s` | %d | %s |\n", c.code, c.status, c.meaning)
	}
	return b.String()
}

type documentedCode struct {
	code    string
	status  int
	meaning string
}

// codes are the constants whose names begin with Code, as errors.go documents them.
func codes(t *testing.T) []documentedCode {
	t.Helper()
	file, err := goparser.ParseFile(token.NewFileSet(), "errors.go", nil, goparser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	comment := regexp.MustCompile(`^(\d{3}): (.+)`)
	var out []documentedCode
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		m := comment.FindStringSubmatch(strings.TrimSpace(spec.Comment.Text()))
		if m == nil {
			t.Fatalf("%s: want a comment such as \"404: there is no such path\"", spec.Names[0].Name)
		}
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		status, _ := strconv.Atoi(m[1])
		out = append(out, documentedCode{code, status, m[2]})
		return true
	})
	return out
}

// TestEveryCodeHasItsStatus: what the comments say is what goes over the wire.
func TestEveryCodeHasItsStatus(t *testing.T) {
	all := codes(t)
	if len(all) < 15 {
		t.Fatalf("found %d codes only", len(all))
	}
	for _, c := range all {
		if got := (&Error{Code: c.code}).Status(); got != c.status {
			t.Errorf("%s: status %d, its comment says %d", c.code, got, c.status)
		}
	}
}
