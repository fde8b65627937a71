package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/drover-io/drover/jobspecs"
)

// TestDocsCommandLines: every command in a page, in a code block or in running text, names a command that there is, with flags that it has. What a
// reader fills in stands in angle brackets.
func TestDocsCommandLines(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "../../README.md", "../../CONTRIBUTING.md")
	lines := 0
	for _, page := range pages {
		if filepath.Base(page) == "cli.md" { // written from the commands
			continue
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range commandLines(string(text)) {
			lines++
			if err := knownCommand(line); err != nil {
				t.Errorf("%s: `%s`: %v", filepath.Base(page), line, err)
			}
		}
	}
	if lines < 20 {
		t.Errorf("found %d command lines only", lines)
	}
}

// knownCommand reads a command line as the shell and drover would, without running it.
func knownCommand(line string) error {
	words := strings.Fields(line)[1:]
	root := newRoot(newApp(nil, nil, nil))
	words = doubleDashes(root, words)
	cmd, args, err := root.Find(words)
	if err != nil {
		return err
	}
	if cmd.HasSubCommands() && cmd.Runnable() && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return unknownVerb(cmd, args[0])
	}
	cmd.InitDefaultHelpFlag()
	return cmd.ParseFlags(args)
}

var (
	// A command ends at a comment, a pipe, a redirection (not at <placeholder>) or the next command.
	commandEnd = regexp.MustCompile(`\s#.*|\s[|&;].*|\s[<>]\s.*|\s2?>.*|\)\s.*|;.*`)
	// What a reader may find before the command: a prompt, sudo, settings of the environment.
	commandStart = regexp.MustCompile(`^(?:\$ |sudo |(?:[A-Z_]+=\S+ ))*drover `)
)

// inlineCommand is a command in running text, perhaps over the end of a line.
var inlineCommand = regexp.MustCompile("`(drover [a-z-][^`]*)`")

// commandLines are the lines of a page's code blocks (fenced, or indented by four) that run drover, and the commands in running text.
func commandLines(text string) []string {
	var found []string
	for _, m := range inlineCommand.FindAllStringSubmatch(text, -1) {
		found = append(found, strings.ReplaceAll(m[1], "\n", " "))
	}
	fenced, joined := false, ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if !fenced && !strings.HasPrefix(line, "    ") {
			continue
		}
		line = joined + strings.TrimSpace(line)
		if rest, more := strings.CutSuffix(line, `\`); more {
			joined = rest
			continue
		}
		joined = ""
		if start := commandStart.FindString(line); start != "" {
			found = append(found, commandEnd.ReplaceAllString("drover "+line[len(start):], ""))
		}
	}
	return found
}

var hclBlock = regexp.MustCompile("(?ms)^```hcl\n(.*?)^```")

// TestDocsJobFiles: every job file in a page is one.
func TestDocsJobFiles(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range hclBlock.FindAllStringSubmatch(string(text), -1) {
			if !regexp.MustCompile(`(?m)^job "`).MatchString(m[1]) {
				continue // a part of one, or of a configuration
			}
			found++
			if _, diags := jobspecs.Parse(jobspecs.Source{Name: filepath.Base(page), Data: []byte(m[1])}, jobspecs.Inputs{}); diags.HasErrors() {
				t.Errorf("%s: %v\n%s", filepath.Base(page), diags, m[1])
			}
		}
	}
	if found < 5 {
		t.Errorf("found %d job files only", found)
	}
}
