package jobspecs

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "accept what the code does now as what is wanted")

// section is one part of a story file, "-- name --" and the lines after it.
type section struct {
	name string
	body string
}

func readStory(t *testing.T, file string) (head string, sections []section) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "-- "); ok && strings.HasSuffix(name, " --") {
			sections = append(sections, section{name: strings.TrimSuffix(name, " --")})
		} else if len(sections) == 0 {
			head += line
		} else {
			sections[len(sections)-1].body += line
		}
	}
	return head, sections
}

// inputsOf reads the lines of a story's section "inputs": var NAME=VALUE, env NAME=VALUE, lenient, files.
func inputsOf(t *testing.T, lines string, in *Inputs) {
	t.Helper()
	for line := range strings.Lines(lines) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "var":
			in.Vars = append(in.Vars, rest)
		case "env":
			in.Env = append(in.Env, rest)
		case "lenient":
			in.Strict = false
		case "files":
			in.BaseDir = "testdata/files"
		default:
			t.Fatalf("unknown input %q", line)
		}
	}
}

// TestStories runs testdata/*.txt: a job file, its inputs and variable files, and what is said of it or made of it.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no stories", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			head, sections := readStory(t, file)
			in := Inputs{Strict: true}
			var src Source
			want := ""
			for _, s := range sections {
				switch {
				case s.name == "want":
					want = s.body
				case s.name == "inputs":
					inputsOf(t, s.body, &in)
				case strings.HasSuffix(s.name, "vars.hcl") || strings.HasSuffix(s.name, "vars.json"):
					in.VarFiles = append(in.VarFiles, Source{Name: s.name, Data: []byte(s.body)})
				default:
					src = Source{Name: s.name, Data: []byte(s.body)}
				}
			}
			got := tell(t, src, in)
			if *rewrite {
				rewriteStory(t, file, head, sections, got)
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the story went otherwise (-want +got); -rewrite accepts:\n%s", diff)
			}
		})
	}
}

// tell parses a job and writes what a user would see: diagnostics, then the job without what is the same in every job.
func tell(t *testing.T, src Source, in Inputs) string {
	t.Helper()
	j, ds := Parse(src, in)
	if (j == nil) != ds.HasErrors() {
		t.Errorf("the job is %v and there are errors: %v", j, ds.HasErrors())
	}
	var b bytes.Buffer
	if err := ds.WriteTo(&b, false, 100); err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		if d.File == "" || d.Line < 1 || d.Column < 1 || d.Message == "" {
			t.Errorf("the diagnostic %+v has no place or no message", d)
		}
	}
	if j == nil {
		return b.String()
	}
	text, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	again, ds := ParseJSON(text)
	if diff := cmp.Diff(j, again); diff != "" || len(ds) > 0 {
		t.Errorf("the job does not survive JSON (-before +after): %v\n%s", ds, diff)
	}
	var plain map[string]any
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"Stop", "Version", "SubmitTime", "CreateIndex", "ModifyIndex", "JobModifyIndex"} {
		delete(plain, k)
	}
	shorten(plain)
	text, _ = json.MarshalIndent(plain, "", "  ") //nolint:errcheck // it was JSON
	fmt.Fprintf(&b, "%s\n", strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(text)))
	return b.String()
}

// shorten leaves out what a default job has too.
func shorten(m map[string]any) {
	j, _ := Parse(Source{Name: "x", Data: []byte("job \"x\" {\ntask \"x\" {\ndriver = \"exec\"\n}\n}")}, Inputs{})
	text, _ := json.Marshal(j) //nolint:errcheck // a job is JSON
	var base map[string]any
	json.Unmarshal(text, &base) //nolint:errcheck // the same
	group := base["TaskGroups"].([]any)[0].(map[string]any)
	task := group["Tasks"].([]any)[0].(map[string]any)
	drop := func(m, base map[string]any) {
		for k, v := range base {
			if k != "Name" && k != "ID" && cmp.Equal(m[k], v) {
				delete(m, k)
			}
		}
	}
	drop(m, base)
	groups, _ := m["TaskGroups"].([]any)
	for _, g := range groups {
		g := g.(map[string]any)
		drop(g, group)
		tasks, _ := g["Tasks"].([]any)
		for _, t := range tasks {
			drop(t.(map[string]any), task)
		}
	}
}

func rewriteStory(t *testing.T, file, head string, sections []section, got string) {
	t.Helper()
	var b strings.Builder
	b.WriteString(head)
	for _, s := range sections {
		if s.name != "want" {
			fmt.Fprintf(&b, "-- %s --\n%s", s.name, s.body)
		}
	}
	fmt.Fprintf(&b, "-- want --\n%s", got)
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestExamples parses every job file that we hand out.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../examples/*.nomad.hcl")
	if err != nil || len(files) < 4 {
		t.Fatalf("found the examples %v, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		j, ds := Parse(Source{Name: file, Data: data}, Inputs{Strict: true})
		if len(ds) > 0 {
			t.Errorf("%v", ds)
		}
		if j != nil && j.Validate() != nil {
			t.Errorf("%s: %v", file, j.Validate())
		}
	}
	first, err := os.ReadFile("../examples/" + ExampleName)
	if err != nil || !bytes.Equal(first, Example()) {
		t.Errorf("examples/%s is not what job init writes: %v", ExampleName, err)
	}
}
