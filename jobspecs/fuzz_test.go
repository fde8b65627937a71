package jobspecs

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// seeds adds the parts of every story, the examples and the bombs.
func seeds(f *testing.F) {
	f.Helper()
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for part := range bytes.SplitSeq(data, []byte("-- ")) {
			if _, body, ok := bytes.Cut(part, []byte("\n")); ok && len(body) < 8<<10 {
				f.Add(body)
			}
		}
	}
	f.Add(Example())
	for name, b := range bombs() {
		if strings.HasPrefix(name, "huge") && len(b) < 4<<10 { // the others take seconds under the race detector, and have their own test
			f.Add([]byte(b))
		}
	}
}

// check holds for whatever Parse and ParseJSON are given.
func check(t *testing.T, text []byte, in Inputs) {
	t.Helper()
	start := cpuTime(t)
	j, ds := Parse(Source{Name: "fuzz", Data: text}, in)
	if took := cpuTime(t) - start; took > 5*time.Second {
		t.Fatalf("it took %v", took)
	}
	if (j == nil) != ds.HasErrors() {
		t.Fatalf("the job is %v, the diagnostics are %v", j, ds)
	}
	if len(ds) > 5*MaxDiagnostics+1 {
		t.Fatalf("there are %d diagnostics", len(ds))
	}
	if err := ds.WriteTo(io.Discard, true, 80); err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		if d.File == "" || d.Line < 1 || d.Column < 1 || d.Message == "" {
			t.Fatalf("%+v has no place or no message", d)
		}
	}
	if j == nil {
		return
	}
	if err := j.Validate(); err != nil {
		t.Fatalf("the job is not valid: %v", err)
	}
	out, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) > MaxSource {
		return
	}
	again, ds := ParseJSON(out)
	if diff := cmp.Diff(j, again); diff != "" || len(ds) > 0 {
		t.Fatalf("the job does not survive JSON: %v\n%s", ds, diff)
	}
}

func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		check(t, text, Inputs{Strict: true, Env: []string{"DROVER_VAR_n=1", "A=b"}})
	})
}

// FuzzExpression puts the text where an expression stands, which FuzzParse seldom gets to.
func FuzzExpression(f *testing.F) {
	for _, e := range []string{`"${attr.x}"`, "local.a", "[for x in local.l : x...]", `{ for k, v in local.m : k => v... }`, "local.l[*].a", `regex("a(b)", "ab")`,
		`try(local.x, 1)`, `format("%s", local.l)`, `yamldecode("a: b")`, `"%{ if local.b }x%{ endif }"`, `convert(local.m, map(string))`,
		"<<-EOT\n  ${local.a}\n  EOT", `jsonencode(local)`, `cidrsubnets("10.0.0.0/8", 1)`, `local.b ? 1 : "x"`, `substr("abc", -1, 2)`} {
		f.Add(e)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		text := "locals {\n a = \"x\"\n b = true\n l = [1, \"a\", null]\n m = { a = 1, b = \"c\" }\n}\n" +
			"job \"j\" {\n task \"t\" {\n driver = \"exec\"\n config {\n a = " + expr + "\n}\n}\n}\n"
		check(t, []byte(text), Inputs{})
	})
}

func FuzzParseJSON(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		j, ds := ParseJSON(text)
		if (j == nil) != ds.HasErrors() {
			t.Fatalf("the job is %v, the diagnostics are %v", j, ds)
		}
		if j != nil {
			check(t, text, Inputs{})
		}
	})
}

func FuzzVarFile(f *testing.F) {
	f.Add([]byte("a = \"x\"\nb = [1, 2]\nc = { x = 1 }\n"), "5", "number")
	f.Add([]byte(`{"a": "x", "b": [1], "c": {}}`), "[1, 2]", "list(any)")
	f.Add([]byte("a = 1"), `{ a = "b" }`, "object({ a = string, b = optional(number, 5) })")
	f.Add([]byte("b = {}"), `x`, "tuple([string, set(map(bool))])")
	f.Fuzz(func(t *testing.T, file []byte, value, ty string) {
		text := "variable \"a\" {\n default = null\n}\nvariable \"b\" {\n default = null\n type = " + ty + "\n}\nvariable \"c\" {\n type = " + ty +
			"\n default = null\n}\njob \"j\" {\n meta = { a = jsonencode(var.a), b = jsonencode(var.b), c = jsonencode(var.c) }\n task \"t\" {\n driver = \"exec\"\n }\n}\n"
		check(t, []byte(text), Inputs{Strict: true, VarFiles: []Source{{Name: "vars", Data: file}}, Vars: []string{"c=" + value},
			Env: []string{"NOMAD_VAR_b=" + value}})
	})
}
