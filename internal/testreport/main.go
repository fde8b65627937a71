package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"
)

// event is one line of `go test -json`, see `go doc test2json`.
type event struct {
	Action  string
	Package string
	// ImportPath stands in for Package in build events: "example.org/pkg [example.org/pkg.test]".
	ImportPath string
	Test       string
	Elapsed    float64
	Output     string
}

// report gathers the events of all packages.
type report struct {
	out                     io.Writer
	output                  map[string][]string // "package test" → lines
	begun                   map[string][]string // package → its tests that have not ended
	skipped                 []string
	passed, failed, ignored int
	build                   []string
}

func newReport(out io.Writer) *report {
	return &report{out: out, output: map[string][]string{}, begun: map[string][]string{}}
}

func main() {
	r := newReport(os.Stdout)
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 16<<20)
	for in.Scan() {
		var e event
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			fmt.Println(in.Text())
			continue
		}
		r.add(e)
	}
	if err := in.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "read test output:", err)
		os.Exit(1)
	}
	if !r.close() {
		os.Exit(1)
	}
}

func (r *report) add(e event) {
	if e.Package == "" {
		e.Package = e.ImportPath
	}
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		r.output[key] = append(r.output[key], e.Output)
	case "build-fail":
		r.build = append(r.build, e.Package)
	case "run":
		r.begun[e.Package] = append(r.begun[e.Package], e.Test)
	case "pass":
		r.end(e, "ok  ")
	case "fail":
		r.end(e, "FAIL")
		fmt.Fprint(r.out, strings.Join(r.output[key], ""))
	case "skip":
		r.forget(e)
		r.skip(e, key)
	}
}

// forget notes that a test has ended.
func (r *report) forget(e event) {
	r.begun[e.Package] = slices.DeleteFunc(r.begun[e.Package], func(name string) bool { return name == e.Test })
}

func (r *report) end(e event, word string) {
	r.forget(e)
	switch {
	case e.Test == "":
		r.died(e.Package)
		fmt.Fprintf(r.out, "%s  %-60s %6.1fs\n", word, e.Package, e.Elapsed)
	case word == "FAIL":
		r.failed++
		fmt.Fprintf(r.out, "FAIL  %s %s\n", e.Package, e.Test)
	default:
		r.passed++
		delete(r.output, e.Package+" "+e.Test)
	}
	if word == "FAIL" && e.Test == "" && r.failed == 0 {
		r.failed++ // a package that did not build, or died outside a test
	}
}

// died names the tests that a package took with it when it ended, and prints what they said: a panic is among it, and test2json gives
// them no end of their own.
func (r *report) died(pkg string) {
	for _, test := range r.begun[pkg] {
		r.failed++
		fmt.Fprintf(r.out, "FAIL  %s %s: did not end\n%s", pkg, test, strings.Join(r.output[pkg+" "+test], ""))
	}
	delete(r.begun, pkg)
}

func (r *report) skip(e event, key string) {
	if e.Test == "" {
		return // a package without tests
	}
	r.ignored++
	reason := "no reason given"
	for _, line := range r.output[key] {
		if text := strings.TrimSpace(line); text != "" && !strings.HasPrefix(text, "=== ") && !strings.HasPrefix(text, "--- ") {
			reason = text
		}
	}
	r.skipped = append(r.skipped, fmt.Sprintf("skip  %s %s: %s", e.Package, e.Test, reason))
}

func (r *report) close() bool {
	sort.Strings(r.skipped)
	for _, line := range r.skipped {
		fmt.Fprintln(r.out, line)
	}
	for _, pkg := range r.build {
		fmt.Fprintln(r.out, "FAIL  does not build:", pkg)
		fmt.Fprint(r.out, strings.Join(r.output[pkg+" "], ""))
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.ignored)
	return r.failed == 0 && len(r.build) == 0 && r.passed > 0
}
