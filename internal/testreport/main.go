package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
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
	output                  map[string][]string // "package test" → lines
	skipped                 []string
	passed, failed, ignored int
	build                   []string
}

func main() {
	r := report{output: map[string][]string{}}
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
	case "pass":
		r.end(e, "ok  ")
	case "fail":
		r.end(e, "FAIL")
		fmt.Print(strings.Join(r.output[key], ""))
	case "skip":
		r.skip(e, key)
	}
}

func (r *report) end(e event, word string) {
	switch {
	case e.Test == "":
		fmt.Printf("%s  %-60s %6.1fs\n", word, e.Package, e.Elapsed)
	case word == "FAIL":
		r.failed++
		fmt.Printf("FAIL  %s %s\n", e.Package, e.Test)
	default:
		r.passed++
		delete(r.output, e.Package+" "+e.Test)
	}
	if word == "FAIL" && e.Test == "" && r.failed == 0 {
		r.failed++ // a package that did not build, or died outside a test
	}
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
		fmt.Println(line)
	}
	for _, pkg := range r.build {
		fmt.Println("FAIL  does not build:", pkg)
		fmt.Print(strings.Join(r.output[pkg+" "], ""))
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.ignored)
	return r.failed == 0 && len(r.build) == 0 && r.passed > 0
}
