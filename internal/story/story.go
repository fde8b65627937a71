package story

import (
	"fmt"
	"regexp"
	"strings"
)

// Teller does what the lines of a story say.
type Teller interface {
	// Type runs a command line, without its "$ ", and returns what it printed, normalised, with its exit code.
	Type(line string) string
	// Wait waits for what a line, without its "= ", says.
	Wait(line string)
}

// Tell tells a story and returns it with what its command lines print now.
func Tell(text string, t Teller) string {
	var b strings.Builder
	output := false // lines of the story that are output of a command are left out
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "$ "):
			if b.Len() > 0 && !strings.HasSuffix(b.String(), "\n\n") {
				b.WriteString("\n")
			}
			output = true
			b.WriteString(line + "\n" + t.Type(strings.TrimPrefix(line, "$ ")))
		case strings.HasPrefix(line, "= "):
			t.Wait(strings.TrimPrefix(line, "= "))
			if !strings.HasPrefix(lastLine(b.String()), "= ") {
				b.WriteString("\n")
			}
			b.WriteString(line + "\n")
			output = false
		case strings.HasPrefix(line, "# "):
			if output {
				b.WriteString("\n")
			}
			b.WriteString(line + "\n")
			output = false
		}
	}
	return b.String()
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	return lines[len(lines)-1]
}

// Printed is how a command's output and exit code stand in a story.
func Printed(output string, code int) string {
	if output != "" && !strings.HasSuffix(output, "\n") {
		output += "\n"
	}
	if code != 0 {
		output += fmt.Sprintf("[exit %d]\n", code)
	}
	return output
}

// Line is a command line of a story, with what it prints there.
type Line struct {
	Text   string // without its "$ "
	Output string
}

// Lines are the command lines of a story.
func Lines(text string) []Line {
	var out []Line
	for _, block := range strings.Split("\n"+text, "\n$ ")[1:] {
		line, output, _ := strings.Cut(block, "\n")
		out = append(out, Line{line, output})
	}
	return out
}

// complains reports whether a command said that something is wrong.
func (l Line) complains() bool {
	return strings.Contains("\n"+l.Output, "\nError:") || strings.Contains(l.Output, "error:")
}

// Failed reports whether the line was refused: a command that was used wrongly, or that could not do what it was asked for.
func (l Line) Failed() bool {
	return strings.Contains(l.Output, "[exit ") && l.complains()
}

// AsksJSON reports whether a command line asks for JSON.
func AsksJSON(args []string) bool {
	for i, a := range args {
		if a == "-json" || a == "--json" || a == "-o=json" || a == "-ojson" || a == "json" && i > 0 && (args[i-1] == "-o" || args[i-1] == "--output") {
			return true
		}
	}
	return false
}

// Calls are the words of each call of a program in a command line of a shell, without the program's name.
func Calls(program, line string) [][]string {
	var out [][]string
	call := regexp.MustCompile(`(?:^|[\s'"|;&(])` + program + `((?:\s+[^|;&()'"<>\s]+|\s+'[^']*'|\s+"[^"]*")*)`)
	for _, m := range call.FindAllStringSubmatch(line, -1) {
		out = append(out, strings.Fields(m[1]))
	}
	return out
}

// Proof is how a command is proven by stories.
type Proof struct{ Well, Wrong, JSON bool }

// Prove notes what a story proves of a program's commands; path is the command that the words of a call name.
func Prove(proofs map[string]*Proof, program, text string, path func(words []string) string) {
	for _, line := range Lines(text) {
		for _, call := range Calls(program, line.Text) {
			name := path(call)
			p := proofs[name]
			if p == nil {
				p = &Proof{}
				proofs[name] = p
			}
			p.Well = p.Well || !line.complains() // also where a pipe hides the exit code
			p.Wrong = p.Wrong || line.Failed()
			p.JSON = p.JSON || !line.complains() && AsksJSON(call)
		}
	}
}
